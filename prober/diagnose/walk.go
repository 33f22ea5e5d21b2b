package diagnose

import (
	"fmt"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// trail is how far SYNs to one port came: routers answer a packet whose hop limit ends with them (RFC 792, RFC 4443 §3.3).
type trail struct {
	// hops are who answered for each hop limit.
	hops map[uint8]netip.Addr
	// end is the least hop limit at which the address itself answered the SYN; 0: it never did. resets: it answered with RST.
	end    uint8
	resets bool
	sent   int
}

// far is the largest hop limit that ran out on the way.
func (t *trail) far() uint8 {
	var far uint8
	for k := range t.hops {
		far = max(far, k)
	}
	return far
}

// readWalk reads the trails of the target's port and of the other port beside it.
func readWalk(in *Input) (target, other trail) {
	target, other = trail{hops: map[uint8]netip.Addr{}}, trail{hops: map[uint8]netip.Addr{}}
	dst, ok := destination(in)
	if !ok {
		return target, other
	}
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindWalk || !trusted(o) {
			continue
		}
		limit := map[string]uint8{}
		for k := range o.Arms {
			limit[o.Arms[k].Name] = o.Arms[k].Script.HopLimit
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			t := &other
			if a.Flow.Dst == dst {
				t = &target
			}
			t.add(a, limit[a.Arm])
		}
	}
	return target, other
}

func (t *trail) add(a *observe.Attempt, limit uint8) {
	t.sent++
	for k := range a.Answers {
		switch ans := &a.Answers[k]; ans.Kind {
		case observe.SYNACK, observe.RST:
			if t.end == 0 || limit < t.end {
				t.end = limit
			}
			t.resets = t.resets || ans.Kind == observe.RST
		case observe.ICMP:
			if timeExceeded(ans) {
				t.hops[limit] = ans.From
			}
		default:
		}
	}
}

// timeExceeded: the hop limit ran out (ICMP type 11 code 0, ICMPv6 type 3 code 0).
func timeExceeded(ans *observe.Answer) bool {
	if ans.From.Is6() {
		return ans.ICMPType == 3 && ans.ICMPCode == 0
	}
	return ans.ICMPType == 11 && ans.ICMPCode == 0
}

// destination is where the round's first burst went.
func destination(in *Input) (netip.AddrPort, bool) {
	for i := range in.Observations {
		if o := &in.Observations[i]; !aside(o.Kind) && len(o.Attempts) > 0 {
			return o.Attempts[0].Flow.Dst, true
		}
	}
	return netip.AddrPort{}, false
}

// reached is what a walk says of the place where SYNs to a silent port end.
type reached uint8

// notWalked: no walk, or one that the other port never answered, so that there is nothing to compare with. endsBefore: they end at a hop that
// the other port's SYNs pass. endsThere: they come as far as the address itself. passedOn: the address hands them on to somebody else.
const (
	notWalked reached = iota
	endsBefore
	endsThere
	passedOn
)

// place compares the two trails. A hop that answers the other port's SYN and is silent to this port's counts only where no later hop
// answered either: routers leave out answers at will. A hop that answers in the target's own name is a balancer that passes flows on.
func place(target, other *trail, dst netip.Addr) reached {
	if target.sent == 0 || other.end == 0 {
		return notWalked
	}
	switch far := target.far(); {
	case far >= other.end, far > 0 && target.hops[far] == dst:
		return passedOn
	case far < other.far():
		return endsBefore
	}
	return endsThere
}

// walked turns silence on one port, with another port of the same address answering and bare ACKs swallowed as well, into what the walk makes of
// it. f is the finding so far.
func walked(in *Input, f Finding, p float64) Finding {
	target, other := readWalk(in)
	dst, _ := destination(in)
	where := place(&target, &other, dst.Addr())
	if where == notWalked {
		f.Wants = []Want{{Kind: plan.KindWalk, Why: "how far do SYNs to this port come, and those to one that answers?", Most: 2}}
		return f
	}
	f.Wants = nil
	switch where {
	case passedOn:
		f.Summary += fmt.Sprintf("; the address passes them on: a SYN that lives for %d hops runs out behind it, and no member answers", target.far())
		f.Settle = "the real servers behind the address, probed directly"
		f.Evidence = append(f.Evidence, fmt.Sprintf("another port answers at %d hops; for this one %s says at %d hops that the limit ran out", other.end, target.hops[target.far()], target.far()))
		return f
	case endsBefore:
		f.Evidence = append(f.Evidence, fmt.Sprintf("SYNs to the other port are seen at %s (%d hops) and answered at %d hops; those to this port are last seen at %s",
			other.hops[other.far()], other.far(), other.end, lastHop(&target)))
	case endsThere:
		f.Evidence = append(f.Evidence, fmt.Sprintf("SYNs to both ports come equally far (%s); the address answers for the other one at %d hops and does not hand this one on", lastHop(&target), other.end))
	case notWalked:
	}
	return filtered(in, f, where, p)
}

func lastHop(t *trail) string {
	if k := t.far(); k > 0 {
		return fmt.Sprintf("%s, %d hops", t.hops[k], k)
	}
	return "this host's own segment, no router between"
}

// filtered names the filter. The address's own answers tell a host from a network device: an initial hop limit of 255 is a balancer's or
// router's, which may be silent for a service without members.
func filtered(in *Input, f Finding, where reached, p float64) Finding {
	f.Verdict, f.Level, f.P, f.Settle = ACLDrop, Inconclusive, p, ""
	switch {
	case where == endsThere && networkDevice(in):
		f.Settle = "whether the address is a balancer's whose members are all away: its configuration"
		return f
	case p < 1e-4:
		f.Level = Confirmed
	case p < 1e-2:
		f.Level = Suspected
	}
	f.Summary = fmt.Sprintf("something drops everything to this port, always: %s", f.Summary)
	f.Evidence = append(f.Evidence, "a listener that takes only signed segments drops all others without a word as well (TCP-MD5, RFC 2385; TCP-AO, RFC 5925): from outside it looks the same")
	f.Disproof = "any answer from this port; silence of the other port as well"
	f.Remedy = "look for the rule that drops this port: on the host itself (nft list ruleset, iptables-save), its hypervisor's security group, or the last " +
		"router that the evidence names"
	f.explains = allOf(in)
	return f
}

// networkDevice reports whether the RSTs of other ports started with a hop limit of 255.
func networkDevice(in *Input) bool {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindOther && o.Kind != plan.KindWalk {
			continue
		}
		for j := range o.Attempts {
			for k := range o.Attempts[j].Answers {
				if ans := &o.Attempts[j].Answers[k]; ans.Kind == observe.RST && initialTTL(ans.HopLimit) == 255 {
					return true
				}
			}
		}
	}
	return false
}
