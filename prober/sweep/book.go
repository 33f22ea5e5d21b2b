package sweep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// State is what has become of one probe.
type State uint8

// The states. Pending is also what an unanswered probe stays.
const (
	StateUnknown State = iota
	Pending            // no answer yet
	Accepted           // a SYN-ACK for our SYN
	Refused            // an RST for our SYN
	Unreachable        // an ICMP error that quotes our SYN and ends it
	NotSent            // this host did not take it
)

func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Accepted:
		return "accepted"
	case Refused:
		return "refused"
	case Unreachable:
		return "unreachable"
	case NotSent:
		return "not_sent"
	case StateUnknown:
	}
	return "unknown"
}

// Way is how probes leave: from which address and with which link header.
type Way struct {
	Src  netip.Addr
	Link [14]byte
	Gun  int // the caller's number of whatever sends
}

// record is one probe: 48 octets without pointers. Whoever reads the answers writes sent, took and state; the rest never changes.
type record struct {
	dst          [16]byte // IPv4 mapped
	sent         int64    // ns since 1970 by the kernel's stamp; 0: its leaving was not seen
	took         int64    // ns from sent to the answer; −1: not known
	way          uint32
	sport, dport uint16
	state        State
}

// Book holds the probes of one sweep. Add everything first; then one goroutine may call Put while another calls the rest.
type Book struct {
	seed    maphash.Seed
	records []*[pageSize]record // pages, so that none is ever moved
	n       int
	ways    []Way
	syn     [2]*wire.Template // IPv4, IPv6
	rst     [2]*wire.Template
	clock   wire.TSval
}

// New makes an empty book. clock is where our TSvals begin; they count milliseconds.
func New(clock wire.TSval) (*Book, error) {
	b := &Book{seed: maphash.MakeSeed(), clock: clock}
	for i, a := range []netip.Addr{netip.AddrFrom4([4]byte{1, 1, 1, 1}), netip.AddrFrom16([16]byte{0xfd, 15: 1})} {
		ap := netip.AddrPortFrom(a, 1)
		syn := wire.Segment{Src: ap, Dst: ap, Flags: wire.SYN, Window: 64240, HopLimit: 64, DF: true, Options: wire.LinuxSYN(mss(i == 1), 1, 7)}
		rst := wire.Segment{Src: ap, Dst: ap, Flags: wire.RST, HopLimit: 64, DF: true}
		var errs [2]error
		b.syn[i], errs[0] = wire.NewTemplate(&syn)
		b.rst[i], errs[1] = wire.NewTemplate(&rst)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("sweep: %w", err)
		}
	}
	return b, nil
}

// mss is what Ethernet leaves of 1,500 octets: less 40 for IPv4 and TCP, less 60 for IPv6 and TCP.
func mss(v6 bool) uint16 {
	if v6 {
		return 1440
	}
	return 1460
}

// AddWay returns the number of a way for Add.
func (b *Book) AddWay(w Way) uint32 {
	b.ways = append(b.ways, w)
	return uint32(len(b.ways) - 1)
}

// Add enters a probe from a source port to dst, whose address must be of the way's family.
func (b *Book) Add(dst netip.AddrPort, way uint32, sport uint16) {
	if b.n%pageSize == 0 {
		b.records = append(b.records, new([pageSize]record))
	}
	*b.at(b.n) = record{dst: dst.Addr().As16(), way: way, sport: sport, dport: dst.Port(), took: -1, state: Pending}
	b.n++
}

// pageSize is how many records, of 48 octets each, are made at once.
const pageSize = 1024

func (b *Book) at(i int) *record { return &b.records[i/pageSize][i%pageSize] }

// Len is how many probes there are.
func (b *Book) Len() int { return b.n }

// WayOf is the way of that number.
func (b *Book) WayOf(way uint32) *Way { return &b.ways[way] }

// Way is the way of probe i.
func (b *Book) Way(i int) *Way { return &b.ways[b.at(i).way] }

// iss masks a probe's number by a keyed function of its flow, as RFC 6528 §3 asks of an initial sequence number: an answer leads back
// to its record without a search, and a forged one leads nowhere.
func (b *Book) iss(i uint32) wire.Seq {
	r := b.at(int(i))
	return wire.Seq(i ^ b.mask(&r.dst, r.sport, r.dport))
}

// mask leaves the source address out: one of several is checked when the record is found.
func (b *Book) mask(dst *[16]byte, sport, dport uint16) uint32 {
	var x [20]byte
	copy(x[:], dst[:])
	binary.BigEndian.PutUint16(x[16:], sport)
	binary.BigEndian.PutUint16(x[18:], dport)
	return uint32(maphash.Bytes(b.seed, x[:]))
}

func (r *record) addr() netip.Addr { return netip.AddrFrom16(r.dst).Unmap() }

// Flow is the flow of probe i as we send it.
func (b *Book) Flow(i int) wire.Flow {
	r := b.at(i)
	return wire.Flow{Src: netip.AddrPortFrom(b.ways[r.way].Src, r.sport), Dst: netip.AddrPortFrom(r.addr(), r.dport)}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Put writes the SYN of probe i to p and returns its length. since is the time that our timestamp clock has run.
func (b *Book) Put(p []byte, i int, since time.Duration) int {
	f := b.Flow(i)
	return b.syn[family(f.Dst.Addr())].Put(p, f, b.iss(uint32(i)), b.clock+wire.TSval(since.Milliseconds()))
}

// PutReset writes the RST that ends what a SYN-ACK for probe i has opened, and returns its length.
func (b *Book) PutReset(p []byte, i int) int {
	f := b.Flow(i)
	return b.rst[family(f.Dst.Addr())].Put(p, f, b.iss(uint32(i))+1, 0)
}

// find returns the probe whose ISS seq is, on a flow as we send it, or −1.
func (b *Book) find(src, dst netip.AddrPort, seq wire.Seq) int {
	d := dst.Addr().As16()
	i := uint32(seq) ^ b.mask(&d, src.Port(), dst.Port())
	if i >= uint32(b.n) {
		return -1
	}
	r := b.at(int(i))
	if r.dport != dst.Port() || r.sport != src.Port() || r.dst != d || b.ways[r.way].Src != src.Addr() {
		return -1
	}
	return int(i)
}
