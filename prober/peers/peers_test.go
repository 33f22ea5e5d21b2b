package peers

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// host is a made-up machine: connections that send and repeat.
type host struct {
	r     *rand.Rand
	socks []Socket
	next  uint64
}

func newHost(seed uint64) *host { return &host{r: rand.New(rand.NewPCG(seed, 1))} }

// open adds n connections to a peer.
func (h *host) open(peer string, n int) {
	for range n {
		h.next++
		h.socks = append(h.socks, Socket{
			Cookie: h.next, Local: netip.MustParseAddrPort("192.0.2.1:443"), HasSegments: true, HasReorderings: true, Distance: 3,
			Remote: netip.AddrPortFrom(netip.MustParseAddr(peer), uint16(1024+h.next%60000)),
		})
	}
}

// send makes every connection send about so many segments, of which those to a peer are lost at its rate, some lost together.
func (h *host) send(segments int, rate func(netip.Addr) float64) {
	for i := range h.socks {
		s := &h.socks[i]
		p := rate(s.Remote.Addr())
		for n := segments/2 + h.r.IntN(segments); n > 0; n-- {
			s.Segments++
			if h.r.Float64() < p {
				burst := 1 + uint32(h.r.IntN(8))
				s.Retransmitted, s.Segments, s.Reorderings = s.Retransmitted+burst, s.Segments+burst, s.Reorderings+1
			}
		}
	}
}

func (h *host) reading(t *Tracker) {
	t.Begin()
	for i := range h.socks {
		t.Add(&h.socks[i])
	}
	t.End()
}

func flat(p float64) func(netip.Addr) float64 { return func(netip.Addr) float64 { return p } }

// Four clients among many, with a path that loses ten times as much: they are named, in order, and nobody else.
func TestWorsePeersAreNamed(t *testing.T) {
	h := newHost(7)
	bad := map[netip.Addr]bool{}
	for i := range 200 {
		addr := fmt.Sprintf("10.0.%d.7", i)
		if i%50 == 3 {
			addr = fmt.Sprintf("2001:db8::%d", i)
			bad[netip.MustParseAddr(addr)] = true
		}
		h.open(addr, 20)
	}
	rate := func(a netip.Addr) float64 {
		if bad[a] {
			return 0.02
		}
		return 0.001
	}
	tr := NewTracker(0, 0)
	h.send(100, rate)
	h.reading(tr)
	if r := tr.Whole(10); r.Total.Retransmitted != 0 || len(r.Peers) != 0 {
		t.Errorf("what happened before the first reading counts: %+v", r)
	}
	for range 5 {
		h.send(40, rate)
		h.reading(tr)
	}
	r := tr.Whole(10)
	if r.Open != 4000 || r.Ended != 0 || len(r.Peers) != 10 || r.Others == 0 {
		t.Fatalf("%+v", r.Churn)
	}
	for i := range r.Peers {
		if p := &r.Peers[i]; p.Repeats.StandsOut != bad[p.Addr] || p.Reorders.StandsOut != bad[p.Addr] || bad[p.Addr] != (i < 4) {
			t.Errorf("%d: %s stands out %+v, %+v, injected %v", i, p.Addr, p.Repeats, p.Reorders, bad[p.Addr])
		}
	}
}

// Where all peers are alike none stands out, however they are ordered and however often one looks; the busiest leads by right. Connections
// lose in bursts, which a test that counts segments takes for a difference.
func TestNobodyStandsOutByChance(t *testing.T) {
	for seed := range uint64(60) {
		h := newHost(seed)
		for i := range 40 {
			h.open(fmt.Sprintf("10.0.0.%d", i+1), 1+h.r.IntN(60))
		}
		tr := NewTracker(0, 0)
		h.reading(tr)
		for look := range 6 {
			h.send(60, flat(0.01))
			h.reading(tr)
			whole := tr.Whole(40)
			for i := range whole.Peers {
				if p := &whole.Peers[i]; p.Repeats.StandsOut || p.Reorders.StandsOut {
					t.Errorf("seed %d, look %d: %s stands out: %+v, %+v", seed, look, p.Addr, p.Repeats, p.Reorders)
				}
			}
		}
	}
}

// A peer whose connections merely send more repeats more; connections that send as much are what it is held against.
func TestSendingMoreIsNoFault(t *testing.T) {
	h := newHost(3)
	h.open("10.0.0.1", 40)
	for i := range 50 {
		h.open(fmt.Sprintf("10.0.1.%d", i), 20)
	}
	tr := NewTracker(0, 0)
	h.reading(tr)
	h.send(20, flat(0.004))
	for i := range h.socks[:40] { // forty times as much
		s := &h.socks[i]
		for range 800 {
			s.Segments++
			if h.r.Float64() < 0.004 {
				s.Retransmitted++
			}
		}
	}
	h.reading(tr)
	r := tr.Whole(3)
	if p := r.Peers[0]; p.Addr != netip.MustParseAddr("10.0.0.1") || p.Repeats.StandsOut {
		t.Errorf("%+v", p)
	}
	if p := r.Peers[0]; p.Repeats.Untested == "" && p.Repeats.P < 1e-3 {
		t.Errorf("p = %g for the busiest of equals", p.Repeats.P)
	}
}

// One connection is no sample: its peer is listed and not named. The only peer has nobody to be compared with.
func TestFewConnectionsAreNotNamed(t *testing.T) {
	h := newHost(1)
	h.open("10.0.0.1", 1)
	tr := NewTracker(0, 0)
	h.reading(tr)
	h.send(1000, flat(0.1))
	h.reading(tr)
	if p := tr.Interval(5).Peers[0]; p.Repeats.StandsOut || p.Repeats.Untested == "" || p.Share != 1 {
		t.Errorf("alone: %+v", p)
	}
	h.open("10.0.0.2", 30)
	h.send(2000, func(a netip.Addr) float64 { return map[bool]float64{true: 0.2}[a == netip.MustParseAddr("10.0.0.1")] })
	h.reading(tr)
	if p := tr.Interval(5).Peers[0]; p.Repeats.StandsOut || p.Repeats.Untested != "" {
		t.Errorf("one of many: %+v", p)
	}
}

// Connections that come count from their birth, those that go as they were last seen, and what wraps goes on.
func TestComeAndGo(t *testing.T) {
	a := Socket{Cookie: 1, Local: netip.MustParseAddrPort("192.0.2.1:443"), Remote: netip.MustParseAddrPort("10.0.0.1:1"), HasSegments: true, Segments: 1<<32 - 3, Retransmitted: 1<<32 - 1}
	wrapped, reborn := a, a // reborn: the same 4-tuple, another connection
	wrapped.Segments, wrapped.Retransmitted = 7, 2
	b := Socket{Cookie: 2, Local: a.Local, Remote: netip.MustParseAddrPort("[::ffff:10.0.0.1]:2"), HasSegments: true, Segments: 10, Retransmitted: 4}
	reborn.Cookie, reborn.Segments, reborn.Retransmitted = 3, 5, 1
	tr := NewTracker(0, 0)
	for _, c := range []struct {
		name                    string
		socks                   []Socket
		churn                   Churn
		segments, again         uint64 // in the interval
		allSegments, allAgain   uint64
		connections, seen, hits int // of the one peer
	}{
		{"the first reading is where counting begins", []Socket{a}, Churn{Open: 1}, 0, 0, 0, 0, 0, 0, 0},
		{"both counts wrapped; one is new, and listed twice", []Socket{wrapped, b, b}, Churn{Open: 2, New: 1}, 20, 7, 20, 7, 2, 2, 2},
		{"one ended, its 4-tuple is another's", []Socket{reborn, b}, Churn{Open: 2, New: 1, Ended: 1}, 5, 1, 25, 8, 2, 3, 3},
		{"all are gone", nil, Churn{Ended: 2}, 0, 0, 25, 8, 0, 3, 3},
	} {
		tr.Begin()
		for i := range c.socks {
			tr.Add(&c.socks[i])
		}
		tr.End()
		i, w := tr.Interval(9), tr.Whole(9)
		if i.Churn != c.churn || i.Total.Segments != c.segments || i.Total.Retransmitted != c.again || w.Total.Segments != c.allSegments || w.Total.Retransmitted != c.allAgain {
			t.Errorf("%s: interval %+v, whole %+v", c.name, i, w)
		}
		if c.seen == 0 {
			continue
		}
		if p := w.Peers[0]; len(w.Peers) != 1 || p.Connections != c.connections || p.Seen != c.seen || p.Repeating != c.hits {
			t.Errorf("%s: %+v", c.name, w.Peers)
		}
	}
}

// What is held is bounded, and what is left out is counted; kernels that do not say how much was sent give figures and no test.
func TestBounds(t *testing.T) {
	h := newHost(2)
	for i := range 30 {
		h.open(fmt.Sprintf("10.0.0.%d", i), 10)
	}
	tr := NewTracker(100, 5)
	h.reading(tr)
	if i := tr.Interval(3); i.Open != 50 || i.Unfollowed != 250 {
		t.Errorf("%+v", i.Churn)
	}
	tr = NewTracker(100, 0)
	h.reading(tr)
	if i := tr.Interval(3); i.Open != 100 || i.Unfollowed != 200 {
		t.Errorf("%+v", i.Churn)
	}
	old := newHost(2)
	old.open("10.0.0.1", 50)
	old.open("10.0.0.2", 50)
	for i := range old.socks {
		old.socks[i].HasSegments, old.socks[i].HasReorderings = false, false
	}
	tr = NewTracker(0, 0)
	old.reading(tr)
	for i := range old.socks[:50] {
		old.socks[i].Retransmitted += 9
	}
	old.reading(tr)
	if p := tr.Interval(3).Peers[0]; p.Retransmitted != 450 || p.Repeats.StandsOut || p.Repeats.Untested == "" {
		t.Errorf("%+v", p)
	}
	if c := (&Report{Total: Figures{Retransmitted: 81}}).Covers(100); c != 0.81 {
		t.Errorf("covers %g", c)
	}
}

// BenchmarkReading is a reading of 25,000 connections to 5,000 peers and the report of it.
func BenchmarkReading(b *testing.B) {
	h := newHost(1)
	for i := range 5000 {
		h.open(fmt.Sprintf("10.%d.%d.9", i/250, i%250), 5)
	}
	tr := NewTracker(0, 0)
	h.reading(tr)
	h.send(20, flat(0.01))
	b.ReportAllocs()
	for b.Loop() {
		h.reading(tr)
		_ = tr.Whole(10)
	}
}
