package diagnose

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// trial is one SYN of a flow that is asked again and again, answered or not.
type trial struct {
	at       time.Time
	answered bool
	known    bool      // the flow had been answered before
	ended    time.Time // when the answer came, and was reset
}

// trials lists the SYNs of a burst in order of time.
func (d denial) trials(o *observe.Observation) []trial {
	var out []trial
	for j := range o.Attempts {
		a, known := &o.Attempts[j], false
		if !d.legible(a) {
			continue
		}
		shaken := d.handshakes(a)
		for n := range a.SYNs {
			t := trial{at: a.SYNs[n].At, known: known}
			if ans := echo(shaken, n); ans != nil {
				t.answered, t.ended, known = true, ans.At, true
			} else if !d.denied(a, n) {
				continue
			}
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b trial) int { return a.at.Compare(b.at) })
	return out
}

// metering is what SYNs at a steady pace showed, from the first that was lost on.
type metering struct {
	bursts      int
	asked, lost int
	head        int // the most SYNs of a burst before the first that was lost
	// refills counts the SYNs answered right after one that was not, known the lost ones of flows that had been answered before.
	refills, known int
	// rates are how many a second came through, a burst each; steady: in none of them did the answers come in heaps.
	rates  []float64
	steady bool
	// order is, a burst each, the chance that answered and lost ones alternate as much in a random order.
	order []float64
	// small: the first SYNs of bursts fared no better than those behind them; a limit of that has a small bucket.
	small bool
}

func (d denial) metering(in *Input) metering {
	m := metering{steady: true}
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindRate && o.Kind != plan.KindScope || !trusted(o) || in.explained[i] {
			continue
		}
		if o.Kind == plan.KindScope && m.bursts > 0 {
			continue // it began with a rest, and a full bucket is no steady state
		}
		m.bursts++
		m.add(d.alone(o))
	}
	return m
}

// alone lists the SYNs of a burst's first address up to the first one of another, which asks beside it.
func (d denial) alone(o *observe.Observation) []trial {
	var until time.Time
	order := firstSYNOrder(o)
	for _, a := range order {
		if a.Flow.Src.Addr() != order[0].Flow.Src.Addr() {
			until = a.SYNs[0].At
			break
		}
	}
	return slices.DeleteFunc(d.trials(o), func(t trial) bool { return !until.IsZero() && !t.at.Before(until) })
}

func (m *metering) add(ts []trial) {
	first := slices.IndexFunc(ts, func(t trial) bool { return !t.answered })
	m.asked += len(ts)
	if first < 0 {
		return
	}
	m.head = max(m.head, first)
	ts = ts[first:]
	answered, runs := 0, 1
	var last time.Time
	var widest time.Duration
	for i, t := range ts {
		if i > 0 && t.answered != ts[i-1].answered {
			runs++
		}
		if !t.answered {
			m.lost++
			if t.known {
				m.known++
			}
			continue
		}
		if i > 0 && !ts[i-1].answered {
			m.refills++
		}
		if !last.IsZero() {
			widest = max(widest, t.at.Sub(last))
		}
		last = t.at
		answered++
	}
	if answered < 3 {
		return
	}
	span := ts[len(ts)-1].at.Sub(ts[0].at)
	m.rates = append(m.rates, float64(answered)/span.Seconds())
	m.steady = m.steady && widest <= 5*span/time.Duration(2*answered)
	m.order = append(m.order, max(0, 1-runsChance(answered, len(ts)-answered, runs-1)))
}

// ofPlaces is what a limit looks like that may be one of places: only so many SYNs were lost while none of ours was open.
func ofPlaces(f Finding, idle int) Finding {
	f.Wants = nil
	f.Settle = "SYNs further apart than a round trip: places that are each held for one look like a rate"
	f.Summary += fmt.Sprintf("; only %d of those at a steady pace were lost while none of ours was open", idle)
	return f
}

// FirstTokens is how many SYNs a second passed between the first ones of first contact and their first repeats, at the least; 0: none, or there were no such.
func FirstTokens(seen []observe.Observation) float64 {
	if len(seen) == 0 || seen[0].Kind != plan.KindConnect {
		return 0
	}
	n, after := 0.0, time.Duration(0)
	for j := range seen[0].Attempts {
		if a := &seen[0].Attempts[j]; a.Outcome == observe.Accepted && a.Retransmissions == 1 && len(a.SYNs) > 1 {
			n++
			after = max(after, a.SYNs[1].At.Sub(a.SYNs[0].At))
		}
	}
	if after <= 0 {
		return 0
	}
	return n / after.Seconds()
}

// Through is how many SYNs a second came through bursts at a steady pace, at the least, and how many before the first was lost, at the most; ok is false where
// none was made or nothing was lost.
func Through(seen []observe.Observation) (perSecond float64, head int, ok bool) {
	for _, d := range append([]denial{swallowed}, refusing()...) {
		if m := d.metering(&Input{Observations: seen}); len(m.rates) > 0 {
			return slices.Min(m.rates), m.head, true
		}
	}
	return 0, 0, false
}

// metered reports whether what came through did so bit by bit, at one rate however fast the SYNs came, and without regard to flows.
func (m *metering) metered() bool {
	if m.refills < 4 || m.known < 3 || !m.steady || len(m.rates) == 0 {
		return false
	}
	return slices.Max(m.rates) <= 5*slices.Min(m.rates)/3
}

// combined is the chance of as small a product of so many independent p-values (R. A. Fisher, Statistical Methods for Research Workers, 1932, §21.1).
func combined(ps ...float64) float64 {
	product := 1.0
	for _, p := range ps {
		product *= p
	}
	if product <= 0 {
		return 0
	}
	sum, term := 0.0, 1.0
	for i := range ps {
		if i > 0 {
			term *= -math.Log(product) / float64(i)
		}
		sum += term
	}
	return min(1, product*sum)
}

// checkRate: SYNs pass at a rate of their own, whatever the flow: the first of a burst come through, then no more than so many a second, evenly; and all
// that are far apart. A table that fills also lets the first through, but it counts flows, forgets them in heaps, and answers the flows it knows.
func checkRate(in *Input) []Finding {
	paced := sum(fates(in, plan.KindPaced))
	burst := sum(fates(in, plan.KindQuadrants, plan.KindSticky, plan.KindSYN))
	if burst.lost() == 0 || burst.flows < 8 {
		return nil
	}
	head := headPattern(in)
	if !head && !swallowed.rationed(in) {
		return nil
	}
	f := Finding{
		Verdict: SYNRateLimited, Level: Inconclusive,
		Summary: fmt.Sprintf("the first SYNs of a burst are answered, later ones not: %d of %d had no effect", burst.lost(), burst.syns),
		Wants:   []Want{{Kind: plan.KindRate, Why: "a limiter lets through its own rate and no more", Most: 2}},
		Settle:  "single SYNs far apart, and at a steady rate",
	}
	if !head {
		f.Summary = fmt.Sprintf("%d of %d SYNs had no effect, and those that had came through as from a bucket of tokens", burst.lost(), burst.syns)
	}
	m := swallowed.metering(in)
	m.small = !head
	if m.bursts > 0 {
		f.Wants = append([]Want{{Kind: plan.KindPaced, Why: "do SYNs far apart all pass?", Most: 2}}, f.Wants...)
	} else if head, n := swallowed.heads(in); head == n && n >= onlyHeads {
		f.Wants = []Want{{Kind: plan.KindScope, Why: "a limiter lets through its own rate and no more, also for two addresses together", Most: 1}}
	}
	if m.bursts > 0 && !m.metered() {
		f.Wants = []Want{{Kind: plan.KindRate, Why: "does it let through as much when SYNs come twice as fast?", Most: 2}}
		return []Finding{f}
	}
	if paced.flows == 0 || m.asked == 0 {
		return []Finding{f}
	}
	if idle := swallowed.lostAlone(in); idle < fewTold {
		return []Finding{ofPlaces(f, idle)}
	}
	p := fisher(silences{burst.lost() + m.lost, burst.syns + m.asked}, silences{paced.lost(), paced.syns})
	f.P = combined(append(m.order, p)...)
	if f.Level = firm(f.P, m.bursts); f.Level < Suspected || 10*paced.lost() > paced.syns {
		f.Level = Inconclusive
		return []Finding{f}
	}
	return []Finding{m.limits(in, f, paced, burst)}
}

// limits names the limit that all bursts speak for, unless it owes SYNs that it did not let through.
func (m *metering) limits(in *Input, f Finding, paced, burst tally) Finding {
	f.Wants, f.Settle = nil, ""
	if r, due := swallowed.starved(in, slices.Min(m.rates)); due >= mostDue {
		f.Level, f.Settle = Inconclusive, fmt.Sprintf("what else swallows SYNs: for %s none came through, where a limit of what comes through else would have let %.0f pass", r.Round(10*time.Millisecond), due)
		return f
	}
	l := swallowed.readLimit(in, m.rates)
	if m.small && !l.sharp() {
		f.Level, f.Settle = Inconclusive, "a bucket of tokens that accounts for every SYN of the round: the first ones of bursts fared no better than those behind them"
		f.Wants = []Want{{Kind: plan.KindRate, Why: "does one bucket account for these as well?", Most: 3}}
		return f
	}
	f.limit = &l
	if l.Scope == ScopeOpen {
		f.Wants = []Want{{Kind: plan.KindScope, Why: "is the limit each source's own, and how many SYNs pass at once after a rest?", Most: l.bursts()}}
	}
	f.Summary = fmt.Sprintf("SYNs pass singly but not in bursts: %d of %d sent far apart were lost, %d of %d in bursts; at a steady pace %s come through%s",
		paced.lost(), paced.syns, burst.lost(), burst.syns, &l, l.Scope.brief())
	f.Evidence = append(m.evidence(f.P), l.tells()...)
	f.Disproof = "a burst whose answered SYNs are not its first; loss of SYNs sent far apart; twice the rate through when SYNs come twice as fast"
	f.Remedy = "raise or remove the SYN limit (nft/iptables limit or hashlimit, a balancer's SYN rate policy, a scrubbing service); retries eat tokens, so a limit near the " +
		"real rate collapses"
	return f
}

// evidence is what steady SYNs and the order within bursts show of a bucket; p is of both together.
func (m *metering) evidence(p float64) []string {
	shape := "the answered SYNs of a burst are its first ones, on whatever flow: a bucket that empties"
	if m.small {
		shape = "those that pass do so as tokens come, on whatever flow and in whatever place of a burst: a small bucket, which bursts find empty"
	}
	return []string{
		shape,
		fmt.Sprintf("steady SYNs: %d of %d lost, %d of them of flows that had just been answered; one came through after each wait, %d times: a bucket that refills", m.lost, m.asked,
			m.known, m.refills),
		fmt.Sprintf("p = %.2g for bursts against far apart and for the even order together", p),
	}
}
