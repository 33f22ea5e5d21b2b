package diagnose

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// moment is one attempt that was served or refused, at the time of its first SYN.
type moment struct {
	at     time.Time
	served bool
	ttl    uint8
	by     string
}

// moments lists them in order of time.
func moments(in *Input) []moment {
	var out []moment
	for a := range attempts(in) {
		if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() {
			continue
		}
		m := moment{at: a.SYNs[0].At}
		switch a.Outcome {
		case observe.Accepted:
			m.served = true
			if ans := firstSYNACK(a); ans != nil {
				m.ttl = ans.HopLimit
			}
		case observe.Refused, observe.Unreachable:
			for k := range a.Answers {
				if ans := &a.Answers[k]; ans.Kind == observe.RST || ans.Kind == observe.ICMP {
					m.ttl, m.by = ans.HopLimit, "an RST"
					if ans.Kind == observe.ICMP {
						m.by = "ICMP " + ans.ICMPName
					}
					break
				}
			}
		default:
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b moment) int { return a.at.Compare(b.at) })
	return out
}

// runsChance is the probability that n served and m refused moments, mixed at random, fall into as few runs as r: Wald and Wolfowitz (1940).
func runsChance(n, m, r int) float64 {
	p := 0.0
	for k := 2; k <= r; k++ {
		h := k / 2
		var ways float64
		if k%2 == 0 {
			ways = 2 * math.Exp(logChoose(n-1, h-1)+logChoose(m-1, h-1))
		} else {
			if h <= n-1 {
				ways += math.Exp(logChoose(n-1, h) + logChoose(m-1, h-1))
			}
			if h <= m-1 {
				ways += math.Exp(logChoose(n-1, h-1) + logChoose(m-1, h))
			}
		}
		p += ways / math.Exp(logChoose(n+m, n))
	}
	return min(1, p)
}

// stretches counts in how many stretches of time served and refused moments fall; p is the chance that as many of each, mixed at random, fall into so
// few.
func stretches(ms []moment) (runs int, p float64) {
	served, refused := 0, 0
	for i, m := range ms {
		if m.served {
			served++
		} else {
			refused++
		}
		if i == 0 || m.served != ms[i-1].served {
			runs++
		}
	}
	if served == 0 || refused == 0 {
		return runs, 1
	}
	return runs, runsChance(served, refused, runs)
}

// checkPool: the address serves everybody for a while and refuses everybody for a while: its pool goes empty and fills again. A member that
// refuses turns some of each burst away.
func checkPool(in *Input) []Finding {
	ms := moments(in)
	by := map[string]int{}
	var servedTTL, refusedTTL uint8
	served, refused := 0, 0
	for _, m := range ms {
		if m.served {
			served++
			servedTTL = m.ttl
		} else {
			refused++
			by[m.by]++
			refusedTTL = m.ttl
		}
	}
	if served < 4 || refused < 4 {
		return nil
	}
	runs, p := stretches(ms)
	if p > 1e-2 {
		return nil
	}
	f := Finding{
		Verdict: VIPPoolEmpty, Level: Suspected, P: p,
		Summary: fmt.Sprintf("the address serves everybody and refuses everybody in turn: %d accepted, %d refused, in %d stretches of time", served, refused, runs),
		Evidence: []string{
			fmt.Sprintf("refused with %v; mixed at random they would fall into so few stretches with p = %.2g", names(by), p),
		},
		Disproof: "served and refused connections side by side in one burst: then a member refuses, not the pool",
		Remedy:   "a health check evicts the last real server and takes it back: find why its own connects fail (timeouts, the stalls named here), and let the VIP keep a last resort",
		Wants:    []Want{{Kind: plan.KindPaced, Why: "does it come and go?", Most: 2}},
	}
	if servedTTL != refusedTTL && refusedTTL != 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("SYN-ACKs arrive with TTL %d, refusals with %d: another device refuses than serves", servedTTL, refusedTTL))
	}
	if p < 1e-4 && runs >= 2 {
		f.Level, f.Wants = Confirmed, nil
	}
	return []Finding{f}
}

func names(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
