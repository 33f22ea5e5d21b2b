package sweep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// State is what has become of one probe.
type State uint8

// The states. Pending is also what an unanswered probe stays unless Expire ends it.
const (
	StateUnknown State = iota
	Pending            // no answer yet
	Accepted           // a SYN-ACK for our SYN
	Refused            // an RST for our SYN
	Unreachable        // an ICMP error that quotes our SYN and ends it
	NotSent            // this host did not take it
	Silent             // no answer within its time
	Unseen             // none seen within its time, in which the capture lost frames: there may have been one
	Dropped            // handed over, but not seen leaving, with nothing lost by the capture: this host dropped it
	states
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
	case Silent:
		return "silent"
	case Unseen:
		return "unseen"
	case Dropped:
		return "dropped"
	case StateUnknown, states:
	}
	return "unknown"
}

// Way is how probes leave: from which address and with which link header.
type Way struct {
	Src  netip.Addr
	Link [14]byte
	Gun  int // the caller's number of whatever sends
}

// record is one probe: 48 octets without pointers. Whoever reads the answers writes sent, took and what follows; the rest never changes.
type record struct {
	key
	way   uint32
	sent  int64 // of the first SYN seen, ns since 1970 by the kernel's stamp; 0: its leaving was not seen
	took  int64 // ns from sent to the answer; −1: not known
	state State
	again uint8    // SYNs beyond the first
	icmp  [2]uint8 // type and code of the error that ended it
}

// key is the flow that a probe's number is masked by: the destination's address, IPv4 mapped, our port and the destination's, in network
// order. It leaves the source address out: one of several is checked when the record is found.
type key [20]byte

// Where the ports lie in a key.
const atOurs, atTheirs = 16, 18

func keyOf(dst netip.AddrPort, sport uint16) (k key) {
	a := dst.Addr().As16()
	copy(k[:], a[:])
	binary.BigEndian.PutUint16(k[atOurs:], sport)
	binary.BigEndian.PutUint16(k[atTheirs:], dst.Port())
	return k
}

func (k *key) addr() *[16]byte { return (*[16]byte)(k[:]) }

func (k *key) ours() uint16 { return binary.BigEndian.Uint16(k[atOurs:]) }

func (k *key) theirs() uint16 { return binary.BigEndian.Uint16(k[atTheirs:]) }

// Book holds the probes of one sweep. Add everything first; then one goroutine may call Put while another calls the rest.
// Of the rest one call at a time.
type Book struct {
	numbers wire.Numbers
	pages   []*[pageSize]record // of the first firstRecords, so that a small sweep takes little
	blocks  []*Block            // of the others. None is ever moved
	room    func() *Block
	n       int
	ways    []way
	clock   wire.TSval
}

// way is a Way with what leaves by it.
type way struct {
	Way
	syn, rst *wire.Template
}

// Block is room for the probes of a large sweep, 12 MiB, without pointers.
type Block [blockSize]record

// New makes an empty book. clock is where our TSvals begin; they count milliseconds. What is too much for small pages goes to blocks, each all
// zero, that room makes.
func New(clock wire.TSval, room func() *Block) *Book {
	return &Book{numbers: wire.NewNumbers(), clock: clock, room: room}
}

// mss is what Ethernet leaves of 1,500 octets: less 40 for IPv4 and TCP, less 60 for IPv6 and TCP.
func mss(v6 bool) uint16 {
	if v6 {
		return 1440
	}
	return 1460
}

// AddWay returns the number of a way for Add. An error means that its address is none to send from.
func (b *Book) AddWay(w Way) (uint32, error) {
	from := netip.AddrPortFrom(w.Src, 0)
	syn := wire.Segment{Src: from, Dst: from, Flags: wire.SYN, Window: 64240, HopLimit: 64, DF: true, Options: wire.LinuxSYN(mss(w.Src.Is6()), 1, 7)}
	rst := wire.Segment{Src: from, Dst: from, Flags: wire.RST, HopLimit: 64, DF: true}
	added := way{Way: w}
	var errs [2]error
	added.syn, errs[0] = wire.NewTemplate(&syn)
	added.rst, errs[1] = wire.NewTemplate(&rst)
	if err := errors.Join(errs[:]...); err != nil {
		return 0, fmt.Errorf("sweep from %s: %w", w.Src, err)
	}
	b.ways = append(b.ways, added)
	return uint32(len(b.ways) - 1), nil
}

// Add enters a probe from a source port to dst, whose address must be of the way's family.
func (b *Book) Add(dst netip.AddrPort, way uint32, sport uint16) {
	b.grow()
	r := b.at(b.n) // zero
	r.key = keyOf(dst, sport)
	r.way, r.took, r.state = way, -1, Pending
	b.n++
}

// How many records, of 48 octets each, are made at once.
const (
	pageSize     = 1 << 10
	blockSize    = 1 << 18
	firstRecords = 1 << 18 // in pages; the others are in blocks
)

// grow makes room for one more record.
func (b *Book) grow() {
	switch {
	case b.n < firstRecords && b.n%pageSize == 0:
		b.pages = append(b.pages, new([pageSize]record))
	case b.n >= firstRecords && b.n%blockSize == 0:
		b.blocks = append(b.blocks, b.room())
	}
}

func (b *Book) at(i int) *record {
	if i < firstRecords {
		return &b.pages[i/pageSize][i%pageSize]
	}
	return &b.blocks[i/blockSize-firstRecords/blockSize][i%blockSize]
}

// Len is how many probes there are.
func (b *Book) Len() int { return b.n }

// WayOf is the way of that number.
func (b *Book) WayOf(way uint32) *Way { return &b.ways[way].Way }

// Way is the way of probe i.
func (b *Book) Way(i int) *Way { return &b.ways[b.at(i).way].Way }

// iss is the number of probe i, which leads back to it.
func (b *Book) iss(i int, k *key) wire.Seq { return wire.Seq(uint32(i) ^ b.numbers.MaskOf(k[:])) }

// Flow is the flow of probe i as we send it.
func (b *Book) Flow(i int) wire.Flow {
	r := b.at(i)
	return wire.Flow{Src: netip.AddrPortFrom(b.ways[r.way].Src, r.ours()), Dst: netip.AddrPortFrom(netip.AddrFrom16(*r.addr()).Unmap(), r.theirs())}
}

// Put writes the SYN of probe i to p and returns its length. since is the time that our timestamp clock has run.
func (b *Book) Put(p []byte, i int, since time.Duration) int {
	r := b.at(i)
	return b.ways[r.way].syn.PutTo(p, r.addr(), r.theirs(), r.ours(), b.iss(i, &r.key), b.clock+wire.TSval(since.Milliseconds()))
}

// PutReset writes the RST that ends what a SYN-ACK for probe i has opened, and returns its length.
func (b *Book) PutReset(p []byte, i int) int {
	r := b.at(i)
	return b.ways[r.way].rst.PutTo(p, r.addr(), r.theirs(), r.ours(), b.iss(i, &r.key)+1, 0)
}

// find returns the probe whose ISS seq is, on a flow as we send it, or −1.
func (b *Book) find(src, dst netip.AddrPort, seq wire.Seq) int {
	k := keyOf(dst, src.Port())
	i := uint32(seq) ^ b.numbers.MaskOf(k[:])
	if i >= uint32(b.n) {
		return -1
	}
	r := b.at(int(i))
	if r.key != k || b.ways[r.way].Src != src.Addr() {
		return -1
	}
	return int(i)
}
