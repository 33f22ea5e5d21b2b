package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// checkRemoteUnresolved: the far side asks for our address again and again, and no answer of ours reaches the wire in time; what it
// holds back for us comes late or never.
func checkRemoteUnresolved(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || in.explained[i] {
			continue
		}
		for _, p := range resolutions(o, false) {
			slow := p.to.IsZero() || p.to.Sub(p.from) >= time.Second
			late, n := lateWhile(o, p)
			if !slow || p.requests < 2 || late == 0 {
				continue
			}
			f := Finding{
				Verdict: RemoteARPUnresolved, Level: Confirmed, explains: []int{i},
				Summary: fmt.Sprintf("the far side cannot find us: it asked for %s %d times, and %d of %d connections waited for it", p.addr, p.requests, late, n),
				Evidence: []string{
					fmt.Sprintf("first request at %s, %d in all; %s", stamp(o, p.from), p.requests, answeredAt(p)),
					"every SYN left; no SYN-ACK can come before the far side has our MAC",
				},
				Disproof: "an answer of ours right after the first request; SYN-ACKs while it was open",
				Remedy: "find what keeps this host's ARP or ND answers from the far side: arp_ignore/arp_filter here, a filter, port security or dynamic ARP inspection on the switch, " +
					"two interfaces on one segment",
			}
			if together(o) >= 2 {
				f.Evidence = append(f.Evidence, fmt.Sprintf("%d connections got several SYN-ACKs at one instant: they had waited in one queue", together(o)))
			}
			return []Finding{f}
		}
	}
	return nil
}

func answeredAt(p pending) string {
	if p.to.IsZero() {
		return "never answered while we listened"
	}
	return fmt.Sprintf("answered after %s", p.to.Sub(p.from).Round(time.Millisecond))
}

// lateWhile counts the attempts whose SYN left while the question was open or just before it, and of these the ones that were not answered
// while it was.
func lateWhile(o *observe.Observation, p pending) (late, n int) {
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() || a.Flow.Src.Addr() != p.addr {
			continue
		}
		if !p.to.IsZero() && a.SYNs[0].At.After(p.to) {
			continue
		}
		n++
		ans := firstSYNACK(a)
		if ans == nil || ans.At.Sub(p.from) >= time.Second-50*time.Millisecond {
			late++
		}
	}
	return late, n
}

// together counts the attempts that got two SYN-ACKs within 2 ms.
func together(o *observe.Observation) int {
	n := 0
	for i := range o.Attempts {
		var last time.Time
		for k := range o.Attempts[i].Answers {
			ans := &o.Attempts[i].Answers[k]
			if ans.Kind != observe.SYNACK {
				continue
			}
			if !last.IsZero() && ans.At.Sub(last) < 2*time.Millisecond {
				n++
				break
			}
			last = ans.At
		}
	}
	return n
}

// claim is one address claimed by a MAC at a time.
type claim struct {
	mac wire.MAC
	at  time.Time
	req time.Time // our request before it, if any
	// told: it came of itself, not as a reply.
	told bool
}

// claims lists, per address that we asked for, who answered.
func claims(in *Input) map[netip.Addr][]claim {
	out := map[netip.Addr][]claim{}
	asked := map[netip.Addr]time.Time{}
	for i := range in.Observations {
		for j := range in.Observations[i].Neighbor {
			e := &in.Observations[i].Neighbor[j]
			switch {
			case e.Outgoing && e.Kind == observe.NeighborRequest:
				asked[e.Target] = e.At
			case !e.Outgoing && (e.Kind == observe.NeighborReply || e.Kind == observe.NeighborGratuitous):
				mac, err := wire.ParseMAC(e.SenderMAC)
				if err == nil {
					out[e.Sender] = append(out[e.Sender], claim{mac, e.At, asked[e.Sender], e.Kind == observe.NeighborGratuitous})
				}
			}
		}
	}
	return out
}

// checkSegment: what ARP and ND themselves say about the segment: one address claimed by two hosts, or an entry that outlived a failover.
func checkSegment(in *Input) []Finding {
	var out []Finding
	for addr, list := range claims(in) {
		if f, ok := duplicate(addr, list); ok {
			out = append(out, f)
			continue
		}
		if f, ok := flapping(in, addr, list); ok {
			out = append(out, f)
			continue
		}
		if f, ok := stale(in, addr, list); ok {
			out = append(out, f)
		}
	}
	sortFindings(out)
	return out
}

// duplicate: two MACs answered one and the same request.
func duplicate(addr netip.Addr, list []claim) (Finding, bool) {
	times := 0
	var macs []wire.MAC
	for i := range list {
		if !slices.Contains(macs, list[i].mac) {
			macs = append(macs, list[i].mac)
		}
		for j := range i {
			if !list[i].told && !list[j].told && list[i].mac != list[j].mac && !list[i].req.IsZero() && list[i].req.Equal(list[j].req) && list[i].at.Sub(list[i].req) < time.Second {
				times++
			}
		}
	}
	if times == 0 {
		return Finding{}, false
	}
	f := Finding{
		Verdict: DuplicateAddress, Level: Confirmed,
		Summary:  fmt.Sprintf("%s is claimed by %d hosts: %v answered the same request", addr, len(macs), macs),
		Evidence: []string{fmt.Sprintf("%d request(s) of ours drew answers from more than one MAC", times)},
		Disproof: "one answer to each request; a proxy that answers for others on purpose",
		Remedy:   "take the address off one of the hosts (RFC 5227); until then connections go to whichever answered last",
	}
	return f, true
}

// moved counts the SYNs that went to another MAC before a claim, how many of them found no answer until then, and the SYNs that went to the
// claiming MAC after it, with how many of their connections were accepted.
func moved(in *Input, c *claim) (old wire.MAC, before, lost, after, served int) {
	for i := range in.Observations {
		for j := range in.Observations[i].Attempts {
			a := &in.Observations[i].Attempts[j]
			ans := firstSYNACK(a)
			for s := range a.SYNs {
				syn := &a.SYNs[s]
				switch {
				case syn.At.IsZero() || syn.NextHop == (wire.MAC{}):
				case syn.At.Before(c.at) && syn.NextHop != c.mac:
					old = syn.NextHop
					before++
					if ans == nil || ans.At.After(c.at) {
						lost++
					}
				case syn.At.After(c.at) && syn.NextHop == c.mac:
					after++
					if a.Outcome == observe.Accepted {
						served++
					}
				}
			}
		}
	}
	return old, before, lost, after, served
}

// stale: SYNs went to one MAC without an answer, then another MAC answered for the address, and SYNs to it were served.
func stale(in *Input, addr netip.Addr, list []claim) (Finding, bool) {
	for k := range list {
		c := &list[k]
		if c.told {
			return Finding{}, false // announced: nobody had to find out
		}
		old, before, lost, after, served := moved(in, c)
		if before >= 3 && lost == before && served > 0 && served*10 >= after*9 {
			return Finding{
				Verdict: StaleNeighborAfterFailover, Level: Confirmed, explains: through(in, c.at),
				Summary: fmt.Sprintf("this host kept sending to %s for %s, which no longer answers; since %s answered for it, all is served", old, addr, c.mac),
				Evidence: []string{
					fmt.Sprintf("%d SYNs left for MAC %s, none was answered; %d SYNs left for MAC %s, %d on connections that were accepted", before, old, after, c.mac, served),
					"no announcement of the new owner was seen before we asked by ourselves",
				},
				Disproof: "an answer from the old MAC; a gratuitous ARP or unsolicited neighbour advertisement when the address moved",
				Remedy: "let the node that takes over announce the address (gratuitous ARP, RFC 5227 §3; unsolicited NA, RFC 4861 §7.2.6): keepalived's vrrp_garp_* settings; until " +
					"then every host is blind for up to delay_first_probe_time + 3 probes, about 8 s on Linux",
			}, true
		}
	}
	return Finding{}, false
}

// through lists the observations that began before t.
func through(in *Input, t time.Time) []int {
	var out []int
	for i := range in.Observations {
		if in.Observations[i].Started.Before(t) {
			out = append(out, i)
		}
	}
	return out
}
