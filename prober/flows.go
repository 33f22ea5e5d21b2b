package prober

import (
	"net/netip"
	"slices"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// record is one flow of ours in flight, flat and without pointers to follow: 48 octets. Addresses are 16 octets, IPv4 mapped.
type record struct {
	dst    [16]byte
	src    uint32 // index into flowTable.sources
	iss    wire.Seq
	run    uint32 // slot of the run, 0: a tombstone, kept so that a late SYN-ACK is still reset
	shot   uint32
	next   int32 // next record on the same source port, −1: none
	sport  uint16
	dport  uint16
	raw    bool
	used   bool
	expiry int64 // monotonic ns when a tombstone is dropped
}

// flowTable finds the record of a segment. Raw flows are found by the sequence number that their peer acknowledges: see wire.Numbers.
// Everything else on our ports is found by a short chain per source port.
// The caller serialises access.
type flowTable struct {
	numbers wire.Numbers
	records []record
	ways    []*way // of the records, so that a late SYN-ACK can be reset; nil: a kernel flow
	free    []int32
	chains  [1 << 16]int32 // head of each source port's chain, +1 so that 0 is empty
	sources []netip.Addr
	source  map[netip.Addr]uint32
	tombs   []int32 // tombstones in order of expiry
}

func newFlowTable() *flowTable {
	return &flowTable{numbers: wire.NewNumbers(), source: map[netip.Addr]uint32{}}
}

// add puts a flow in the table and returns its index and, for a raw flow (one that has a way), its ISS. Zones are left out, and IPv4 in IPv6 is
// unmapped: so segments show addresses.
func (t *flowTable) add(f wire.Flow, run, shot uint32, w *way) (int32, wire.Seq) {
	addr := f.Src.Addr().Unmap().WithZone("")
	src, ok := t.source[addr]
	if !ok {
		src = uint32(len(t.sources))
		t.sources = append(t.sources, addr)
		t.source[addr] = src
	}
	i := t.slot()
	r := &t.records[i]
	*r = record{dst: f.Dst.Addr().As16(), src: src, run: run, shot: shot, sport: f.Src.Port(), dport: f.Dst.Port(), raw: w != nil, used: true}
	t.ways[i] = w
	if r.raw {
		r.iss = wire.Seq(uint32(i) ^ t.numbers.Mask(netip.AddrPortFrom(addr, r.sport), f.Dst))
	}
	r.next = t.chains[r.sport] - 1
	t.chains[r.sport] = i + 1
	return i, r.iss
}

func (t *flowTable) slot() int32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	t.records, t.ways = append(t.records, record{}), append(t.ways, nil)
	return int32(len(t.records) - 1)
}

// remove takes a record out of the table.
func (t *flowTable) remove(i int32) {
	r := &t.records[i]
	if !r.used {
		return
	}
	at := &t.chains[r.sport]
	if *at == i+1 {
		*at = r.next + 1
	} else {
		for j := *at - 1; j >= 0; j = t.records[j].next {
			if t.records[j].next == i {
				t.records[j].next = r.next
				break
			}
		}
	}
	*r, t.ways[i] = record{}, nil
	t.free = append(t.free, i)
}

// bury turns a record into a tombstone until expiry (monotonic ns): its run is over, but a late SYN-ACK must still be reset.
func (t *flowTable) bury(i int32, expiry int64) {
	r := &t.records[i]
	r.run, r.expiry = 0, expiry
	t.tombs = append(t.tombs, i)
}

// revive makes the tombstone of a raw flow a live record again, of another shot, and returns its index and ISS; ok is false where there is none.
func (t *flowTable) revive(f wire.Flow, run, shot uint32, w *way) (i int32, iss wire.Seq, ok bool) {
	i = t.byFlow(f)
	if i < 0 || !t.records[i].raw || t.records[i].run != 0 {
		return -1, 0, false
	}
	r := &t.records[i]
	r.run, r.shot, r.expiry, t.ways[i] = run, shot, 0, w
	t.tombs = slices.DeleteFunc(t.tombs, func(k int32) bool { return k == i })
	return i, r.iss, true
}

// renumber gives a raw record another ISS. Its answers are found by their flow alone from then on.
func (t *flowTable) renumber(i int32, iss wire.Seq) { t.records[i].iss = iss }

// sweep drops tombstones that have expired by now.
func (t *flowTable) sweep(now int64) {
	n := 0
	for n < len(t.tombs) && t.records[t.tombs[n]].expiry <= now {
		t.remove(t.tombs[n])
		n++
	}
	t.tombs = t.tombs[n:]
}

// byAck finds the raw record whose ISS+1 a segment from the peer acknowledges, or −1.
func (t *flowTable) byAck(seg *wire.Segment) int32 {
	i := uint32(seg.Ack-1) ^ t.numbers.Mask(seg.Dst, seg.Src)
	if i >= uint32(len(t.records)) {
		return -1
	}
	r := &t.records[i]
	if !r.used || !r.raw || r.dst != seg.Src.Addr().As16() || r.sport != seg.Dst.Port() || r.dport != seg.Src.Port() || t.sources[r.src] != seg.Dst.Addr() {
		return -1
	}
	return int32(i)
}

// byFlow finds the record of a flow as we send it, or −1.
func (t *flowTable) byFlow(f wire.Flow) int32 {
	dst, src := f.Dst.Addr().As16(), f.Src.Addr().Unmap().WithZone("")
	for i := t.chains[f.Src.Port()] - 1; i >= 0; i = t.records[i].next {
		r := &t.records[i]
		if r.dport == f.Dst.Port() && r.dst == dst && t.sources[r.src] == src {
			return i
		}
	}
	return -1
}

// byPort finds the only live kernel record on a source port, or −1: a kernel SYN that local NAT has sent elsewhere still carries
// our port.
func (t *flowTable) byPort(port uint16) int32 {
	found := int32(-1)
	for i := t.chains[port] - 1; i >= 0; i = t.records[i].next {
		if t.records[i].raw || t.records[i].run == 0 {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}
