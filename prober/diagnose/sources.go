package diagnose

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// bySource is what SYNs from one address of ours met, at the target's port and at the other one.
type bySource struct {
	src           netip.Addr
	target, other silences
}

// readSources reads the bursts that asked from several addresses; the first is the usual one.
func readSources(in *Input) []bySource {
	dst, _ := destination(in)
	var out []bySource
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindSource || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) == 0 || a.Outcome == observe.NotSent || a.Outcome == observe.LocalDrop {
				continue
			}
			k := slices.IndexFunc(out, func(s bySource) bool { return s.src == a.Flow.Src.Addr() })
			if k < 0 {
				k = len(out)
				out = append(out, bySource{src: a.Flow.Src.Addr()})
			}
			s := &out[k].other
			if a.Flow.Dst == dst {
				s = &out[k].target
			}
			s.n++
			if a.Outcome == observe.TimedOut && len(a.Answers) == 0 {
				s.silent++
			}
		}
	}
	return out
}

// sourced turns silence of the target into what its dependence on our source address makes of it. The usual address is silent on every port,
// or f would say so; p is tested on this burst alone.
func sourced(in *Input, f Finding) Finding {
	list := readSources(in)
	if !in.has(plan.KindSource) {
		f.Wants = append(f.Wants, Want{Kind: plan.KindSource, Why: "is another address of this host answered?", Most: 2})
		return f
	}
	if len(list) < 2 || list[0].target.silent < list[0].target.n {
		return f
	}
	for _, s := range list[1:] {
		if s.target.n == 0 || s.target.silent > 0 {
			continue
		}
		return sourceDropped(in, f, &list[0], &s)
	}
	return f
}

func sourceDropped(in *Input, f Finding, usual, good *bySource) Finding {
	p := fisher(usual.target, good.target)
	f.P, f.Settle = p, ""
	f.Evidence = append(f.Evidence,
		fmt.Sprintf("from %s: %d of %d SYNs to the port and %d of %d to another port silent", usual.src, usual.target.silent, usual.target.n, usual.other.silent, usual.other.n),
		fmt.Sprintf("from %s, in the same second: %d of %d and %d of %d", good.src, good.target.silent, good.target.n, good.other.silent, good.other.n))
	f.Disproof = fmt.Sprintf("any answer to %s; silence towards %s as well", usual.src, good.src)
	everything := usual.other.silent == usual.other.n && good.other.silent < good.other.n
	f.Wants = nil
	if p >= 1e-4 {
		f.Wants = []Want{{Kind: plan.KindSource, Why: "the same again, until chance can be ruled out", Most: 2}}
	}
	switch {
	case p >= 1e-2:
		f.Settle = "more SYNs from both addresses"
		return f
	case servedBefore(in, usual.src) > 0:
		return blockedSince(in, f, usual, good)
	case everything:
		// A filter by source address looks the same from here, and so does a missing way back.
		f.Verdict, f.Level = ReversePathFilter, Suspected
		f.Summary = fmt.Sprintf("nothing from %s is answered on any port, while %s is: the way back to the first address is another or missing, and the target's reverse-path filter, "+
			"or a filter by source, drops what comes from it", usual.src, good.src)
		f.Remedy = fmt.Sprintf("on the target: `ip route get %s` must leave by the interface that these packets arrive on, else set net.ipv4.conf.<dev>.rp_filter=2 (loose) or mend the route "+
			"(IPReversePathFilter in /proc/net/netstat counts the drops, since 2.6.39); look for rules that match the source", usual.src)
	default:
		f.Verdict, f.Level = ACLDrop, Suspected
		f.Summary = fmt.Sprintf("this port drops everything from %s and answers %s: a filter by source address", usual.src, good.src)
		f.Remedy = "permit the source on the host, its security group, or the firewall before it"
		if p < 1e-4 {
			f.Level = Confirmed
		}
	}
	f.explains = allOf(in)
	return f
}

// servedBefore counts the SYNs from an address of ours that were answered in this round, on whatever port.
func servedBefore(in *Input, src netip.Addr) int {
	n := 0
	for a := range attempts(in) {
		if a.Flow.Src.Addr() == src && (a.Outcome == observe.Accepted || a.Outcome == observe.Refused) {
			n++
		}
	}
	return n
}

// blockedSince is that the usual address was answered until some moment of this round. What filters by source, or has no way back to it, did not answer before
// either; a guard that counts and then blocks did, and so does a way that breaks.
func blockedSince(in *Input, f Finding, usual, good *bySource) Finding {
	f.Wants, f.Level = nil, Inconclusive
	f.Summary = fmt.Sprintf("nothing from %s is answered any more, after %d of its SYNs were, while %s is: a guard that counts has blocked the first address since, or its way has broken",
		usual.src, servedBefore(in, usual.src), good.src)
	f.Settle = "time: a guard forgets, and blocks again after as many connections as before; the logs of what protects the target from floods and scans (fail2ban, an IPS, a scrubbing service)"
	return f
}
