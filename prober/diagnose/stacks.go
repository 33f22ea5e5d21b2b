package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// stack is what was seen of the SYN-ACKs of one fingerprint.
type stack struct {
	look look
	name string // where the look alone is none
	n    int
	// lost are the SYNs that went without effect before an answer of this stack: whose they were meant to be is not known for flows that were
	// never answered.
	lost int
	// lossy are the flows that lost any of their SYNs so.
	lossy int
	rtts  []time.Duration
	// flows are all that were answered, those of this stack marked.
	flows []draw
}

// meeting is a raw flow and the look of whoever answered it.
type meeting struct {
	a    *observe.Attempt
	at   time.Time // of the answer
	look look
}

// meetings are the flows with one set of options whose answers can be compared.
func meetings(in *Input) []meeting {
	out := make([]meeting, 0, in.size())
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || o.Kind == plan.KindOther || o.Kind == plan.KindStray {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if ans := firstSYNACK(a); ans != nil && a.Via == plan.Raw && len(a.SYNs) > 0 && a.SYNs[0].HasTS {
				out = append(out, meeting{a, ans.At, fingerprint(ans)})
			}
		}
	}
	learned(out)
	return out
}

// learned takes for one look what differs in the MSS alone, where that changed with time and never went back: a server that is told of a smaller MTU
// on the way to one of our addresses announces a smaller MSS there from then on (net/ipv4/route.c ipv4_default_advmss, 6.18). Members that are dealt
// out, or hashed to, do not wait for each other.
func learned(list []meeting) {
	type peer struct {
		src  netip.Addr
		look look
	}
	by := map[peer][]*meeting{}
	for i := range list {
		k := peer{list[i].a.Flow.Src.Addr(), list[i].look}
		k.look.mss = 0
		by[k] = append(by[k], &list[i])
	}
	for _, flows := range by {
		slices.SortStableFunc(flows, func(a, b *meeting) int { return a.at.Compare(b.at) })
		seen := map[uint16]bool{}
		runs := 0
		for i, m := range flows {
			if i == 0 || flows[i-1].look.mss != m.look.mss {
				runs++
			}
			seen[m.look.mss] = true
		}
		if runs == len(seen) {
			for _, m := range flows {
				m.look.mss = flows[0].look.mss
			}
		}
	}
}

// readStacks groups the answers to raw SYNs with one set of options by fingerprint, in its order. One SYN-ACK of a kind is no stack yet.
func readStacks(in *Input) []stack {
	seen := map[look]*stack{}
	all := in.met()
	for i := range all {
		l := all[i].look
		if seen[l] == nil {
			seen[l] = &stack{look: l}
		}
		seen[l].add(all[i].a)
	}
	var out []stack
	for _, s := range seen {
		if s.n < 2 {
			continue
		}
		for i := range all {
			s.flows = append(s.flows, draw{all[i].a.SYNs[0].At, all[i].look == s.look})
		}
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b stack) int { return compareStacks(&a, &b) })
	return out
}

func compareStacks(a, b *stack) int {
	if a.n != b.n {
		return b.n - a.n
	}
	if a.look.String() < b.look.String() {
		return -1
	}
	return 1
}

func (s *stack) add(a *observe.Attempt) {
	s.n++
	s.lost += a.Lost
	if a.Lost > 0 {
		s.lossy++
	}
	if a.RTT > 0 {
		s.rtts = append(s.rtts, a.RTT)
	}
}

func (s *stack) String() string {
	text := fmt.Sprintf("%d x %s: %s", s.n, s.look, flowShare(s.flows))
	if len(s.rtts) > 0 {
		slices.Sort(s.rtts)
		text += fmt.Sprintf(", median round trip %s", s.rtts[len(s.rtts)/2].Round(time.Microsecond))
	}
	if s.lost > 0 {
		text += fmt.Sprintf(", %d SYNs without effect before", s.lost)
	}
	return text
}

// Stack is one of several stacks that answer at an address, told apart by what their SYN-ACKs look like.
type Stack struct {
	// Fingerprint is option kinds, MSS, window scale and initial TTL in words.
	Fingerprint string
	// Flows are those that it answered first; Share is what part of all flows that makes.
	Flows int
	Share FlowShare
	// Lost are the SYNs without effect before its first answers, on so many flows: LossyFlows. Flows that were never answered are nobody's.
	Lost, LossyFlows int
	// Least, Median and Most are its round trips, 0 where none was timed.
	Least, Median, Most time.Duration
}

// stacksOf are the stacks of a round where several answer.
func stacksOf(in *Input) []Stack {
	list := in.stacks()
	if len(list) < 2 {
		return nil
	}
	out := make([]Stack, 0, len(list))
	for i := range list {
		out = append(out, list[i].export())
	}
	return out
}

func (s *stack) export() Stack {
	x := Stack{Fingerprint: s.look.String(), Flows: s.n, Share: flowPart(s.flows), Lost: s.lost, LossyFlows: s.lossy}
	if n := len(s.rtts); n > 0 {
		slices.Sort(s.rtts)
		x.Least, x.Median, x.Most = s.rtts[0], s.rtts[n/2], s.rtts[n-1]
	}
	return x
}

// called is how sentences call it.
func (s *stack) called() string {
	if s.name != "" {
		return s.name
	}
	return s.look.String()
}

// checkFingerprints: one address answers as several stacks.
func checkFingerprints(in *Input) []Finding {
	stacks := in.stacks()
	if len(stacks) < 2 {
		return nil
	}
	f := Finding{
		Verdict: BackendHeterogeneity, Level: Confirmed,
		Summary:  fmt.Sprintf("one address answers as %d different stacks: its members are not alike, or not the ways to them", len(stacks)),
		Evidence: append(apart(stacks), "option kinds, MSS, window scale and TTL of the SYN-ACKs:"),
		Disproof: "one fingerprint over as many flows; members alike where each is asked directly: then a device on one of several ways edits TCP options",
		Remedy:   "align the members' kernels and TCP settings, or know the difference: what stalls on one member only looks intermittent at the VIP",
	}
	for i := range stacks {
		f.Evidence = append(f.Evidence, stacks[i].String())
	}
	return []Finding{f}
}

// measureMembers is how many members a balancer has at least: as many as stacks that differ, each as often as hosts' clocks were seen with it. Members
// that are alike count as one, so there is no upper bound, and nothing is said where only one is seen.
func measureMembers(in *Input, r *Responders) (Measurement, bool) {
	stacks := in.stacks()
	n := max(len(stacks), r.Members)
	if n < 2 {
		return Measurement{}, false
	}
	m := Measurement{Name: PoolMembers, Value: n, Unit: "members"}
	if r.Members > len(stacks) {
		m.How = fmt.Sprintf("told apart by option kinds, MSS, window scale and initial TTL of the SYN-ACKs (%d kinds) and by the timestamp clocks on which they lie (%d of hosts); "+
			"members that are alike in both count as one. A device that answers some SYNs for the others would count too", max(1, len(stacks)), r.HostClocks)
		return m, true
	}
	m.How = fmt.Sprintf("so many stacks answer at this address, by option kinds, MSS, window scale and initial TTL of %d SYN-ACKs or more each; members that are alike "+
		"count as one. A device that answers some SYNs for the others would count too", stacks[len(stacks)-1].n)
	return m, true
}
