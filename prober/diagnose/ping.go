package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// pinged is what ICMP echo requests to the target's address met. It is contrast for silence and never more: hosts and filters may drop echo
// and pass TCP, and routers, balancers and filters may answer for a host that is not there.
type pinged struct {
	sent, answered int
	refused        string // why none was sent
	// limits are the hop limits of the answers, others who answered in their own name.
	limits []uint8
	others []netip.Addr
	rtts   []time.Duration
}

func readPings(in *Input) pinged {
	var p pinged
	for i := range in.Observations {
		if o := &in.Observations[i]; trusted(o) {
			for j := range o.Pings {
				p.add(&o.Pings[j])
			}
		}
	}
	return p
}

func (p *pinged) add(x *observe.Ping) {
	if !x.Sent() {
		p.refused = x.Refused
		return
	}
	p.sent++
	for k := range x.Replies {
		if from := x.Replies[k].From; from != x.Dst.WithZone("") && !slices.Contains(p.others, from) {
			p.others = append(p.others, from)
		}
	}
	a := x.Answer()
	if a == nil {
		return
	}
	p.answered++
	if !slices.Contains(p.limits, a.HopLimit) {
		p.limits = append(p.limits, a.HopLimit)
	}
	if rtt := x.RTT(); rtt > 0 {
		p.rtts = append(p.rtts, rtt)
	}
}

// pingedBeside adds to the finding on an address that is silent on all its ports what echo says of it, and asks for that. Where another port
// answers, the host is known to be up, and echo would add nothing.
func pingedBeside(in *Input, f Finding) Finding {
	p := readPings(in)
	f.Summary += "; other ports of the address are silent as well" + p.beside()
	f.Evidence = p.evidence(in)
	if in.bursts(plan.KindPing) == 0 {
		f.Wants = append(f.Wants, Want{Kind: plan.KindPing, Why: "does the address answer ICMP echo, where it answers no segment?", Most: 1})
	}
	return f
}

// beside ends the sentence on an address that is silent on all its ports.
func (p *pinged) beside() string {
	switch {
	case p.answered > 0:
		return fmt.Sprintf(", yet %d of %d ICMP echo requests to it were answered: something is up at this address and what is silent is TCP; a filter drops it, or "+
			"what answers echo is no host with these ports", p.answered, p.sent)
	case p.sent > 0:
		return ", and so is ICMP echo: the host is down, or the path or a filter before it swallows all (many hosts and filters drop echo, so that its silence adds little)"
	}
	return ": the host is down, or the path or a filter before it swallows all"
}

// evidence says what echo showed, and how far its answers can be compared with TCP's.
func (p *pinged) evidence(in *Input) []string {
	if p.sent == 0 {
		if p.refused == "" {
			return nil
		}
		return []string{"ICMP echo could not be asked: " + p.refused}
	}
	line := fmt.Sprintf("ICMP echo to the same address, beside SYNs to the port: %d of %d answered", p.answered, p.sent)
	if len(p.rtts) > 0 {
		slices.Sort(p.rtts)
		line += fmt.Sprintf(", median round trip %s", p.rtts[len(p.rtts)/2].Round(time.Microsecond))
	}
	if p.answered > 0 && p.answered < p.sent {
		line += " (a limit on echo replies, or loss)"
	}
	out := []string{line + ". Echo overrules nothing that TCP shows: it may be filtered, or answered by another device"}
	if other := elsewhere(p.limits, tcpLimits(in)); other != "" {
		out = append(out, other)
	}
	if len(p.others) > 0 {
		out = append(out, fmt.Sprintf("%v answered echo requests that were sent to the target, in its own name: it stands before the target or in its place", p.others))
	}
	return out
}

// tcpLimits are the hop limits of the target's own segments, whatever they were.
func tcpLimits(in *Input) []uint8 {
	var out []uint8
	for i := range in.Observations {
		o := &in.Observations[i]
		for j := range o.Attempts {
			for k := range o.Attempts[j].Answers {
				if ans := &o.Attempts[j].Answers[k]; ans.Kind != observe.ICMP && ans.HopLimit > 0 && !slices.Contains(out, ans.HopLimit) {
					out = append(out, ans.HopLimit)
				}
			}
		}
	}
	return out
}

// elsewhere compares how far away echo replies and TCP's segments come from, by what is left of initial hop limits of 64, 128 or 255. Another
// initial value over the same distance says nothing: some systems begin ICMP at 255 and TCP at 64.
func elsewhere(echo, tcp []uint8) string {
	for _, e := range echo {
		for _, t := range tcp {
			if initialTTL(e)-int(e) == initialTTL(t)-int(t) {
				return ""
			}
		}
	}
	if len(echo) == 0 || len(tcp) == 0 {
		return ""
	}
	return fmt.Sprintf("echo replies arrive with TTL %d, segments of TCP with %d, from another number of hops away: another device may answer echo than TCP, or the ways back differ",
		echo, tcp)
}

// readPinged is the fact whether the address answers echo.
func readPinged(in *Input) answer {
	p := readPings(in)
	switch {
	case p.answered > 0:
		return yes
	case p.sent > 0:
		return no
	}
	return unknown
}
