package diagnose

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// checkRefusedRate is checkRate for a limit with a word for what is over it. Others refuse some SYNs and answer the rest as well: a member of a pool that is down keeps
// to its flows or its turn, whatever the pace; a limit on connections refuses only while some are open; a pool that goes empty refuses everybody for a time. So
// it takes two steady bursts of different pace through which as much comes, on flows that had just been answered, and SYNs far apart that all pass.
func checkRefusedRate(in *Input) []Finding {
	for _, d := range refusing() {
		if f := d.rate(in); f != nil {
			return []Finding{*f}
		}
	}
	return nil
}

// paces is how many steady bursts of different pace it takes.
const paces = 2

func (d denial) rate(in *Input) *Finding {
	burst := d.counts(in, plan.KindConnect, plan.KindQuadrants, plan.KindSticky, plan.KindSYN)
	if burst.n < 8 || !d.emptied(in) {
		return nil
	}
	m := d.metering(in)
	f := Finding{
		Verdict: SYNRateLimited, Level: Inconclusive,
		Summary: fmt.Sprintf("the first SYNs of a burst are answered, later ones %s: %d of %d", d.word(), burst.silent, burst.n),
		Wants:   []Want{{Kind: plan.KindRate, Why: "does a limit refuse what comes faster, and let through as much when SYNs come twice as fast?", Most: paces + 1}},
		Settle:  "single SYNs far apart, and at two steady paces",
	}
	if len(m.rates) < paces {
		if m.bursts > paces {
			f.Wants, f.Settle = nil, "SYNs at a steady pace near the limit"
		}
		return &f
	}
	if !m.metered() {
		f.Wants, f.Settle = nil, "what refuses lets through more when SYNs come faster, or less evenly than a bucket that refills"
		return &f
	}
	f.Wants = []Want{{Kind: plan.KindPaced, Why: "do SYNs far apart all pass?", Most: 2}}
	paced := d.counts(in, plan.KindPaced)
	if paced.n == 0 {
		return &f
	}
	if idle := d.lostAlone(in); idle < fewTold {
		f = ofPlaces(f, idle)
		return &f
	}
	f.P = combined(append(slices.Clone(m.order), fisher(silences{burst.silent + m.lost, burst.n + m.asked}, paced))...)
	if f.Level = firm(f.P, m.bursts); f.Level < Suspected || 10*paced.silent > paced.n {
		f.Level = Inconclusive
		return &f
	}
	f = d.limit(in, f, &m, paced, burst)
	return &f
}

// limit names the limit.
func (d denial) limit(in *Input, f Finding, m *metering, paced, burst silences) Finding {
	f.Wants, f.Settle = nil, ""
	if r, due := d.starved(in, slices.Min(m.rates)); due >= mostDue {
		f.Level, f.Settle = Inconclusive, fmt.Sprintf("what else refuses SYNs: for %s none came through, where a limit of what comes through else would have let %.0f pass", r.Round(10*time.Millisecond), due)
		return f
	}
	l := d.readLimit(in, m.rates)
	f.limit = &l
	if l.Scope == ScopeOpen {
		f.Wants = []Want{{Kind: plan.KindScope, Why: "is the limit each source's own, and how many SYNs pass at once after a rest?", Most: l.bursts()}}
	}
	f.Summary = fmt.Sprintf("SYNs pass singly but not in bursts: %d of %d sent far apart were %s, %d of %d in bursts; at a steady pace %s come through%s",
		paced.silent, paced.n, d.word(), burst.silent, burst.n, &l, l.Scope.brief())
	f.Evidence = slices.Concat(m.evidence(f.P), d.place(in), l.tells())
	f.Disproof = "a burst whose answered SYNs are not its first; SYNs sent far apart refused as well (a member of the pool that is down); twice the rate through when SYNs come twice as fast"
	f.Remedy = "raise or remove the SYN limit that rejects what is over it (nft `limit rate over … reject`, iptables hashlimit with -j REJECT, a balancer's connection rate policy); clients see " +
		"\"connection refused\" or \"no route to host\" at once and seldom try again"
	return f
}

// place says where what refuses stands, as far as its answers tell.
func (d denial) place(in *Input) []string {
	if d == byICMP {
		return []string{d.senders(in)}
	}
	near, far, apart := refusedElsewhere(in)
	if apart {
		return []string{fmt.Sprintf("the RSTs come from %d hop(s) away and the SYN-ACKs from %d: a filter on the way refuses", near, far)}
	}
	return []string{"the RSTs come from as far away as the SYN-ACKs: the filter is the listener's own, or stands where the VIP's answers come from"}
}

// senders says which ICMP errors came from whom.
func (d denial) senders(in *Input) string {
	seen := map[string]int{}
	dst, _ := destination(in)
	for a := range attempts(in) {
		for k := range a.Answers {
			ans := &a.Answers[k]
			if !d.refuses(a, ans) {
				continue
			}
			who := ans.From.String()
			if ans.From == dst.Addr() {
				who += " (the target itself)"
			}
			seen[ans.ICMPName+" from "+who]++
		}
	}
	var list []string
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		list = append(list, fmt.Sprintf("%d ICMP %s", seen[what], what))
	}
	return strings.Join(list, ", ") + ": there the filter stands. What is over the limit without a word is so by the sender's own limit on ICMP (net.ipv4.icmp_ratelimit)"
}

// overALimit reports whether what refused SYNs may be a limit, and no port or policy: the first of a burst passed and later ones were refused, and steady SYNs do not
// speak against it, or have not been asked yet. A member that is down takes its share of both, and seldom most; where most are, nobody knows.
func overALimit(in *Input, d denial) bool {
	if !d.emptied(in) {
		return false
	}
	m := d.metering(in)
	burst := d.counts(in, plan.KindConnect, plan.KindQuadrants, plan.KindSticky, plan.KindSYN)
	return m.bursts == 0 || 2*burst.silent >= burst.n || fisher(burst, silences{m.lost, m.asked}) < 1e-3
}
