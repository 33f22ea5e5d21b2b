package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// guise is how the SYNs of an arm look. All that have timestamps have TSvals drawn by lot, each its own.
type guise uint8

const (
	lookUsual guise = iota
	lookFar         // with the largest hop limit
	lookBare        // without timestamps
	allLooks
)

func guiseOf(s *plan.Script) guise {
	_, _, stamped := s.Options.Timestamps()
	switch {
	case !stamped:
		return lookBare
	case s.HopLimit == math.MaxUint8:
		return lookFar
	}
	return lookUsual
}

// looks is what SYNs to a silent port met that differ in one thing each from those that hosts send: none can be told from a filter by silence, but who answers them is.
type looks struct {
	bursts int
	arms   [allLooks]silences
}

func readLooks(in *Input) looks {
	var l looks
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindLook || !trusted(o) {
			continue
		}
		l.bursts++
		for j := range o.Attempts {
			a := &o.Attempts[j]
			arm := slices.IndexFunc(o.Arms, func(x plan.Arm) bool { return x.Name == a.Arm })
			if arm < 0 || a.Unseen > 0 || len(a.SYNs) == 0 {
				continue
			}
			s := &l.arms[guiseOf(&o.Arms[arm].Script)]
			switch a.Outcome {
			case observe.Accepted, observe.Reset, observe.Refused:
				s.add(false)
			case observe.TimedOut:
				s.add(true)
			case observe.OutcomeUnknown, observe.Unreachable, observe.NotSent, observe.LocalDrop:
			}
		}
	}
	return l
}

// differs is the one look that is answered where the usual one is not; that itself where there is none, or more than one.
func (l *looks) differs() guise {
	far, bare := l.arms[lookFar], l.arms[lookBare]
	if u := l.arms[lookUsual]; u.n == 0 || u.silent < u.n || far.silent < far.n && bare.silent < bare.n {
		return lookUsual
	}
	switch {
	case far.silent < far.n:
		return lookFar
	case bare.silent < bare.n:
		return lookBare
	}
	return lookUsual
}

// mostLooks is how many bursts of looks a difference is worth.
const mostLooks = 3

// looked adds to silence what SYNs of another look met, and names what their answers name.
func looked(in *Input, f Finding) Finding {
	want := Want{Kind: plan.KindLook, Why: "is a SYN answered that comes with TTL 255, or without timestamps?", Most: 1}
	l := readLooks(in)
	arm := l.differs()
	switch {
	case l.bursts == 0:
		f.Wants = append(f.Wants, want)
		return f
	case arm == lookUsual:
		if u := l.arms[lookUsual]; u.n > 0 && u.silent == u.n {
			f.Evidence = append(f.Evidence, fmt.Sprintf("SYNs of another look, in turn with usual ones: with TTL 255 %s, without timestamps %s", l.arms[lookFar], l.arms[lookBare]))
		}
		return f
	}
	usual, other := l.arms[lookUsual], l.arms[arm]
	f.P = fisher(usual, other)
	f.Verdict, f.Level = ACLDrop, firm(f.P, int(lookBare)*l.bursts)
	if f.Level < Suspected || 10*other.silent > other.n {
		want.Most = mostLooks
		f.Level, f.Wants, f.Settle = Inconclusive, []Want{want}, want.Why
		return f
	}
	f.Wants, f.Settle, f.explains = nil, "", allOf(in)
	f.Evidence = append(f.Evidence[:min(2, len(f.Evidence))], fmt.Sprintf("in an order drawn by lot: usual SYNs %s, these %s; p = %.2g (Fisher, one-sided)", usual, other, f.P))
	if arm == lookFar {
		return f.minimumTTL(usual, other)
	}
	return f.refusesTimestamps(usual, other)
}

func (s silences) String() string { return fmt.Sprintf("%d of %d silent", s.silent, s.n) }

func (f Finding) minimumTTL(usual, far silences) Finding {
	f.Summary = fmt.Sprintf("SYNs with a TTL of 255 are answered (%d of %d), those with 64, as hosts send them, are not (%d of %d): the listener, or a filter before it, wants a minimum TTL",
		far.n-far.silent, far.n, usual.n-usual.silent, usual.n)
	f.Evidence = append(f.Evidence, "a segment with less than its minimum TTL is dropped by a listener without a word, bare ACKs as well (IP_MINTTL, IPV6_MINHOPCOUNT: net/ipv4/tcp_ipv4.c tcp_v4_rcv, 6.18; "+
		"GTSM, RFC 5082 §3: BGP's ttl-security): who is not near by is no peer")
	f.Disproof = "a SYN with TTL 64 answered by this port; one with 255 silent"
	f.Remedy = "if this client is meant to connect, let it send TTL 255 (IP_TTL, IPV6_UNICAST_HOPS on its socket; net.ipv4.ip_default_ttl) or let the listener ask for less (IP_MINTTL, Linux ≥ 2.6.34; " +
		"IPV6_MINHOPCOUNT ≥ 2.6.35; ttl-security hops of a router; a rule on `ip ttl`, `ip6 hoplimit`)"
	return f
}

func (f Finding) refusesTimestamps(usual, bare silences) Finding {
	f.Summary = fmt.Sprintf("SYNs without timestamps are answered (%d of %d), those with them are not (%d of %d), whatever the TSval: a filter drops them for the option",
		bare.n-bare.silent, bare.n, usual.n-usual.silent, usual.n)
	f.Evidence = append(f.Evidence, "their TSvals were drawn by lot: a server that remembers one refuses half of the circle, a filter on bits of it some, and either serves the rest")
	f.Disproof = "a SYN with timestamps answered by this port; one without silent"
	f.Remedy = "find the device or rule that judges SYNs by their options (nft `tcp option timestamp`, iptables --tcp-option 8, protection from floods) and let these through; until then " +
		"net.ipv4.tcp_timestamps=0 here"
	return f
}
