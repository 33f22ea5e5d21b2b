package diagnose

import (
	"fmt"
	"math"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// quadrantArm counts one arm over all bursts of a half.
type quadrantArm struct{ silent, n int }

// quadrants is what single SYNs with TSvals a quarter of the circle apart showed, the bursts split into a half that may suggest and a
// half that tests.
type quadrants struct {
	start        [4]wire.TSval
	learn, test  [4]quadrantArm
	bursts       int
	observations []int
}

func readQuadrants(in *Input) quadrants {
	var q quadrants
	for i := range in.Observations {
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
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Outcome != observe.Accepted && a.Outcome != observe.TimedOut && a.Outcome != observe.Refused {
				continue
			}
			arm := &half[arms[a.Arm]]
			arm.n++
			if a.Outcome == observe.TimedOut {
				arm.silent++
			}
		}
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
func split(arms [4]quadrantArm, k int) (in, out quadrantArm) {
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

func share(a quadrantArm) float64 {
	if a.n == 0 {
		return 0
	}
	return float64(a.silent) / float64(a.n)
}

// checkQuadrants: silence that depends on the TSval, and does so as a comparison on the circle of serial numbers: two adjacent
// quadrants refused, the other two served (net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10). The rotation is chosen on one half of
// the bursts and tested on the other; p is divided by the looks taken.
func checkQuadrants(in *Input) []Finding {
	q := readQuadrants(in)
	learn := q.learn[0].silent + q.learn[1].silent + q.learn[2].silent + q.learn[3].silent
	total := learn + q.test[0].silent + q.test[1].silent + q.test[2].silent + q.test[3].silent
	if q.bursts == 0 || total == 0 {
		return nil
	}
	k := q.refused()
	inside, outside := split(q.test, k)
	looks := max(1, q.bursts/2)
	p := min(1, fisher(inside, outside)*float64(looks))
	more := Want{Kind: plan.KindQuadrants, Why: "more flows in each quadrant, until chance can be ruled out", Most: 8}
	all := sumArms(q.learn, q.test)
	allIn, allOut := split(all, k)
	f := Finding{
		Verdict: TWRecyclePAWSDropSNAT, Level: Inconclusive, P: p,
		Summary: fmt.Sprintf("SYNs are dropped by their TSval: %d of %d silent from %d to %d, %d of %d on the other half of the circle",
			allIn.silent, allIn.n, q.start[k], q.start[(k+2)%4], allOut.silent, allOut.n),
		Settle: "more flows in each quadrant", Wants: []Want{more},
	}
	switch {
	case p < 1e-4:
		f.Level = Confirmed
	case p < 1e-2:
		f.Level = Suspected
	default:
		return []Finding{f}
	}
	f.Evidence = []string{
		fmt.Sprintf("held-out half: %d of %d silent against %d of %d; Fisher p = %.2g after %d look(s)", inside.silent, inside.n, outside.silent, outside.n, p, looks),
		"no loss, filter or overload turns on the TSval of a SYN; a server that remembers a newer TSval from this source address does (per-host PAWS, tcp_tw_recycle)",
		fmt.Sprintf("the remembered TSval lies between %d and %d", q.start[(k+2)%4]-1, q.start[(k+3)%4]),
	}
	f.Disproof = "an answer that does not depend on the TSval over as many flows; the same silence for a source address that nobody shares"
	f.Remedy = "set net.ipv4.tcp_tw_recycle=0 on the real servers (removed in 4.12), or give each client its own source address, or let the balancer " +
		"rewrite timestamps; switching the clients' timestamps off is no remedy on CentOS 7's 3.10, which then drops them too"
	f.explains = q.observations
	f.Wants = nil
	if f.Level < Confirmed {
		f.Wants = []Want{more}
	}
	return []Finding{f}
}

func sumArms(a, b [4]quadrantArm) [4]quadrantArm {
	for k := range a {
		a[k].silent += b[k].silent
		a[k].n += b[k].n
	}
	return a
}

// fisher is the one-sided chance that as many of the silent fall on a as do.
func fisher(a, b quadrantArm) float64 {
	return fisherExact(a.silent, a.n-a.silent, b.silent, b.n-b.silent)
}
