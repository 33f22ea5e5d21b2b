package kdial

import (
	"fmt"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// filter is an nft table of this namespace, for both families.
type filter struct {
	t     *testing.T
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain
}

func newFilter(t *testing.T, hook *nftables.ChainHook, opts ...nftables.ConnOption) *filter {
	t.Helper()
	c, err := nftables.New(opts...)
	if err != nil {
		cannot(t, "use nftables: %v", err)
	}
	f := &filter{t: t, conn: c}
	f.table = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "test"})
	f.chain = c.AddChain(&nftables.Chain{
		Name: "chain", Table: f.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	return f
}

// syn matches SYNs (no ACK) to a port.
func syn(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x12}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x02}},
	}
}

func (f *filter) rule(e ...expr.Any) {
	f.conn.AddRule(&nftables.Rule{Table: f.table, Chain: f.chain, Exprs: e})
}

// dropFirst drops the first n SYNs of every source port to a port.
func (f *filter) dropFirst(port uint16, n uint32) {
	f.t.Helper()
	set := &nftables.Set{
		Table: f.table, Name: fmt.Sprintf("ports%d", port), KeyType: nftables.TypeInetService, Dynamic: true, Size: 65535,
	}
	if err := f.conn.AddSet(set, nil); err != nil {
		f.t.Fatal(err)
	}
	f.rule(append(syn(port),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Dynset{
			SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE),
			Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeDay, Burst: n}},
		},
		&expr.Verdict{Kind: expr.VerdictDrop})...)
}

func (f *filter) drop(port uint16) {
	f.rule(append(syn(port), &expr.Verdict{Kind: expr.VerdictDrop})...)
}

// reject answers with ICMP of the right family (inet-common codes of linux/netfilter/nf_tables.h).
func (f *filter) reject(port uint16, code uint8) {
	f.rule(append(syn(port), &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: code})...)
}

func (f *filter) flush() {
	f.t.Helper()
	if err := f.conn.Flush(); err != nil {
		cannot(f.t, "set nftables rules: %v", err)
	}
}
