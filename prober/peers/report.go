package peers

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// Alpha is the chance, over all peers, both tests and all looks at the growing data, that some peer is said to stand out where all
// peers are alike.
const Alpha = 1e-4

// leastRatio is by how much a peer's share must pass the others' to stand out: within a class connections sent up to twice as much as each
// other, so a lesser difference may be theirs.
const leastRatio = 2

// Figures are sums over connections.
type Figures struct {
	// Connections is those that are open, Seen all since the beginning, Repeating those that sent something again.
	Connections, Seen, Repeating int
	// Segments is segments with data sent, repeats among them.
	Segments, Retransmitted, DSACKs, Reorderings uint64
	// Distance is the largest tcpi_reordering.
	Distance uint32
}

func (f *Figures) add(d counts, s *Socket) {
	f.Connections++
	if d.retransmitted > 0 {
		f.Repeating++
	}
	f.Segments += uint64(d.segments)
	f.Retransmitted += uint64(d.retransmitted)
	f.DSACKs += uint64(d.dsacks)
	f.Reorderings += uint64(d.reorderings)
	f.Distance = max(f.Distance, s.Distance)
}

func (f *Figures) sum(o *Figures) {
	f.Connections += o.Connections
	f.Seen += o.Seen
	f.Repeating += o.Repeating
	f.Segments += o.Segments
	f.Retransmitted += o.Retransmitted
	f.DSACKs += o.DSACKs
	f.Reorderings += o.Reorderings
	f.Distance = max(f.Distance, o.Distance)
}

// Rate is segments sent again by segments sent, 0 where none were.
func (f *Figures) Rate() float64 {
	if f.Segments == 0 {
		return 0
	}
	return min(1, float64(f.Retransmitted)/float64(f.Segments))
}

// Test is the answer to whether a peer's connections fare worse than all others'.
type Test struct {
	// P is the chance of so many connections that do, or more, among this peer's, if peers made no difference to connections that sent
	// about as much (exact, stratified by class, one-sided); multiplied by the number of peers, of tests and of looks, at most 1.
	P float64
	// StandsOut: P ≤ Alpha, and the share is at least twice the others'.
	StandsOut bool
	// Untested says why there is no test; else "".
	Untested string
}

// Peer is one of the report's.
type Peer struct {
	Addr netip.Addr
	Figures
	// Share is the part of all that was sent again.
	Share float64
	// Repeats and Reorders test what was seen since the beginning, whatever span the figures are of.
	Repeats, Reorders Test
}

// Report is one span's.
type Report struct {
	Churn
	Total Figures
	// Peers are those with the most repeats, at most as many as were asked for; Others is how many more there are.
	Peers  []Peer
	Others int
	Alpha  float64
}

// Covers is the share of a host's count of segments sent again that the followed connections account for, at most 1; 0 where it is not known.
func (r *Report) Covers(retransSegs int64) float64 {
	if retransSegs <= 0 {
		return 0
	}
	return min(1, float64(r.Total.Retransmitted)/float64(retransSegs))
}

// Interval reports what happened between the last two readings, Whole what happened since the first; top bounds the peers named.
func (t *Tracker) Interval(top int) Report {
	return t.report(top, t.interval, func(p *peer) *Figures { return &p.last })
}

// Whole is Interval since the first reading.
func (t *Tracker) Whole(top int) Report {
	return t.report(top, t.whole, func(p *peer) *Figures { return &p.all })
}

func (t *Tracker) report(top int, churn Churn, of func(*peer) *Figures) Report {
	r := Report{Churn: churn, Alpha: Alpha}
	by := map[netip.Addr]*peer{}
	for addr, p := range t.peers {
		f := *of(p)
		f.Connections = p.last.Connections
		r.Total.sum(&f)
		if f.Retransmitted > 0 || f.Reorderings > 0 {
			r.Peers = append(r.Peers, Peer{Addr: addr, Figures: f})
			by[addr] = p
		}
	}
	slices.SortFunc(r.Peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(b.Retransmitted, a.Retransmitted), cmp.Compare(b.Reorderings, a.Reorderings), a.Addr.Compare(b.Addr))
	})
	if n := len(r.Peers) - max(top, 0); n > 0 {
		r.Peers, r.Others = r.Peers[:max(top, 0)], n
	}
	all := t.cells()
	for i := range r.Peers {
		p := &r.Peers[i]
		if r.Total.Retransmitted > 0 {
			p.Share = float64(p.Retransmitted) / float64(r.Total.Retransmitted)
		}
		p.Repeats = t.test(by[p.Addr], all, t.blind, func(c cell) uint32 { return c.repeated })
		p.Reorders = t.test(by[p.Addr], all, t.blind || t.unordered, func(c cell) uint32 { return c.reordered })
	}
	return r
}

// cells sums the connections of all peers by class.
func (t *Tracker) cells() [classes]cell {
	var all [classes]cell
	for _, p := range t.peers {
		for i, c := range p.byClass() {
			all[i].join(c)
		}
	}
	return all
}

func (p *peer) byClass() [classes]cell {
	var out [classes]cell
	for _, m := range []map[uint8]cell{p.cells, p.open} {
		for i, c := range m {
			out[i].join(c)
		}
	}
	return out
}

// classOf is the number of binary digits of what a connection sent.
func classOf(segments uint32) uint8 { return uint8(bits.Len32(segments)) }

// work bounds the arithmetic of one test: the product of the lengths of the distributions that are joined.
const work = 1 << 22

// group is a peer's connections and all others' that they are compared with.
type group struct{ mine, others cell }

// groups pairs a peer's connections with all others' of their class. Where nobody else's are in a class, its connections join the next
// class above that has some: those had more occasion to be hit, so the comparison errs in the peer's favour. A path that loses much slows its
// connections down to where nobody else is. Connections that sent more than anybody else's are left out.
func groups(mine, all [classes]cell) []group {
	var out []group
	var waiting cell
	for i := range mine {
		waiting.join(mine[i])
		others := cell{all[i].conns - mine[i].conns, all[i].repeated - mine[i].repeated, all[i].reordered - mine[i].reordered}
		if waiting.conns > 0 && others.conns > 0 {
			out, waiting = append(out, group{waiting, others}), cell{}
		}
	}
	return out
}

// test compares a peer's connections with all others', group by group. The connection is what is counted, not the segment: segments of one
// connection are lost together.
func (t *Tracker) test(p *peer, all [classes]cell, blind bool, bad func(cell) uint32) Test {
	if blind {
		return Test{P: 1, Untested: "this kernel does not say what a test needs"}
	}
	var strata []stats.Stratum
	var mine, others stats.Arm
	length := 1
	for _, g := range slices.Backward(groups(p.byClass(), all)) { // those that sent most tell most
		s := stats.Stratum{N: int(g.mine.conns + g.others.conns), Treated: int(g.mine.conns), Hits: int(bad(g.mine) + bad(g.others))}
		longer := min(s.Treated, s.Hits)
		if length*longer > work {
			break
		}
		length += longer
		strata = append(strata, s)
		mine.Hits, mine.N = mine.Hits+int(bad(g.mine)), mine.N+s.Treated
		others.Hits, others.N = others.Hits+int(bad(g.others)), others.N+int(g.others.conns)
	}
	if len(strata) == 0 {
		return Test{P: 1, Untested: "no other peer's connection sent as much"}
	}
	chance := stats.StratifiedGreater(strata, mine.Hits) * float64(2*len(t.peers))
	out := Test{P: stats.Looks(min(1, chance), max(1, int(t.reading)-1))}
	out.StandsOut = out.P <= Alpha && mine.Rate() >= leastRatio*others.Rate()
	return out
}
