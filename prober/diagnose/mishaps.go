package diagnose

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// mishaps are the attempts at the target that no finding accounts for, and what became of those that went wrong.
type mishaps struct {
	n, failed int
	stalls    []*observe.Attempt
	// silent, reset and closed are those of the failed that had no answer, that were accepted and then reset, and that an RST to the SYN alone met.
	silent, reset int
	// foreign are those of the failed that drew a SYN-ACK with an acknowledgment that is none of ours.
	foreign int
	// told are those of the failed that an ICMP error ended, by its name and sender.
	told map[string]int
	// first are the flows with a repeat whose first SYN alone had no effect, more those that lost more or were not answered at all, once those that were
	// answered at the first.
	first, more, once int
}

func readMishaps(in *Input) mishaps {
	m := mishaps{told: map[string]int{}}
	for a := range unexplained(in) {
		if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown {
			continue
		}
		m.n++
		m.repeats(a)
		switch {
		case a.Stalled():
			m.stalls = append(m.stalls, a)
		case !connected(a) && a.Outcome != observe.Refused:
			m.failed++
			m.fail(a)
		}
	}
	return m
}

func (m *mishaps) fail(a *observe.Attempt) {
	if a.Outcome == observe.Reset {
		m.reset++
		return
	}
	for k := range a.Answers {
		if a.Answers[k].Kind == observe.SYNACKStray {
			m.foreign++
			return
		}
		if ans := &a.Answers[k]; ans.Kind == observe.ICMP {
			m.told[fmt.Sprintf("ICMP %s from %s", ans.ICMPName, ans.From)]++
			return
		}
	}
	if len(a.Answers) == 0 {
		m.silent++
	}
}

// repeats counts what became of first SYNs and of their repeats, where there were any.
func (m *mishaps) repeats(a *observe.Attempt) {
	switch f, ok := readFate(a); {
	case !ok || len(a.SYNs) == 0 || a.Late == observe.LateSlow:
	case f.answered && f.lost() == 0:
		m.once++
	case f.answered && a.Answered == 1 && a.Retransmissions == 1 && f.back == 0:
		m.first++
	case len(a.SYNs) > 1:
		m.more++
	}
}

// how says what became of the failed, where silence is not all of it.
func (m *mishaps) how() string {
	if m.reset == 0 && len(m.told) == 0 {
		return ""
	}
	var parts []string
	add := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.told)) {
		add(m.told[name], "with "+name)
	}
	add(m.reset, "accepted and then reset")
	add(m.silent, "without an answer")
	return " (" + strings.Join(parts, ", ") + ")"
}

// toldBy counts the failed that an ICMP error of a name ended.
func (m *mishaps) toldBy(name string) int {
	n := 0
	for what, k := range m.told {
		if strings.HasPrefix(what, "ICMP "+name+" ") {
			n += k
		}
	}
	return n
}

// enoughFirst is how many flows must lose their first SYN alone, and none less or more, to speak of a rule.
const enoughFirst = 8

// tells says what some of this looks like, a sentence each.
func (m *mishaps) tells() []string {
	var out []string
	if m.reset > 0 {
		out = append(out, "a connection that is accepted and then reset reached a listener: an application or a proxy turned it away (a limit on connections or their rate, an access "+
			"list, no member behind it); ask its log")
	}
	if m.foreign > 0 {
		out = append(out, fmt.Sprintf("%d flows drew SYN-ACKs that acknowledge a number which was never sent: a device translates sequence numbers one way only (a firewall that draws them anew, and "+
			"answers that go past it), or the answer is another connection's; this host resets them", m.foreign))
	}
	if own := m.toldBy("port_unreachable"); own > 0 {
		out = append(out, "ICMP port unreachable comes from the host that has no such port, or from a filter that rejects in its name; hosts send few of these (Linux one a second to each "+
			"sender, net.ipv4.icmp_ratelimit), so that silence beside them is the same")
	} else if len(m.told) > 0 {
		out = append(out, "ICMP unreachable comes from a router that has no way to the host or finds no neighbour there; routers send few of these (Linux one a second to each "+
			"sender, net.ipv4.icmp_ratelimit), so that silence beside them is the same")
	}
	if m.first >= enoughFirst && m.once == 0 && m.more == 0 {
		out = append(out, fmt.Sprintf("of each of %d flows the first SYN had no effect and its repeat was answered: a device that drops the first SYN of every flow on purpose, to see "+
			"whether it is repeated (protection from floods), or that sets the flow up with it", m.first))
	}
	return out
}

// turnedAway counts the SYNs to the target that an ICMP error answered, and says who sent most of these. Linux sends one a second to each host, six at once
// (net.ipv4.icmp_ratelimit, inet_peer_xrlim_allow in net/ipv4/inetpeer.c, 2.6.32 to 6.18), and routers are no more talkative.
func turnedAway(in *Input) (n int, from netip.Addr) {
	by := map[netip.Addr]int{}
	for a := range attempts(in) {
		if a.Outcome != observe.Unreachable {
			continue
		}
		if k := slices.IndexFunc(a.Answers, func(ans observe.Answer) bool { return ans.Kind == observe.ICMP && ans.Ends() }); k >= 0 {
			n++
			by[a.Answers[k].From]++
		}
	}
	for _, who := range slices.SortedFunc(maps.Keys(by), netip.Addr.Compare) {
		if by[who] > by[from] {
			from = who
		}
	}
	return n, from
}
