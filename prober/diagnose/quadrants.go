package diagnose

import (
	"fmt"
	"math"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// silences counts how many of n questions had no answer.
type silences struct{ silent, n int }

// quadrants is what single SYNs with TSvals a quarter of the circle apart showed, the bursts split into a half that may suggest and a
// half that tests.
type quadrants struct {
	start        [4]wire.TSval
	learn, test  [4]silences
	bursts       int
	observations []int
	// blocks are the same SYNs in groups of four, one of each quadrant, which left together in an order drawn by lot.
	blocks [][]ask
}

func readQuadrants(in *Input) quadrants {
	var q quadrants
	late := in.patience()
	for i := range ownless(in.Observations) {
		o := &in.Observations[i]
		if o.Kind != plan.KindQuadrants || !trusted(o) || len(o.Arms) != 4 {
			continue
		}
		q.observations = append(q.observations, i)
		half := &q.learn
		if q.bursts%2 == 1 {
			half = &q.test
		}
		q.bursts++
		arms := map[string]int{}
		for k := range o.Arms {
			arms[o.Arms[k].Name] = k
			q.start[k] = o.Arms[k].Script.Clock.Start
		}
		blocks := make([][]ask, (len(o.Attempts)+3)/4)
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Outcome != observe.Accepted && a.Outcome != observe.TimedOut && a.Outcome != observe.Refused {
				continue
			}
			if a.Outcome == observe.TimedOut && len(a.Answers) > 0 {
				continue // a bare ACK is no silence: checkBareACK
			}
			silent := a.Outcome == observe.TimedOut || gaveUp(o.Kind, a, late)
			if b := a.Index / 4; b < len(blocks) {
				blocks[b] = append(blocks[b], ask{arms[a.Arm], !silent})
			}
			half[arms[a.Arm]].add(silent)
		}
		q.blocks = append(q.blocks, blocks...)
	}
	return q
}

// refused is the rotation whose two adjacent quadrants were silent most, on the learning half.
func (q *quadrants) refused() int {
	best, most := 0, -math.MaxFloat64
	for k := range 4 {
		in, out := split(q.learn, k)
		if d := share(in) - share(out); d > most {
			best, most = k, d
		}
	}
	return best
}

// split sums the two quadrants from k on, and the other two.
func split(arms [4]silences, k int) (in, out silences) {
	for j := range 4 {
		a := arms[(k+j)%4]
		if j < 2 {
			in.silent, in.n = in.silent+a.silent, in.n+a.n
		} else {
			out.silent, out.n = out.silent+a.silent, out.n+a.n
		}
	}
	return in, out
}

func share(a silences) float64 {
	if a.n == 0 {
		return 0
	}
	return float64(a.silent) / float64(a.n)
}

// checkQuadrants: silence that depends on the TSval, and does so as a comparison on the circle of serial numbers: two adjacent
// quadrants refused, the other two served (net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10). The test is turned: over blocks of four
// SYNs, of four flows or of one, each block with one SYN of every quadrant in an order drawn by lot; α = 1e-4 for all looks together.
func checkQuadrants(in *Input) []Finding {
	q, c := readQuadrants(in), readCells(in)
	if q.bursts == 0 || !openSilence(in, &q) && c.bursts == 0 {
		return nil
	}
	t := judgeTSvals(&q, &c)
	if c.stray(t.k) {
		c.flows = nil
		t = judgeTSvals(&q, &c)
	}
	cellsWant, open := cellsOpen(in, &q, &c, &t)
	if t.p >= 1e-2 && share(t.allIn)-share(t.allOut) < 0.2 {
		if !open {
			return nil // silence does not turn on the TSval
		}
		return []Finding{{Verdict: SYNStallUnclassified, Level: Inconclusive, Settle: cellsWant.Why, Wants: []Want{cellsWant},
			Summary: fmt.Sprintf("%d of %d single SYNs had no answer; whether that depends on their TSval is open", t.allIn.silent+t.allOut.silent, t.allIn.n+t.allOut.n)}}
	}
	verdict, story := whose(in, &q, t.k)
	f := Finding{
		Verdict: verdict, Level: Inconclusive, P: t.p,
		Summary: fmt.Sprintf("SYNs are dropped by their TSval: %d of %d silent from %d to %d, %d of %d on the other half of the circle",
			t.allIn.silent, t.allIn.n, q.start[t.k], q.start[(t.k+2)%4], t.allOut.silent, t.allOut.n),
		Settle: "more flows in each quadrant",
	}
	if open {
		f.Wants = append(f.Wants, cellsWant)
	}
	more := Want{Kind: plan.KindQuadrants, Why: "more flows in each quadrant, until chance can be ruled out", Most: 8}
	if q.bursts < more.Most && (c.bursts == 0 || len(c.flows) == 0) {
		f.Wants = append(f.Wants, more)
	}
	if f.P >= naming {
		return []Finding{f}
	}
	f.Level = Confirmed
	f.Evidence = append(t.evidence(&c), story...)
	f.Disproof = "an answer that does not depend on the TSval over as many flows; the same silence for a source address that nobody shares"
	f.Remedy = remedyPAWS
	f.explains = allOf(in)
	f.Arms = q.arms(&c)
	f.Wants, f.Settle = nil, ""
	f.complete(in, &q, &c, &t)
	return []Finding{f}
}

// complete asks for what a confirmed dependence still lacks: whose clock it is, the share of flows, the remembered TSval.
func (f *Finding) complete(in *Input, q *quadrants, c *cells, t *tsvals) {
	if f.Level < Confirmed {
		return
	}
	if !in.has(plan.KindSurvey) {
		// Whose clock it is stays open until this host's own traffic was looked at.
		f.Level, f.Settle = Inconclusive, "whether this host itself sends other traffic from the same address"
		f.Wants = []Want{{Kind: plan.KindSurvey, Why: f.Settle, Most: 1}}
	}
	if m, known := in.memory(); known && f.Verdict == TWRecyclePAWSDropSNAT && in.bursts(plan.KindSurvey) == 1 {
		if _, found := m.Best(); found { // now that the clock is known, one SYN on it tells
			f.Wants = append(f.Wants, Want{Kind: plan.KindSurvey, Why: "does this host itself send the traffic whose clock the server remembers?", Most: 2})
		}
	}
	if line := eviction(refusal(c, t)); line != "" && (f.Verdict == TWRecyclePAWSDropSNAT || f.Verdict == TSClockDomainConflict) {
		f.Evidence = append(f.Evidence, line)
	}
	if f.Verdict != ClientRandomTSVsRecycle {
		f.remember(in, &Memory{share: share(t.allIn), Lo: q.start[(t.k+1)%4], Hi: q.start[(t.k+2)%4]})
	}
	if (share(t.allIn) < 0.9 || share(t.allOut) > 0.2) && c.bursts == 0 {
		f.Wants = append(f.Wants, Want{Kind: plan.KindCells, Why: "which share of the flows is refused?", Most: 1})
	}
}

// openSilence reports whether single SYNs or whole flows went unanswered for no reason yet found, beside others that were answered.
func openSilence(in *Input, q *quadrants) bool {
	silent, n := 0, 0
	for i := range q.start {
		silent += q.learn[i].silent + q.test[i].silent
		n += q.learn[i].n + q.test[i].n
	}
	return n > 0 && (silent > 0 && silent < n || deadSticky(in) > 0 && silent < n)
}

// remedyPAWS is what to do about per-host PAWS, wherever it is met.
const remedyPAWS = "set net.ipv4.tcp_tw_recycle=0 on the real servers (removed in 4.12), or give each client its own source address, or let the balancer " +
	"rewrite timestamps; switching the clients' timestamps off is no remedy on CentOS 7's 3.10, which then drops them too"

// whose decides what it means that a server drops by TSval: whose clock does it remember? k is the first refused quadrant.
func whose(in *Input, q *quadrants, k int) (Verdict, []string) {
	own := readOwnClock(in)
	if own.n > 1 && !own.single {
		return randomOwn(in, own.n)
	}
	if foreign, story := foreignClock(in, &own); foreign {
		return TSClockDomainConflict, story
	}
	m, _ := in.memory()
	s, ok := m.Best()
	if own.n == 0 {
		return TWRecyclePAWSDropSNAT, []string{"this host's kernel sends no timestamps: what is remembered came from others behind the same address"}
	}
	if !ok || s.Hi.Sub(s.Lo) >= 1<<16 {
		return TWRecyclePAWSDropSNAT, []string{fmt.Sprintf("the remembered TSval lies between %d and %d", q.start[(k+1)%4], q.start[(k+2)%4])}
	}
	// A server forgets after 60 s (TCP_PAWS_MSL, include/net/tcp.h, 3.10), so what it has of our clock is at most that old.
	now := own.now(s.Answered)
	if !now.Before(s.Lo) && !s.Hi.Before(now.Add(-75_000)) {
		return TWRecyclePAWSDrop, []string{fmt.Sprintf("that is this host's own clock (%d now): no other clock is mixed in, but whoever shares this address with another is refused", now)}
	}
	return TWRecyclePAWSDropSNAT, []string{fmt.Sprintf("this host's own clock stands at %d: what is remembered came from another host behind the same address, so a NAT mixes their clocks", now)}
}

// foreignClock: this very host sends SYNs of others to the target from the same address, on another clock than its own kernel's.
func foreignClock(in *Input, own *ownClock) (bool, []string) {
	n, off := 0, 0
	var example observe.Foreign
	for i := range in.Observations {
		for _, s := range in.Observations[i].Foreign {
			if !s.HasTS {
				continue
			}
			n++
			if own.n == 0 || abs(s.TSval.Sub(own.now(s.At))) > clockSlack {
				off++
				example = s
			}
		}
	}
	if off == 0 || off == 1 && !remembersAbout(in, &example) {
		return false, nil
	}
	story := []string{fmt.Sprintf("this host itself sends business of others from the probing address: %d SYNs seen, %d of them on another clock (%s carried TSval %d)", n, off, example.Flow, example.TSval)}
	if own.n > 0 {
		story = append(story, fmt.Sprintf("its own kernel, and so its health monitor, stood at TSval %d then: two clocks, one address", own.now(example.At)))
	} else {
		story = append(story, "its own kernel, and so its health monitor, sends no timestamps at all")
	}
	return true, story
}

// remembersAbout reports whether what the server remembers lies within a minute's ticks of a SYN of others: one such SYN is then no chance, which
// on a circle of 2³² would put it there once in 30,000 times.
func remembersAbout(in *Input, s *observe.Foreign) bool {
	m, _ := in.memory()
	best, ok := m.Best()
	return ok && best.Hi.Sub(best.Lo) < 1<<16 && abs(s.TSval.Sub(best.Hi)) <= 75_000
}

func abs(d int32) int32 {
	if d < 0 {
		return -d
	}
	return d
}

// allOf lists every observation: a finding that explains loss wherever it showed.
func allOf(in *Input) []int {
	out := make([]int, len(in.Observations))
	for i := range out {
		out[i] = i
	}
	return out
}

func sumArms(a, b [4]silences) [4]silences {
	for k := range a {
		a[k].silent += b[k].silent
		a[k].n += b[k].n
	}
	return a
}

// fisher is the one-sided chance that as many of the silent fall on a as do.
func fisher(a, b silences) float64 {
	return stats.FisherGreater(stats.Arm{Hits: a.silent, N: a.n}, stats.Arm{Hits: b.silent, N: b.n})
}
