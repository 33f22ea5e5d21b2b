package diagnose

import (
	"fmt"
	"math"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// notified is what SYNs that ask for explicit congestion notification met, and SYNs that do not.
type notified struct {
	with, without silences
	// only is how many pairs lost the SYN that asks alone, other how many the other alone.
	only, other int
	bursts      int
}

func readNotified(in *Input) notified {
	var e notified
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindECN || !trusted(o) {
			continue
		}
		e.bursts++
		for j := 0; j+1 < len(o.Attempts); j += 2 {
			e.add(&o.Attempts[j], &o.Attempts[j+1])
		}
	}
	return e
}

func (e *notified) add(a, b *observe.Attempt) {
	if len(a.SYNs) == 0 || len(b.SYNs) == 0 || a.SYNs[0].ECN == b.SYNs[0].ECN || !onlySYNACKs(a) || !onlySYNACKs(b) {
		return
	}
	if b.SYNs[0].ECN {
		a, b = b, a
	}
	asks, plain := a.Outcome == observe.TimedOut, b.Outcome == observe.TimedOut
	e.with.add(asks)
	e.without.add(plain)
	if asks && !plain {
		e.only++
	} else if plain && !asks {
		e.other++
	}
}

// askedInVain counts this host's connects whose first SYN asked for ECN and had no effect, and the bursts that had any. Linux asks in the first SYN
// alone (net.ipv4.tcp_ecn_fallback; net/ipv4/tcp_output.c __tcp_retransmit_skb, 6.18; RFC 3168 §6.1.1.1).
func askedInVain(in *Input) (n int, explains []int) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindConnect || !trusted(o) || in.explained[i] {
			continue
		}
		before := n
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if f, ok := readFate(a); ok && len(a.SYNs) > 0 && a.SYNs[0].ECN && f.lost() > f.back {
				n++
			}
		}
		if n > before {
			explains = append(explains, i)
		}
	}
	return n, explains
}

// checkECN: SYNs that ask for ECN are dropped and others are not: a filter takes the bits for an attack, as some do. A host with
// net.ipv4.tcp_ecn=1 then waits for the first repeat of each connect, or of those that meet that filter.
func checkECN(in *Input) []Finding {
	n, explains := askedInVain(in)
	if n < 2 {
		return nil
	}
	want := Want{Kind: plan.KindECN, Why: "this host asks for ECN: do SYNs that do not fare better?", Most: 3}
	e := readNotified(in)
	f := Finding{Verdict: ACLDrop, Level: Inconclusive, Wants: []Want{want}, Settle: want.Why,
		Summary: fmt.Sprintf("%d connects lost their first SYN, which asks for ECN as this host does (net.ipv4.tcp_ecn=1)", n)}
	if e.bursts == 0 {
		return []Finding{f}
	}
	f.P = math.Pow(0.5, float64(e.only)) // of the pairs that differ, all lose the same of the two
	switch {
	case e.only == 0 || e.other > 0 || share(e.without) > 0.2:
		return nil
	case f.P >= 1e-4:
		return []Finding{f}
	}
	f.Level, f.Wants, f.Settle, f.explains = Confirmed, nil, "", explains
	f.Summary = fmt.Sprintf("SYNs that ask for ECN, as this host's do (net.ipv4.tcp_ecn=1), are dropped: %d of %d silent; others %d of %d. Connects wait for the first repeat, which does not ask",
		e.with.silent, e.with.n, e.without.silent, e.without.n)
	f.Evidence = []string{
		fmt.Sprintf("in pairs, the order drawn by lot: %d lost the SYN that asks alone, none the other; p = %.2g", e.only, f.P),
		fmt.Sprintf("%d ordinary connects lost their first SYN, which asked", n),
	}
	f.Disproof = "a SYN with ECE and CWR answered on this path each time; one without dropped as often"
	f.Remedy = "find the device that drops SYNs with ECE and CWR set (an old firewall, a rule against unusual flags) and let them pass; until then net.ipv4.tcp_ecn=2 (the default) here, which " +
		"asks nobody"
	return []Finding{f}
}
