package diagnose

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// mostLaps is how many bursts of one instant around the circle are worth making, fewestLap the fewest SYNs that one needs and largestLap the most it may have.
const (
	mostLaps   = 6
	fewLaps    = 4 // where they show a memory that does not leap
	fewestLap  = 8
	largestLap = 16
)

// lap is one burst of SYNs at one instant whose TSvals lie around the circle, in this order: bit i of silent is set where the i-th had no answer.
type lap struct {
	n      int
	vals   []wire.TSval
	silent uint32
}

// readLaps reads those in which every SYN was either answered or met silence.
func readLaps(in *Input) []lap {
	var out []lap
	for i := range ownless(in.Observations) {
		o := &in.Observations[i]
		if o.Kind != plan.KindCircle || !trusted(o) || in.explained[i] {
			continue
		}
		if l, ok := readLap(o); ok {
			out = append(out, l)
		}
	}
	return out
}

func readLap(o *observe.Observation) (lap, bool) {
	l := lap{n: len(o.Arms)}
	if l.n < fewestLap || l.n > largestLap || l.n%2 != 0 || len(o.Attempts) != l.n {
		return l, false
	}
	vals := map[string]wire.TSval{}
	for k := range o.Arms {
		vals[o.Arms[k].Name] = o.Arms[k].Script.Clock.Start
		l.vals = append(l.vals, o.Arms[k].Script.Clock.Start)
	}
	slices.Sort(l.vals)
	for j := range o.Attempts {
		a := &o.Attempts[j]
		val, known := vals[a.Arm]
		switch {
		case !known:
			return l, false
		case a.Outcome == observe.Accepted || a.Outcome == observe.Refused:
		case a.Outcome == observe.TimedOut && len(a.Answers) == 0 && len(a.SYNs) > 0:
			l.silent |= 1 << slices.Index(l.vals, val)
		default:
			return l, false
		}
	}
	return l, true
}

// arc is the half of a circle of n places from k on.
func arc(n, k int) uint32 {
	half := uint32(1)<<(n/2) - 1
	return (half<<k | half>>(n-k)) & (uint32(1)<<n - 1)
}

// most is the largest number of silences on any half of the circle, and where the first such half begins.
func (l *lap) most() (hits, from int) {
	for k := range l.n {
		if h := bits.OnesCount32(l.silent & arc(l.n, k)); h > hits {
			hits, from = h, k
		}
	}
	return hits, from
}

// clean reports whether one half of the circle was silent and the other answered, but for one SYN at its border; and where that half begins.
func (l *lap) clean() (wire.TSval, bool) {
	hits, from := l.most()
	total := bits.OnesCount32(l.silent)
	return l.vals[from], hits >= l.n/2-1 && total <= hits+1 && total >= l.n/2-1 && total <= l.n/2+1
}

// lapChance is the chance that silences which do not depend on the TSval crowd on halves of the circle as much as those of all laps: of each lap's SYNs every choice
// of as many was as likely, since which TSval left when was drawn by lot.
func lapChance(laps []lap) float64 {
	sum, most := []float64{1}, 0
	known := map[[2]int][]float64{}
	for i := range laps {
		l := &laps[i]
		hits, _ := l.most()
		most += hits
		kind := [2]int{l.n, bits.OnesCount32(l.silent)}
		if known[kind] == nil {
			known[kind] = crowds(l.n, kind[1])
		}
		each := known[kind]
		next := make([]float64, len(sum)+len(each)-1)
		for a, p := range sum {
			for b, q := range each {
				next[a+b] += p * q
			}
		}
		sum = next
	}
	p := 0.0
	for k := most; k < len(sum); k++ {
		p += sum[k]
	}
	return min(1, p)
}

// crowd counts the silences of all laps, and those on the fullest half of each.
func crowd(laps []lap) (silent, hits int) {
	for i := range laps {
		h, _ := laps[i].most()
		silent, hits = silent+bits.OnesCount32(laps[i].silent), hits+h
	}
	return silent, hits
}

// crowds is how likely the fullest half holds so many of silent places chosen at random out of n.
func crowds(n, silent int) []float64 {
	out, all := make([]float64, silent+1), 0.0
	arcs := make([]uint32, n)
	for k := range arcs {
		arcs[k] = arc(n, k)
	}
	for mask := range uint32(1) << n {
		if bits.OnesCount32(mask) != silent {
			continue
		}
		hits := 0
		for _, a := range arcs {
			hits = max(hits, bits.OnesCount32(mask&a))
		}
		out[hits]++
		all++
	}
	for k := range out {
		out[k] /= all
	}
	return out
}

// farLeap is how far a border must lie from where it was before: the place of one SYN on either side of it, and as much again for one that was lost or let through.
const farLeap = 1 << 30

// leaps counts how often the silent half began elsewhere than the time before, by more than its border is known to; the first time than where a search had found
// what was remembered, if one did.
func leaps(in *Input, laps []lap) int {
	n := 0
	var before wire.TSval
	known := false
	if m, ok := ReadMemory(in.Observations); ok {
		if s, found := m.Best(); found && s.Hi.Sub(s.Lo) < narrow {
			before, known = s.Hi+1<<31, true // refused is what is older, half a circle of it
		}
	}
	for i := range laps {
		at, ok := laps[i].clean()
		if !ok {
			continue
		}
		if d := int64(at.Sub(before)); known && (d > farLeap || d < -farLeap) {
			n++
		}
		before, known = at, true
	}
	return n
}

// checkCircle: at every instant one half of the circle of TSvals is refused and the other served, and from one instant to the next it is another half: a server
// compares SYNs with what it remembers, and that leaps from clock to clock. No filter does that, which knows no time; and no loss, which knows no TSval.
func checkCircle(in *Input) []Finding {
	laps := readLaps(in)
	want := Want{Kind: plan.KindCircle, Why: "at one instant: is one half of all TSvals refused, and the other served?", Most: mostLaps}
	if len(laps) == 0 {
		if !in.has(plan.KindCircle) && mayLeap(in) {
			return []Finding{{Verdict: SYNStallUnclassified, Level: Inconclusive, Settle: want.Why, Wants: []Want{want},
				Summary: "single SYNs go unanswered on both halves of the circle of TSvals; whether that depends on their TSval at each moment is open"}}
		}
		return nil
	}
	p := stats.Looks(lapChance(laps), len(laps))
	silent, hits := crowd(laps)
	f := Finding{Verdict: TWRecyclePAWSDropSNAT, Level: Inconclusive, P: p, Settle: "more instants",
		Summary: fmt.Sprintf("of %d SYNs that had no answer at %d instants, %d lie on one half of the circle of TSvals", silent, len(laps), hits)}
	n := leaps(in, laps)
	switch {
	case len(laps) < mostLaps && (p >= naming && p < 0.3 || p < naming && n == 0 && len(laps) < fewLaps):
		f.Wants = []Want{want}
		return []Finding{f}
	case p >= naming || n == 0:
		return nil
	}
	return []Finding{f.leapt(in, laps, n)}
}

// leapt completes a finding of halves that leap.
func (f Finding) leapt(in *Input, laps []lap, n int) Finding {
	f.Level, f.Settle = Confirmed, ""
	silent, hits := crowd(laps)
	f.Summary = fmt.Sprintf("at each of %d instants SYNs were dropped by their TSval, on one half of the circle, and not always the same: what the server remembers leaps from clock to clock", len(laps))
	f.Evidence = []string{fmt.Sprintf("%d bursts of SYNs at one instant, TSvals evenly around the circle and their order drawn by lot: %d of %d silent ones lie on one half, permutation p = %.2g "+
		"(looks paid for, α = 1e-4)", len(laps), hits, silent, f.P),
		fmt.Sprintf("the half that is refused leapt %d times from one burst to the next: several clocks, or one for each connection, stand behind this address, and the server keeps the "+
			"newest by comparison (net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10)", n)}
	f.Disproof = "answers on the refused half, at the same instant; a half that never changes, as a filter's would"
	f.Remedy, f.explains = remedyPAWS, allOf(in)
	own := readOwnClock(in)
	if own.n > 1 && !own.single {
		verdict, story := randomOwn(in, own.n)
		f.Verdict, f.Evidence = verdict, append(f.Evidence, story...)
	} else if foreign, story := foreignClock(in, &own); foreign {
		f.Verdict, f.Evidence = TSClockDomainConflict, append(f.Evidence, story...)
	}
	if !in.has(plan.KindSurvey) {
		f.Level, f.Settle = Inconclusive, "whether this host itself sends other traffic from the same address"
		f.Wants = []Want{{Kind: plan.KindSurvey, Why: f.Settle, Most: 1}}
	}
	return f
}

// mayLeap reports whether about half of all single SYNs went unanswered, in no order and without a dependence on the TSval that holds, so that what is remembered
// may leap.
func mayLeap(in *Input) bool {
	q, c := readQuadrants(in), readCells(in)
	if q.bursts < 2 || headPattern(in) {
		return false
	}
	t := judgeTSvals(&q, &c)
	silent, n := t.allIn.silent+t.allOut.silent, t.allIn.n+t.allOut.n
	if 8*silent < 3*n || 8*silent > 5*n {
		return false // one server's memory refuses about a half, wherever it stands
	}
	if t.p >= naming {
		return t.allOut.silent > 1
	}
	m, ok := ReadMemory(in.Observations)
	if s, found := m.Best(); ok && found {
		drawn := readSides(in.Observations, s.Hi, time.Time{})
		return drawn.state() == sidesContrary
	}
	return false
}
