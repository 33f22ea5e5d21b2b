package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Responder is one of those that answer at an address, told from the others by what its SYN-ACKs look like and by the timestamp clock on which they lie.
type Responder struct {
	// Name is "A" for that of most flows, "B" for the next.
	Name string
	// Clock counts from 1; Hz is its rate, 0 where more than one fits.
	Clock int
	Hz    uint32
	Stack
}

// String says it in words.
func (r *Responder) String() string {
	text := fmt.Sprintf("%s: clock %d", r.Name, r.Clock)
	if r.Hz > 0 {
		text += fmt.Sprintf(" (%d Hz)", r.Hz)
	}
	text += fmt.Sprintf(", %d flows (%s)", r.Flows, r.Share)
	if r.Median > 0 {
		text += fmt.Sprintf(", median round trip %s", r.Median.Round(time.Microsecond))
	}
	if r.Lost > 0 {
		text += fmt.Sprintf(", %d SYNs lost on %d flows", r.Lost, r.LossyFlows)
	}
	return text + "; " + r.Fingerprint
}

// Responders is what the timestamp clocks of the SYN-ACKs say of who answers at an address. IP identification says nothing more: Linux sends SYN-ACKs with
// DF and an ID of 0 (net/ipv4/ip_output.c ip_build_and_send_pkt, 6.18). Neither do sequence numbers: they are keyed hashes of the flow with a secret of
// the host (net/core/secure_seq.c), and so are SYN cookies (net/ipv4/syncookies.c), which only that host can verify.
type Responders struct {
	// List are those on several clocks, that of most flows first; none where fewer than two clocks are provable.
	List []Responder
	// Flows with timestamps, from one address of ours, were looked at; Clocks were found on which several of them lie; Unplaced lie on none.
	Flows, Clocks, Unplaced int
	// HostClocks of them tick at a rate that Linux has only where a clock is one per host: they are so many hosts.
	HostClocks int
	// Each is set where every one of many flows has an offset of its own, so that clocks cannot tell who answers.
	Each bool
	// Members is how many there are at least by looks and clocks of hosts together; 0 where fewer than two clocks are provable.
	Members int
	// Apart says who is slower than the rest, or loses more (α = 1e-4 over all of them).
	Apart []string
}

// eachOwn is how many flows with an offset each are taken for offsets per connection. Were there one clock per member, so many members would have to answer
// one flow each: with 32 members alike the chance is below 1e-5.
const eachOwn = 24

// answered is a flow of the source address of most flows, its SYN-ACK's look where it was a raw one, and its line, counted from 1.
type answered struct {
	a    *observe.Attempt
	look look
	raw  bool
	line int
}

// readResponders tells those that answer apart.
func readResponders(in *Input) Responders {
	list := readings(in)
	lines := clockLines(list)
	r := Responders{Flows: len(list), Clocks: len(lines), Unplaced: len(list)}
	on := map[*observe.Attempt]int{}
	for i := range lines {
		r.Unplaced -= len(lines[i].of)
		if lines[i].ofHost() {
			r.HostClocks++
		}
		for _, f := range lines[i].of {
			on[list[f].a] = i + 1
		}
	}
	r.Each = len(lines) == 0 && len(list) >= eachOwn
	if len(lines) < 2 {
		return r
	}
	all := placed(in, list, on)
	r.Members = countMembers(all, lines)
	classes := classify(all)
	for i := range classes {
		c := &classes[i]
		line := &lines[c.line-1]
		c.name = letter(i)
		r.List = append(r.List, Responder{Name: c.name, Clock: c.line, Hz: line.hz, Stack: c.stack.export()})
	}
	r.Apart = apart(stacksIn(classes))
	return r
}

// ofHost reports whether the clock ticks as only kernels do that have one clock for all connections: Linux ticks at 1,000 Hz from 4.13 on whatever its HZ
// is, and adds offsets from 4.10 on.
func (l *clockLine) ofHost() bool { return l.hz == 100 || l.hz == 250 || l.hz == 300 }

// letter names the i-th.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint(i + 1)
}

// readings are the TSvals of the first SYN-ACKs, each flow once, from the one of our addresses that has most of them.
func readings(in *Input) []reading {
	by := map[netip.Addr][]reading{}
	seen := map[wire.Flow]bool{}
	var most netip.Addr
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || o.Kind == plan.KindOther || o.Kind == plan.KindStray {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			ans := firstSYNACK(a)
			if ans == nil || !ans.HasTS || len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() || seen[a.Flow] {
				continue
			}
			s := reading{a: a, val: ans.TSval, sent: a.SYNs[0].At, got: ans.At}
			if a.RTT > 0 {
				s.sent = ans.At.Add(-a.RTT)
			}
			src := a.Flow.Src.Addr()
			seen[a.Flow], by[src] = true, append(by[src], s)
			if n := len(by[src]) - len(by[most]); n > 0 || n == 0 && src.Less(most) {
				most = src
			}
		}
	}
	list := by[most]
	slices.SortStableFunc(list, func(a, b reading) int { return a.got.Compare(b.got) })
	return list
}

// placed are the flows with their looks and lines. A kernel's SYN offers other options than ours, so its answer's look cannot be compared: it has that of its
// line, where there is one only.
func placed(in *Input, list []reading, on map[*observe.Attempt]int) []answered {
	looks := map[*observe.Attempt]look{}
	for _, m := range in.met() {
		looks[m.a] = m.look
	}
	var out []answered
	for i := range list {
		l, raw := looks[list[i].a]
		out = append(out, answered{list[i].a, l, raw, on[list[i].a]})
	}
	of := map[int][]look{}
	for i := range out {
		if f := &out[i]; f.raw && f.line > 0 && !slices.Contains(of[f.line], f.look) {
			of[f.line] = append(of[f.line], f.look)
		}
	}
	for i := range out {
		if f := &out[i]; !f.raw && len(of[f.line]) == 1 {
			f.look, f.raw = of[f.line][0], true
		}
	}
	return out
}

// countMembers is how many looks there are, each as often as hosts' clocks were seen with it. One flow of a kind is none.
func countMembers(all []answered, lines []clockLine) int {
	type kind struct {
		look look
		line int
	}
	n, kinds := map[look]int{}, map[kind]int{}
	for i := range all {
		f := &all[i]
		if !f.raw {
			continue
		}
		n[f.look]++
		if f.line > 0 && lines[f.line-1].ofHost() {
			kinds[kind{f.look, f.line}]++
		}
	}
	members := 0
	for l, flows := range n {
		if flows < 2 {
			continue
		}
		clocks := 0
		for k, flows := range kinds {
			if k.look == l && flows >= 2 {
				clocks++
			}
		}
		members += max(1, clocks)
	}
	return members
}

// class is the flows of one look on one line.
type class struct {
	stack
	line int
}

// classify groups the flows on lines, largest group first. The share of each is of all flows that lie on lines.
func classify(all []answered) []class {
	type kind struct {
		look look
		line int
	}
	by := map[kind]*class{}
	var on []*answered
	for i := range all {
		f := &all[i]
		if f.line == 0 {
			continue
		}
		k := kind{f.look, f.line}
		if by[k] == nil {
			by[k] = &class{stack{look: f.look}, f.line}
		}
		by[k].add(f.a)
		on = append(on, f)
	}
	var out []class
	for k, c := range by {
		for _, f := range on {
			c.flows = append(c.flows, draw{f.a.SYNs[0].At, f.look == k.look && f.line == k.line})
		}
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b class) int { return cmp.Or(b.n-a.n, a.line-b.line) })
	return out
}

func stacksIn(list []class) []stack {
	out := make([]stack, len(list))
	for i := range list {
		out[i] = list[i].stack
	}
	return out
}

// clockHow is on what the number of clocks rests.
func (r *Responders) clockHow() string {
	how := fmt.Sprintf("the timestamps of %d SYN-ACKs lie on them, each by chance with p < %g at most; ", r.Flows-r.Unplaced, lineChance)
	if r.Unplaced > 0 {
		how += fmt.Sprintf("those of %d more on none of them; ", r.Unplaced)
	}
	if r.HostClocks == r.Clocks {
		return how + "all tick at less than 1,000 Hz, as Linux before 4.13 does, which has one clock per host: so many hosts at least answer"
	}
	return how + "at 1,000 Hz, or where the rate is open, it may be Linux ≥ 4.12, where each pair of addresses has its own, or of addresses and ports: so many members answer " +
		"at least only where no balancer or SNAT on the way comes to them from several addresses or with few ports in turn"
}

// measureClocks is how many timestamp clocks answer at the address.
func (r *Responders) measureClocks() (Measurement, bool) {
	if r.Clocks < 2 {
		return Measurement{}, false
	}
	return Measurement{Name: AnsweringClocks, Value: r.Clocks, Unit: "clocks", How: r.clockHow()}, true
}

// Told says in words what clocks could not tell; empty where they did, or too few flows were seen.
func (r *Responders) Told() string {
	switch {
	case r.Each:
		return fmt.Sprintf("timestamp offsets are per connection (%d flows, no two on one clock): clocks cannot tell members apart", r.Flows)
	case r.Clocks == 1 && r.Unplaced == 0:
		return fmt.Sprintf("the timestamps of all %d SYN-ACKs lie on one clock", r.Flows)
	case r.Clocks == 1:
		return fmt.Sprintf("the timestamps of %d SYN-ACKs lie on one clock, %d more on none: too few flows of each, or offsets per connection", r.Flows-r.Unplaced, r.Unplaced)
	}
	return ""
}

// attribute adds to the causes that lose SYNs, or delay them, whose flows it was.
func (d *Diagnosis) attribute() {
	for i := range d.Causes {
		c := &d.Causes[i]
		if len(d.Responders.Apart) == 0 || !aboutLoss(c.Verdict) {
			continue
		}
		c.Evidence = append(slices.Clip(c.Evidence), "of those that answer here, told apart by their timestamp clocks:")
		c.Evidence = append(c.Evidence, d.Responders.Apart...)
	}
}

// aboutLoss reports whether a verdict is about SYNs of some flows that are lost or late, wherever.
func aboutLoss(v Verdict) bool {
	return slices.Contains([]Verdict{BlackholeBackend, BackendHeterogeneity, ECMPPathLoss, ForwardSYNLoss, SYNACKLoss, AcceptQueueOverflow, SYNQueueFullDrop, SYNRateLimited,
		SlowPathNotStall, SYNStallUnclassified}, v)
}
