package droptrace

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// UnsupportedError says why this kernel, or this process, cannot trace; the rest of the program works without.
type UnsupportedError struct {
	Why string
	Err error // nil: Why says all
}

func (e *UnsupportedError) Error() string {
	if e.Err == nil {
		return e.Why
	}
	return e.Why + ": " + e.Err.Error()
}

func (e *UnsupportedError) Unwrap() error { return e.Err }

// layout is where this kernel keeps what the programs read, in octets from the beginning of each structure.
type layout struct {
	skbHead, skbDev, skbSock, skbProtocol, skbNetwork       int32
	devNet, devIndex, netInum                               int32
	sockFamily, sockState, sockNet, sockPort, sockPeerPort  int32
	sockAddr, sockPeer, sockAddr6, sockPeer6, icskState     int32
	neighTable, neighDev, neighKey, neighState, tableFamily int32
	reasonArg                                               bool // kfree_skb says why: Linux ≥ 5.17
	reasons                                                 map[uint32]string
}

// readLayout takes the layout from the kernel's BTF.
func readLayout() (*layout, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, btf.ErrNotFound) {
			return nil, &UnsupportedError{"this kernel carries no type information (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF), without which its structures cannot be read", nil}
		}
		return nil, &UnsupportedError{"read the kernel's type information", err}
	}
	return layoutOf(spec)
}

func layoutOf(spec *btf.Spec) (*layout, error) {
	l := &layout{}
	r := resolver{spec: spec}
	for _, f := range []struct {
		at    *int32
		typ   string
		names string
	}{
		{&l.skbHead, "sk_buff", "head"}, {&l.skbDev, "sk_buff", "dev"}, {&l.skbSock, "sk_buff", "sk"},
		{&l.skbProtocol, "sk_buff", "protocol"}, {&l.skbNetwork, "sk_buff", "network_header"},
		{&l.devNet, "net_device", "nd_net.net"}, {&l.devIndex, "net_device", "ifindex"}, {&l.netInum, "net", "ns.inum"},
		{&l.sockFamily, "sock_common", "skc_family"}, {&l.sockState, "sock_common", "skc_state"}, {&l.sockNet, "sock_common", "skc_net.net"},
		{&l.sockPort, "sock_common", "skc_num"}, {&l.sockPeerPort, "sock_common", "skc_dport"},
		{&l.sockAddr, "sock_common", "skc_rcv_saddr"}, {&l.sockPeer, "sock_common", "skc_daddr"},
		{&l.sockAddr6, "sock_common", "skc_v6_rcv_saddr"}, {&l.sockPeer6, "sock_common", "skc_v6_daddr"},
		{&l.icskState, "inet_connection_sock", "icsk_ca_state"},
		{&l.neighTable, "neighbour", "tbl"}, {&l.neighDev, "neighbour", "dev"}, {&l.neighKey, "neighbour", "primary_key"}, {&l.neighState, "neighbour", "nud_state"},
		{&l.tableFamily, "neigh_table", "family"},
	} {
		*f.at = r.offset(f.typ, strings.Split(f.names, ".")...)
	}
	if r.err != nil {
		return nil, &UnsupportedError{"find what the programs read in this kernel's structures", r.err}
	}
	l.reasonArg = r.arguments("kfree_skb") >= 3
	l.reasons = r.reasons()
	return l, nil
}

// resolver finds members; it keeps the first error.
type resolver struct {
	spec *btf.Spec
	err  error
}

// offset is where a member of a structure is, in octets, through the members named before it and through unnamed unions and structures.
func (r *resolver) offset(typ string, path ...string) int32 {
	var s *btf.Struct
	if err := r.spec.TypeByName(typ, &s); err != nil {
		r.fail(fmt.Errorf("struct %s: %w", typ, err))
		return 0
	}
	var at btf.Bits
	var t btf.Type = s
	for _, name := range path {
		m, off, ok := member(t, name)
		if !ok {
			r.fail(fmt.Errorf("struct %s has no member %s", typ, strings.Join(path, ".")))
			return 0
		}
		at += off
		t = btf.UnderlyingType(m.Type)
	}
	return int32(at.Bytes()) // a bit field begins within that octet
}

func (r *resolver) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// member finds one by name, also within members that have none.
func member(t btf.Type, name string) (btf.Member, btf.Bits, bool) {
	var list []btf.Member
	switch x := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		list = x.Members
	case *btf.Union:
		list = x.Members
	}
	for _, m := range list {
		if m.Name == name {
			return m, m.Offset, true
		}
		if m.Name != "" {
			continue
		}
		if in, off, ok := member(m.Type, name); ok {
			return in, m.Offset + off, true
		}
	}
	return btf.Member{}, 0, false
}

// arguments counts those of a tracepoint, 0 where there is none: its type is btf_trace_NAME, a pointer to a function whose first argument is the
// caller's own (include/trace/bpf_probe.h).
func (r *resolver) arguments(tracepoint string) int {
	var t *btf.Typedef
	if err := r.spec.TypeByName("btf_trace_"+tracepoint, &t); err != nil {
		return 0
	}
	p, ok := t.Type.(*btf.Pointer)
	if !ok {
		return 0
	}
	f, ok := p.Target.(*btf.FuncProto)
	if !ok {
		return 0
	}
	return len(f.Params) - 1
}

// reasons are the names of enum skb_drop_reason, without what all of them begin with; none before Linux 5.17.
func (r *resolver) reasons() map[uint32]string {
	out := map[uint32]string{}
	var e *btf.Enum
	if err := r.spec.TypeByName("skb_drop_reason", &e); err != nil {
		return out
	}
	for _, v := range e.Values {
		name := strings.TrimPrefix(v.Name, "SKB_DROP_REASON_")
		if name != "MAX" && !strings.HasPrefix(name, "SUBSYS_MASK") {
			out[uint32(v.Value)] = name
		}
	}
	return out
}
