package diagnose

import (
	"fmt"
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

// Primed returns the TSval that a server must remember after the primes of a round, if one of them was closed by the server first: its FIN came
// before ours, and we acknowledged it.
func Primed(seen []observe.Observation) (wire.TSval, bool) {
	var t0 wire.TSval
	found := false
	for i := range seen {
		o := &seen[i]
		if o.Kind != plan.KindPrime {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if !closedByPeer(a) || len(a.SYNs) == 0 || !a.SYNs[0].HasTS {
				continue
			}
			if v := a.SYNs[0].TSval; !found || t0.Before(v) {
				t0, found = v, true
			}
		}
	}
	return t0, found
}

// closedByPeer: a FIN of the peer came and no RST, on a connection whose timestamps both sides use. A prime never sends its FIN before.
func closedByPeer(a *observe.Attempt) bool {
	fin, ts := false, false
	for k := range a.Answers {
		ans := &a.Answers[k]
		switch {
		case ans.Kind == observe.RST:
			return false
		case ans.Kind == observe.SYNACK:
			ts = ans.HasTS
		case ans.Flags&wire.FIN != 0:
			fin = true
		}
	}
	return fin && ts
}

// flipArm counts one arm of the flip.
type flipArm struct {
	name     string
	n, quiet int
}

func readFlip(in *Input) []flipArm {
	var arms []flipArm
	index := map[string]int{}
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindFlip || !trusted(o) {
			continue
		}
		for k := range o.Arms {
			if _, ok := index[o.Arms[k].Name]; !ok {
				index[o.Arms[k].Name] = len(arms)
				arms = append(arms, flipArm{name: o.Arms[k].Name})
			}
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			arm := &arms[index[a.Arm]]
			switch a.Outcome {
			case observe.Accepted:
				arm.n++
			case observe.TimedOut:
				arm.n++
				arm.quiet++
			default:
			}
		}
	}
	return arms
}

// checkFlip: after a prime that the server closed first, silence begins exactly two ticks below the primed TSval.
func checkFlip(in *Input) []Finding {
	if !in.has(plan.KindPrime) {
		return nil
	}
	t0, ok := Primed(in.Observations)
	if !ok {
		return []Finding{{Verdict: TWRecyclePAWSDrop, Level: Inconclusive,
			Summary: "the server never closed a connection first, so it had nothing to remember: whether it keeps TSvals per host is not known",
			Settle:  "a request after which this service closes the connection itself"}}
	}
	arms := readFlip(in)
	if len(arms) != 4 {
		return nil
	}
	silentBelow, rest := arms[0].quiet, arms[1].quiet+arms[2].quiet+arms[3].quiet
	n := arms[1].n + arms[2].n + arms[3].n
	if silentBelow == 0 {
		return nil
	}
	p := fisher(silences{silentBelow, arms[0].n}, silences{rest, n})
	if p > 1e-2 {
		return nil
	}
	f := Finding{
		Verdict: TWRecyclePAWSDrop, Level: Confirmed, P: p,
		Summary: fmt.Sprintf("the server remembers %d from this address and drops SYNs more than one tick older: %d of %d silent at T0−2, %d of %d from T0−1 on",
			t0, silentBelow, arms[0].n, rest, n),
		Evidence: []string{
			fmt.Sprintf("primed with TSval %d on a connection that the server closed first", t0),
			fmt.Sprintf("T0−2: %d of %d silent; T0−1: %d of %d; T0: %d of %d; T0+10⁶: %d of %d; Fisher p = %.2g", arms[0].quiet, arms[0].n,
				arms[1].quiet, arms[1].n, arms[2].quiet, arms[2].n, arms[3].quiet, arms[3].n, p),
			"no loss, filter or overload turns on one tick",
		},
		Disproof: "an answer at T0−2 within 60 s of the prime; silence at T0−1",
		Remedy: "set net.ipv4.tcp_tw_recycle=0 on the server (it is gone since 4.12). Until then every client behind one address with another clock is refused for up to 60 s " +
			"after the server closes a connection; switching the clients' timestamps off is no remedy on CentOS 7's 3.10",
	}
	if silentBelow == arms[0].n && rest == 0 && arms[0].n >= 6 && arms[1].n >= 6 {
		f.Level = Proven
	}
	for i := range in.Observations {
		if k := in.Observations[i].Kind; k == plan.KindFlip || k == plan.KindPrime {
			f.explains = append(f.explains, i)
		}
	}
	return []Finding{f}
}
