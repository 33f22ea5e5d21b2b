package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// Losses on other ports that show that it is the way there which loses, and bursts towards other ports after which nothing more is expected of them.
const (
	sharedLosses = 2
	askedOthers  = 4
)

// elsewhere compares uneven loss with what other ports of the address lose: a lossy path loses theirs as well. Where they lose clearly less, what is
// lossy stands behind the port, and the finding becomes what can be said of that: members behind one address may drop a part for reasons of their own.
func (e *evenness) elsewhere(in *Input, f Finding) Finding {
	here, other := silences{}, sum(fates(in, plan.KindOther))
	for i := range e.asked {
		here.silent, here.n = here.silent+e.asked[i].lost, here.n+e.asked[i].n
	}
	there := silences{other.lost(), other.syns}
	p := fisher(here, there)
	mute := other.flows > 0 && other.dead == other.flows
	switch {
	case mute && e.byTurns():
		f.Level, f.Settle = Inconclusive, "a port of the address that answers (--contrast): the losses of these flows fall into few stretches of time, so a member that goes away and comes back looks the same as a way that does"
	case mute:
		f.Level, f.explains = Suspected, allOf(in)
		f.Evidence = append(f.Evidence, "other ports of the address answer nothing, so it may as well be a member behind it that drops a part")
	case there.silent >= sharedLosses && p >= 1e-2:
		f.explains = allOf(in)
		f.Evidence = append(f.Evidence, fmt.Sprintf("other ports of the address: %d of %d SYNs lost, so it is the way there, and no member behind this port", there.silent, there.n))
	case p < 1e-2:
		return e.behind(f, there)
	default:
		f.Level, f.Settle = Inconclusive, "other ports of the address: does the way there lose as much?"
		f.Wants = []Want{{Kind: plan.KindOther, Why: f.Settle, Most: askedOthers}}
	}
	return f
}

// byTurns reports whether the flows that lose do so together, and are served together in between: what drops a part drops it at random. One in 100 rounds
// is so by chance.
func (e *evenness) byTurns() bool { return len(e.turns) > 0 && combined(e.turns...) < 1e-2 }

// behind is uneven loss that other ports do not share.
func (e *evenness) behind(f Finding, there silences) Finding {
	f.Verdict, f.Level = SYNStallUnclassified, Suspected
	f.Summary = fmt.Sprintf("%d of %d flows lose SYNs, %d in all, and the other %d lose none; other ports of the address lose %d of %d: it is not the way there, but one of "+
		"several behind the port", len(e.asked)-e.clean(), len(e.asked), e.total, e.clean(), there.silent, there.n)
	f.Disproof = "losses that move from flow to flow, or as many on another port"
	f.Settle = "each real server probed directly (vipprobe probe --compare VIP REAL...), and its own counters (--testimony)"
	f.Remedy = "one member of several, or the way from the balancer to it, drops a part: it is overloaded, behind a lossy link, or refuses clients by what it remembers of " +
		"others (net.ipv4.tcp_tw_recycle). Probe each real server directly"
	return f
}
