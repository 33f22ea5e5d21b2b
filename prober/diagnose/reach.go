package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// checkICMP: routers or the target itself say why they refuse.
func checkICMP(in *Input) []Finding {
	type complaint struct{ name, from string }
	seen := map[complaint]int{}
	n := 0
	var explains []int
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind == plan.KindWalk || o.Kind == plan.KindOther || o.Kind == plan.KindStray {
			continue
		}
		hit := false
		for j := range o.Attempts {
			a := &o.Attempts[j]
			n++
			for k := range a.Answers {
				if ans := &a.Answers[k]; ans.Kind == observe.ICMP && a.Outcome == observe.Unreachable {
					seen[complaint{ans.ICMPName, ans.From.String()}]++
					hit = true
					break
				}
			}
		}
		if hit {
			explains = append(explains, i)
		}
	}
	var out []Finding
	for c, hits := range seen {
		f := Finding{Verdict: ACLDrop, Level: Inconclusive, explains: explains,
			Summary:  fmt.Sprintf("%d of %d SYNs were refused with ICMP %s by %s", hits, n, c.name, c.from),
			Evidence: []string{fmt.Sprintf("the ICMP errors quote our own SYNs; they come from %s", c.from)},
			Disproof: "a SYN-ACK on a flow like these",
			Settle:   "what the sender of the ICMP error is configured to refuse",
		}
		if strings.Contains(c.name, "prohibited") {
			f.Level = Confirmed
			f.Remedy = fmt.Sprintf("a filter at %s refuses this flow by policy: permit it there", c.from)
			if overALimit(in, byICMP) {
				f.Level, f.Settle = Inconclusive, "whether it refuses by rate: of a burst the first SYNs pass, and a filter by policy refuses all alike"
			}
		}
		if c.name == "ttl_exceeded" {
			f.Summary = fmt.Sprintf("%d of %d SYNs ran out of hops at %s", hits, n, c.from)
			f.Settle = "where they go: two routers that send them to one another, or a device that sets the hop limit (trace a flow like these)"
		}
		out = append(out, f)
	}
	sortFindings(out)
	return out
}

// sortFindings orders findings firmest first, and alike ones by their text, so that the same observations give the same report.
func sortFindings(list []Finding) {
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(int(b.Level)-int(a.Level), cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.Summary, b.Summary))
	})
}

// checkSilence: every SYN left and nothing came back at all. What swallows them cannot be told from silence alone; other ports and bare
// ACKs narrow it.
func checkSilence(in *Input) []Finding {
	fs := fates(in, append(sweepKinds(), plan.KindConnect)...)
	t := sum(fs)
	if t.flows == 0 || t.dead == 0 {
		return nil
	}
	head, from := headThenSilence(in)
	if t.dead < t.flows && !head {
		return nil
	}
	f := Finding{
		Verdict: SYNStallUnclassified, Level: Inconclusive,
		Summary: fmt.Sprintf("none of %d SYNs on %d flows had any answer", t.syns, t.dead),
		Wants: []Want{{Kind: plan.KindOther, Why: "does another port of the same address answer?", Most: 1},
			{Kind: plan.KindStray, Why: "does a stack behind the port answer a bare ACK?", Most: 1},
			{Kind: plan.KindResolve, Why: "who answers for the next hop now?", Most: 1}},
		Settle: "a second vantage point, a real server behind the VIP, or the target's own counters",
	}
	other := sum(fates(in, plan.KindOther))
	stray, strayResets := strays(in)
	if other.flows == 0 || stray == 0 {
		return []Finding{f}
	}
	if in.bursts(plan.KindResolve) >= 1 {
		f.Wants = nil
	}
	if other.dead == other.flows && strayResets == 0 {
		return []Finding{sourced(in, pingedBeside(in, f))}
	}
	f.Evidence = []string{
		fmt.Sprintf("another port of the address: %d of %d SYNs answered", other.flows-other.dead, other.flows),
		fmt.Sprintf("bare ACKs to this port: %d of %d drew an RST", strayResets, stray),
	}
	if head {
		return []Finding{silentSince(in, f, from, other, stray, strayResets)}
	}
	if strayResets > 0 {
		return []Finding{looked(in, stackOnly(in, f))}
	}
	// The chance that the same silence fell on this port alone, were ports treated alike.
	p := fisher(silences{t.dead + stray - strayResets, t.dead + stray}, silences{other.dead, other.flows})
	f.Summary += "; another port answers, this one gives no sign of a stack"
	return []Finding{looked(in, walked(in, f, p))}
}

// stackAlive is what bare ACKs answered by RST say of a port that answers no SYN.
const stackAlive = "; a TCP stack is there and answers bare ACKs, but no SYN: " + stackSilent

// stackSilent are the causes that are one silence from outside. Linux drops a SYN without a word where the accept queue is full, and where the queue of
// requests is and no cookie may be sent (net/ipv4/tcp_input.c tcp_conn_request, 4.4 … 6.18); a bare ACK passes both and draws the listener's RST. What
// lets a SYN past a full queue of requests, but not past a full accept queue, is a TIME_WAIT of the same flow or a route with known metrics, and the
// prober has neither towards a server that it never reached.
const stackSilent = "a full accept queue, a full SYN queue without cookies, or a filter for SYNs"

// stackOnly is silence all round from a port whose stack is alive. It stays open, unless a SYN comes through later.
func stackOnly(in *Input, f Finding) Finding {
	f.Summary += stackAlive
	if in.bursts(plan.KindPaced) == 0 {
		f.Wants = []Want{{Kind: plan.KindPaced, Why: "does a SYN come through now and then?", Most: 1}}
		return f
	}
	f.Wants, f.Level = nil, Suspected
	f.Evidence = append(f.Evidence, fmt.Sprintf("silent for %s, whatever the TSval and the pace; what fits, and cannot be told apart from one vantage once it is so: %s",
		silentTime(in).Round(100*time.Millisecond), stackSilent))
	f.Settle = "the server's own counters, read while it is probed (--testimony); another service of the same host that fails with it; the moment at which the silence ends"
	f.Disproof = "a SYN answered on this port; bare ACKs swallowed as well"
	f.Remedy = "on the server: `ss -ltn` (Recv-Q above Send-Q: the accept queue is full, the application does not accept); `nstat -az TcpExtListenOverflows TcpExtListenDrops`: " +
		"both rise, the same; ListenDrops alone, the queue of requests is full and cookies are off (net.ipv4.tcp_syncookies=1); neither, look for a rule that drops SYNs"
	return f
}

// silentSince judges a port that answered the round's first SYNs, accepted of them, and none since.
func silentSince(in *Input, f Finding, accepted int, other tally, stray, strayResets int) Finding {
	switch {
	case !silentAllRound(in):
		f.Settle = "whether SYNs of every TSval are dropped"
		f.Wants = append(f.Wants, Want{Kind: plan.KindQuadrants, Why: f.Settle, Most: in.bursts(plan.KindQuadrants) + 1})
	case headElsewhere(in):
		f.Summary += "; on other ports, too, the first of a burst are answered and later ones not"
		f.Settle = "what runs out on the way: room for flows, or for source ports"
	case oneBit(in):
		f.Summary += stackAlive
		f.Settle = "SYNs whose TSvals differ in more: one bit of the TSval parts those that were answered from those that were not"
	case 2*other.dead < other.flows && strayResets >= 3*stray/4 && sameHops(in):
		full, ok := fullByACKs(f, in, accepted)
		if ok && full.Level >= Confirmed {
			return full
		}
		if most := cookieLooks(ok); len(Thirds(in.Observations)) > 0 && in.bursts(plan.KindStray) < most {
			f.Summary += stackAlive
			f.Settle = "whether the listener takes back the SYN cookies that it sent"
			f.Wants = []Want{{Kind: plan.KindStray, Why: "does the listener take back the SYN cookies that it sent?", Most: most}}
			return f
		}
		if silentTime(in) < noRefill {
			f.Summary += stackAlive
			f.Settle = "time: a bucket that refills slowly lets one SYN through at last"
			f.Wants = append(f.Wants, Want{Kind: plan.KindPaced, Why: f.Settle, Most: 3})
			return f
		}
		return fullOrCounted(f, in, accepted)
	case strayResets > 0:
		f.Summary += stackAlive
	default:
		f.Summary += "; another port answers, this one no longer gives a sign of a stack"
	}
	return f
}

// oneBit reports whether some bit of the TSval parts all SYNs to the service that were answered from all that were not: then who reads it drops them, as well as
// who is full.
func oneBit(in *Input) bool {
	ones, zeros := [2]wire.TSval{}, [2]wire.TSval{} // bits that all of one fate have set, and unset
	ones[0], ones[1], zeros[0], zeros[1] = ^wire.TSval(0), ^wire.TSval(0), ^wire.TSval(0), ^wire.TSval(0)
	n := [2]int{}
	for a := range trustedAttempts(in) {
		for k := range a.SYNs {
			if !a.SYNs[k].HasTS {
				return false
			}
			fate := 0
			if len(a.Answers) > 0 {
				fate = 1
			}
			ones[fate] &= a.SYNs[k].TSval
			zeros[fate] &= ^a.SYNs[k].TSval
			n[fate]++
		}
	}
	return n[0] > 0 && n[1] > 0 && (ones[0]&zeros[1] != 0 || zeros[0]&ones[1] != 0)
}

// noRefill is how long SYNs must have been silent to exclude a limit of so many a second: one of one in five seconds is no limit for a service.
const noRefill = 5 * time.Second

// silentTime is the time from the first SYN to the service that nothing ever answered to the last.
func silentTime(in *Input) time.Duration {
	var first, last time.Time
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) == 0 || len(a.Answers) > 0 {
				continue
			}
			if at := a.SYNs[0].At; first.IsZero() || at.Before(first) {
				first = at
			}
			if at := lastSYN(a); at.After(last) {
				last = at
			}
		}
	}
	return last.Sub(first)
}

// headThenSilence: the round began with connections that were accepted, in order of their SYNs, and from some SYN on nothing was: it
// returns how many were.
func headThenSilence(in *Input) (bool, int) {
	accepted, ended := 0, false
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind == plan.KindOther || o.Kind == plan.KindStray || o.Kind == plan.KindParity || o.Kind == plan.KindSource || !trusted(o) {
			continue
		}
		for _, a := range firstSYNOrder(o) {
			switch {
			case a.Prompt():
				if ended {
					return false, 0
				}
				accepted++
			case a.Outcome == observe.Accepted, a.Outcome == observe.Refused, a.Outcome == observe.Unreachable:
				return false, 0
			default:
				ended = true
			}
		}
	}
	return ended && accepted > 0, accepted
}

// silentAllRound reports whether a whole burst of TSvals from all quadrants of the circle had no answer: then no remembered TSval refuses them.
func silentAllRound(in *Input) bool {
	for i := range in.Observations {
		o := &in.Observations[i]
		answered := func(a observe.Attempt) bool { return a.Outcome != observe.TimedOut || len(a.Answers) > 0 }
		if o.Kind == plan.KindQuadrants && trusted(o) && len(o.Attempts) >= 8 && !slices.ContainsFunc(o.Attempts, answered) {
			return true
		}
	}
	return false
}

// sameHops reports whether the RSTs to bare ACKs came as far as the SYN-ACKs did: what answers a bare ACK for a listener is then the listener's
// own stack and no device before it.
func sameHops(in *Input) bool {
	syn, rst := map[uint8]bool{}, map[uint8]bool{}
	for i := range in.Observations {
		o := &in.Observations[i]
		for j := range o.Attempts {
			for k := range o.Attempts[j].Answers {
				ans := &o.Attempts[j].Answers[k]
				switch {
				case ans.Kind == observe.SYNACK:
					syn[ans.HopLimit] = true
				case ans.Kind == observe.RST && o.Kind == plan.KindStray:
					rst[ans.HopLimit] = true
				}
			}
		}
	}
	for ttl := range rst {
		if !syn[ttl] {
			return false
		}
	}
	return len(rst) > 0
}

// strays counts bare ACKs sent on flows that were never used, and the RSTs they drew.
func strays(in *Input) (sent, resets int) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindStray || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			if o.Attempts[j].Arm != o.Arms[strayFresh].Name {
				continue
			}
			sent++
			for k := range o.Attempts[j].Answers {
				if o.Attempts[j].Answers[k].Kind == observe.RST {
					resets++
					break
				}
			}
		}
	}
	return sent, resets
}
