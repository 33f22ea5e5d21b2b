package diagnose

import (
	"fmt"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Priming is what the caller permits of connections that the server closes first.
type Priming struct {
	// May prime at all; Anyway: even where what was seen suggests that others share the address or the server; Heal: wait for the server to
	// forget.
	May, Anyway, Heal bool
}

// PrimeRisk says why a prime could hurt others than ourselves, by what was seen before the first one; empty: nothing speaks against it.
func PrimeRisk(in *Input) string {
	before := *in
	before.Observations = beforePrime(in.Observations)
	for _, check := range []func(*Input) string{riskOfNAT, riskOfOthers, riskOfMemory, riskOfPool} {
		if why := check(&before); why != "" {
			return why
		}
	}
	return ""
}

// riskOfNAT: a private address that reaches a public one is translated on the way, and not for us alone (RFC 1918, RFC 6598, RFC 4193).
func riskOfNAT(in *Input) string {
	for a := range attempts(in) {
		src, dst := a.Flow.Src.Addr(), a.Flow.Dst.Addr()
		if translated(src) && dst.IsGlobalUnicast() && !translated(dst) {
			return fmt.Sprintf("%s is a private address and %s a public one, so a NAT stands between, and the server sees an address that others share", src, dst)
		}
	}
	return ""
}

// translated reports whether an address does not leave its network: private, or shared by a carrier's NAT.
func translated(a netip.Addr) bool {
	return a.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(a)
}

// riskOfOthers: this host sends connections of others to the target from the same address.
func riskOfOthers(in *Input) string {
	own := readOwnClock(in)
	if foreign, story := foreignClock(in, &own); foreign {
		return story[0]
	}
	return ""
}

// riskOfMemory: the server remembers a TSval from the address it sees us at already, and it is not this host's own.
func riskOfMemory(in *Input) string {
	q := readQuadrants(in)
	if q.bursts == 0 {
		return ""
	}
	all := sumArms(q.learn, q.test)
	k := q.refused()
	inside, outside := split(all, k)
	if inside.n == 0 || share(inside) < 0.9 || share(outside) > 0.2 || fisher(inside, outside) > 1e-3 {
		return ""
	}
	m, _ := in.memory()
	if s, ok := m.Best(); ok && s.Hi.Sub(s.Lo) < narrow {
		if v, _ := whose(in, &q, k); v == TWRecyclePAWSDrop {
			return ""
		}
		return fmt.Sprintf("the server already remembers a TSval near %d from the address it sees us at, and this host did not send it", s.Hi)
	}
	return "the server already refuses half of all TSvals from the address it sees us at: somebody's clock is remembered there, and a prime would not be needed"
}

// riskOfPool: several stacks answer at one address, so that it is no server's own.
func riskOfPool(in *Input) string {
	if f := checkFingerprints(in); len(f) > 0 {
		return f[0].Summary + ", so this is no server's own address"
	}
	closed, open := ttlsOf(in)
	if closed != 0 && open != 0 && closed != open {
		return fmt.Sprintf("a closed port of the address answers with hop limit %d and the open one with %d: not the same machine, so a balancer stands before the server", closed, open)
	}
	return ""
}

// ttlsOf are the hop limits of RSTs from ports that nobody serves and of the SYN-ACKs; 0 where there are none, or several.
func ttlsOf(in *Input) (closed, open uint8) {
	mixed := [2]bool{}
	for i := range in.Observations {
		o := &in.Observations[i]
		for j := range o.Attempts {
			for k := range o.Attempts[j].Answers {
				ans := &o.Attempts[j].Answers[k]
				at, n := &open, 1
				switch {
				case ans.Kind == observe.RST && o.Kind == plan.KindOther:
					at, n = &closed, 0
				case ans.Kind != observe.SYNACK:
					continue
				}
				mixed[n] = mixed[n] || *at != 0 && *at != ans.HopLimit
				*at = ans.HopLimit
			}
		}
	}
	if mixed[0] || mixed[1] {
		return 0, 0
	}
	return closed, open
}
