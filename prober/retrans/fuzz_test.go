package retrans

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// FuzzRead feeds segments of any kind: nothing that a peer sends may panic, or make the counts contradict each other. The seeds are an
// acknowledgment of nothing, SACK blocks that run backwards, and numbers around the end of the circle.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 10, 1, 0, 0, 5, 5})
	f.Add([]byte{0, 255, 0, 10, 0, 1, 250, 5, 1, 9, 1, 0, 255, 3, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		base := wire.Seq(0).Add(-100)
		var list []Segment
		at := time.Unix(1_000_000, 0)
		for ; len(b) >= 5; b = b[5:] {
			at = at.Add(time.Duration(b[4]) * time.Millisecond)
			g := Segment{At: at, Outgoing: b[0]&1 != 0, Flags: wire.ACK, Seq: base.Add(int(b[1])), Ack: base.Add(int(b[2])), Length: int(b[3]), ID: uint16(b[4]),
				TSval: wire.TSval(b[1]), TSecr: wire.TSval(b[2]), HasTS: b[0]&2 != 0}
			if b[0]&4 != 0 {
				g.Flags |= wire.FIN
			}
			if b[0]&8 != 0 {
				g.Flags, g.MSS, g.SACKPermitted = wire.SYN, uint16(b[3]), b[0]&16 != 0
			}
			if b[0]&32 != 0 {
				g.SACK = []Range{{base.Add(int(b[3])), base.Add(int(b[4]))}, {base.Add(int(b[1])), base.Add(int(b[2]))}}
			}
			list = append(list, g)
		}
		sound(t, Read(list, Known{MSS: 7}))
	})
}

type fataler interface{ Errorf(string, ...any) }

// sound holds counts against each other.
func sound(t fataler, r Report) {
	for _, c := range Classes() {
		if r.Sent.Spurious[c] > r.Sent.Copies[c] || r.Sent.Spurious[c] < 0 || r.Received.Copies[c] < 0 {
			t.Errorf("class %s: %d copies, %d of them needless", c, r.Sent.Copies[c], r.Sent.Spurious[c])
		}
	}
	if r.Sent.Lost() < 0 || r.Received.Lost() < 0 || r.Sent.Lossy > r.Sent.Copies.Total() {
		t.Errorf("lost %d and %d, moments %d", r.Sent.Lost(), r.Received.Lost(), r.Sent.Lossy)
	}
}

// path is a simulated peer: a sender of n segments in order, some of which are lost or late, as its receiver's tap sees them. A lost one is sent
// again a round trip after the segment behind it arrived.
type path struct {
	n          int
	lost, late map[int]bool
	by         time.Duration
}

const (
	pathRTT = 10 * time.Millisecond
	pathGap = 100 * time.Microsecond
)

// arrivals lists what the receiver's tap sees, with identifications that rise in order of sending.
func (p path) arrivals() []Segment {
	begin := time.Unix(1_000_000, 0)
	type sent struct {
		seg int
		at  time.Time // of arrival
		due time.Time // of sending
	}
	var all []sent
	for i := range p.n {
		due := begin.Add(time.Duration(i) * pathGap)
		switch {
		case p.lost[i]:
			again := due.Add(pathGap + pathRTT)
			all = append(all, sent{i, again.Add(pathRTT / 2), again})
		case p.late[i]:
			all = append(all, sent{i, due.Add(pathRTT/2 + p.by), due})
		default:
			all = append(all, sent{i, due.Add(pathRTT / 2), due})
		}
	}
	slices.SortStableFunc(all, func(a, b sent) int { return a.due.Compare(b.due) })
	out := make([]Segment, 0, len(all)+2)
	ids := map[int]int{}
	for k, s := range all {
		ids[s.seg] = k
	}
	lostBefore := func(t time.Time) int {
		n := 0
		for i := range p.lost {
			if p.lost[i] && !begin.Add(time.Duration(i)*pathGap).After(t) {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b sent) int { return a.at.Compare(b.at) })
	out = append(out, Segment{At: begin.Add(-2 * pathRTT), Outgoing: true, Flags: wire.SYN, Seq: 99, MSS: mss, SACKPermitted: true},
		Segment{At: begin.Add(-pathRTT), Flags: wire.SYN | wire.ACK, Seq: wire.Seq(0).Add(-1), Ack: 100, MSS: mss, SACKPermitted: true})
	for _, s := range all {
		out = append(out, Segment{At: s.at, Flags: wire.ACK, Seq: wire.Seq(uint32(s.seg * mss)), Length: mss, ID: uint16(ids[s.seg] + lostBefore(s.due))})
	}
	return out
}

// overtaken counts the late segments behind which others stand that were sent after them.
func (p path) overtaken() int {
	n, most := 0, -1
	for _, g := range p.arrivals()[2:] {
		i := int(g.Seq) / mss
		if p.late[i] && i < most {
			n++
		}
		most = max(most, i)
	}
	return n
}

// Whatever is lost or late on the way, the receiver's side counts each as what it was: losses by their copies, late ones by their order.
func TestReceivedOnASimulatedPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		p := path{n: 400, lost: map[int]bool{}, late: map[int]bool{}, by: time.Duration(rapid.IntRange(1, 80).Draw(t, "late by")) * pathGap}
		loss, late := rapid.Float64Range(0, 0.05).Draw(t, "loss"), rapid.Float64Range(0, 0.05).Draw(t, "late")
		for i := 10; i < p.n-100; i++ { // the tail has nothing behind it that would show a hole
			switch x := r.Float64(); {
			case x < loss:
				p.lost[i] = true
			case x < loss+late:
				p.late[i] = true
			}
		}
		got := Read(p.arrivals(), Known{})
		sound(t, got)
		if got.Received.By != ByID {
			t.Fatalf("the order is told by %s, want id", got.Received.By)
		}
		if n := got.Received.Lost(); n != len(p.lost) {
			t.Errorf("%d lost, want %d", n, len(p.lost))
		}
		if n, want := got.Received.Reordered, p.overtaken(); n != want {
			t.Errorf("%d out of order, want %d", n, want)
		}
		if got.Received.Segments != p.n || got.Received.Spurious.Total() != 0 || got.Received.Holes != 0 {
			t.Errorf("%d segments, %d needless, %d holes; want %d, 0, 0", got.Received.Segments, got.Received.Spurious.Total(), got.Received.Holes, p.n)
		}
	})
}
