package diagnose

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// asked is one single SYN with a TSval of ours, and whether it was answered.
type asked struct {
	val      wire.TSval
	answered bool
	at       time.Time
}

// questions lists the single SYNs of a kind in order of time.
func questions(seen []observe.Observation, kind plan.Kind) []asked {
	var out []asked
	for i := range seen {
		o := &seen[i]
		if o.Kind != kind || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) == 0 || (a.Outcome != observe.Accepted && a.Outcome != observe.TimedOut) {
				continue
			}
			out = append(out, asked{a.SYNs[0].TSval, a.Outcome == observe.Accepted, a.SYNs[0].At})
		}
	}
	return out
}

// OracleBounds returns what the quadrants and the oracle's questions so far say of the newest refused TSval: lo is the newest one that was
// refused below every answered one, hi the oldest answered above it. An answer is certain, silence may be loss: so an answered
// TSval takes back every silence above it. ok is false where no two adjacent quadrants stand out.
func OracleBounds(seen []observe.Observation) (lo, hi wire.TSval, ok bool) {
	in := Input{Observations: seen}
	q := readQuadrants(&in)
	if q.bursts < 2 {
		return 0, 0, false
	}
	all := sumArms(q.learn, q.test)
	k := q.refused()
	inside, outside := split(all, k)
	if share(inside) < 0.9 || share(outside) > 0.2 {
		return 0, 0, false
	}
	floor := q.start[(k+1)%4]
	lo, hi = floor, q.start[(k+2)%4]
	qs := questions(seen, plan.KindOracle)
	for i := range qs {
		if x := &qs[i]; x.answered && floor.Before(x.val) && x.val.Before(hi) {
			hi = x.val
		}
	}
	for i := range qs {
		if x := &qs[i]; !x.answered && lo.Before(x.val) && x.val.Before(hi) {
			lo = x.val
		}
	}
	return lo, hi, true
}

// remembered is what the oracle found out.
type remembered struct {
	x        wire.TSval // the remembered TSval
	at       time.Time  // when the last question about it was asked
	verified bool       // one tick apart: the one silent, the other answered, several times each
	silent   int
	answered int
	bursts   int
	within   int32 // not verified: hi − lo
}

// readOracle returns what is known; ok is false before any question was asked.
func readOracle(in *Input) (remembered, bool) {
	r := remembered{bursts: in.bursts(plan.KindOracle)}
	lo, hi, ok := OracleBounds(in.Observations)
	if !ok || r.bursts == 0 {
		return r, false
	}
	r.x = hi + 1 // the newest refused is X−2, so the oldest answered is X−1: net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10
	r.within = hi.Sub(lo)
	for _, q := range questions(in.Observations, plan.KindOracle) {
		r.at = q.at
		if q.val == lo && !q.answered {
			r.silent++
		}
		if q.val == hi && q.answered {
			r.answered++
		}
	}
	r.verified = r.within == 1 && r.silent >= 4 && r.answered >= 4
	return r, true
}

// ownClock is the timestamp clock of this host's kernel as its SYNs show it.
type ownClock struct {
	n      int
	single bool       // all SYNs lie on one line of 1,000 Hz
	val    wire.TSval // at the time at
	at     time.Time
}

// clockSlack is how far SYNs of one clock may lie off its line: timer ticks and scheduling, in ms ticks.
const clockSlack = 60

// readOwnClock looks at the kernel SYNs of all bursts. Linux ≥ 4.13 ticks at 1,000 Hz whatever its HZ (net/ipv4/tcp_output.c, tcp_clock_ts), and
// adds an offset that is one per host pair, or per connection (net/core/secure_seq.c; by port again in some).
func readOwnClock(in *Input) ownClock {
	var c ownClock
	c.single = true
	for i := range in.Observations {
		for j := range in.Observations[i].Attempts {
			a := &in.Observations[i].Attempts[j]
			if a.Via != plan.Kernel || len(a.SYNs) == 0 || !a.SYNs[0].HasTS || a.SYNs[0].At.IsZero() {
				continue
			}
			s := &a.SYNs[0]
			if c.n > 0 {
				want := c.val.Add(s.At.Sub(c.at).Milliseconds())
				if d := s.TSval.Sub(want); d > clockSlack || d < -clockSlack {
					c.single = false
				}
			}
			c.n++
			c.val, c.at = s.TSval, s.At
		}
	}
	return c
}

// now is the clock's value at t.
func (c *ownClock) now(t time.Time) wire.TSval { return c.val.Add(t.Sub(c.at).Milliseconds()) }
