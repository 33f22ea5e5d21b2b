package witness

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// arrival is how long before a reading a SYN must have left to be sure that the server met it before: the way there, and what the server takes.
const arrival = 50 * time.Millisecond

// vain is a SYN of ours that had no answer in time.
type vain struct {
	at    time.Time
	burst int // −1: a member's
	arm   string
	// arrived: it made a request at the listener, and the answer was lost.
	arrived bool
}

// hearing is what all witnesses of a round are held against.
type hearing struct {
	seen      []observe.Observation
	witnesses []observe.Witness
	target    netip.AddrPort
	vain      []vain // in order of time
}

func newHearing(seen []observe.Observation, witnesses []observe.Witness) *hearing {
	r := &hearing{seen: seen, witnesses: witnesses, target: mostAsked(seen)}
	for i := range seen {
		if o := &seen[i]; o.Whole() && o.ClockStep == 0 && !aside(o.Kind) {
			r.read(i, o, r.target)
		}
	}
	r.sort()
	return r
}

func (r *hearing) sort() {
	slices.SortStableFunc(r.vain, func(a, b vain) int { return a.at.Compare(b.at) })
}

// alongside adds the SYNs in vain of the members' own observations.
func (r *hearing) alongside(behind []observe.Observation) {
	for i := range behind {
		o := &behind[i]
		if len(o.Attempts) > 0 && o.Whole() && o.ClockStep == 0 && !aside(o.Kind) {
			r.read(-1, o, o.Attempts[0].Flow.Dst)
		}
	}
	r.sort()
}

// aside reports whether bursts of a kind ask something else than the listener: no SYNs to it, or none that arrive.
func aside(k plan.Kind) bool {
	return k == plan.KindStray || k == plan.KindWalk || k == plan.KindOther || k == plan.KindParity
}

// mostAsked is the address and port that most attempts went to: the target.
func mostAsked(seen []observe.Observation) netip.AddrPort {
	n := map[netip.AddrPort]int{}
	var best netip.AddrPort
	for i := range seen {
		for j := range seen[i].Attempts {
			dst := seen[i].Attempts[j].Flow.Dst
			if aside(seen[i].Kind) {
				continue
			}
			if n[dst]++; n[dst] > n[best] {
				best = dst
			}
		}
	}
	return best
}

// read takes the SYNs of one burst to one place that went without an answer in time.
func (r *hearing) read(burst int, o *observe.Observation, target netip.AddrPort) {
	for j := range o.Attempts {
		a := &o.Attempts[j]
		if a.Flow.Dst != target {
			continue
		}
		for k := range a.SYNs {
			if at := a.SYNs[k].At; !at.IsZero() && !inTime(a, k) { // one that never left moves nothing
				r.vain = append(r.vain, vain{at, burst, a.Arm, len(a.Answers) > 0 && a.Answered >= 0 && k >= a.Answered})
			}
		}
	}
}

// inTime reports whether SYN k had its answer before it was repeated, or an answer that was merely slow.
func inTime(a *observe.Attempt, k int) bool {
	switch {
	case len(a.Answers) == 0 || a.Outcome == observe.TimedOut:
		return false
	case a.Late == observe.LateSlow || a.Late == observe.LateAmbiguous:
		return a.Answered < 0 || k >= a.Answered
	}
	return k >= a.Retransmissions
}

// sent counts the SYNs in vain that left after one time and not after another.
func (r *hearing) sent(after, until time.Time) int {
	at := func(t time.Time) int {
		return sort.Search(len(r.vain), func(i int) bool { return r.vain[i].at.After(t) })
	}
	return max(0, at(until)-at(after))
}

// bursts are those with SYNs in vain, by index.
func (r *hearing) bursts() []int {
	var out []int
	for i := range r.vain {
		if b := r.vain[i].burst; b >= 0 && !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	slices.Sort(out)
	return out
}

// reading is what all witnesses together said of one counter at one time.
type reading struct {
	asked, answered time.Time
	value           int64
	ok              bool
}

// together adds up a counter over the witnesses that tell it. All are asked at the same times: statement i of each is of one moment.
func (r *hearing) together(c *telling, name string) []reading {
	var out []reading
	for i := range r.witnesses {
		w := &r.witnesses[i]
		if !tells(w, name) {
			continue
		}
		if out == nil {
			out = make([]reading, len(w.Statements))
			for k := range out {
				out[k].ok = true
			}
		}
		out = out[:min(len(out), len(w.Statements))]
		for k := range out {
			out[k].add(&w.Statements[k], c, name)
		}
	}
	return out
}

func (x *reading) add(s *observe.Statement, c *telling, name string) {
	if x.asked.IsZero() || s.Asked.Before(x.asked) {
		x.asked = s.Asked
	}
	if s.Answered.After(x.answered) {
		x.answered = s.Answered
	}
	v, ok := c.value(s, name)
	x.value += v
	x.ok = x.ok && ok
}

// tells reports whether a witness ever tells a counter.
func tells(w *observe.Witness, name string) bool {
	return slices.ContainsFunc(w.Statements, func(s observe.Statement) bool {
		_, ok := s.Counters[name]
		return ok
	})
}

// stretch is the time between two readings.
type stretch struct {
	from, to     time.Time
	first, after int   // of the readings, by index
	dose         int64 // SYNs in vain
	moved        int64
	ok           bool // the counter was read at both ends, and was not reset
}

func (s *stretch) length() time.Duration { return s.to.Sub(s.from) }

// cut cuts time at the readings. A reading so close to a SYN in vain that the server may have met it on either side is no cut, and neither is one
// that failed.
func (r *hearing) cut(readings []reading) []stretch {
	var out []stretch
	first := -1
	for i := range readings {
		x := &readings[i]
		last := i+1 == len(readings)
		switch {
		case !x.ok, !last && r.sent(x.asked.Add(-arrival), x.answered) > 0:
			continue
		case first >= 0:
			a := &readings[first]
			out = append(out, stretch{from: a.answered, to: x.asked, first: first, after: i, moved: x.value - a.value, ok: x.value >= a.value,
				dose: int64(r.sent(a.answered, x.asked))})
		}
		first = i
	}
	return out
}
