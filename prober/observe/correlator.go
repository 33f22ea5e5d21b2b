package observe

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Bounds on what a hostile or broken peer can make one burst remember.
const (
	maxAnswers  = 64   // of one attempt
	maxSent     = 64   // of one attempt
	maxSYNs     = 128  // of one attempt: more than any ladder has (tcp_syn_retries is at most 127)
	maxNeighbor = 4096 // ARP and ND frames of one burst
)

// Correlator gathers what one burst's flows show, in any order between flows and in tap order within one, and judges it in
// Finish. It is owned by one goroutine at a time.
type Correlator struct {
	burst *plan.Burst
	obs   Observation
	state []flowState
	cut   *cut // nil: listening lasted as long as planned
}

// flowState is what only the correlator needs of an attempt.
type flowState struct {
	issKnown bool
	kernel   Outcome // as the kernel's errno says
	notSent  string
	dropped  bool // a refused SYN was dropped inside this host, by a filter or for want of room
	script   *plan.Script
	first    int // in Answers: what settled the attempt; −1: nothing
	before   int // SYNs that had left before it, or by the end
}

// EnoughClosed is why a burst ended before its own time where that was planned (plan.Burst.Enough).
const EnoughClosed = "enough connections had been closed"

// cut is how listening ended early.
type cut struct {
	timedOut bool
	why      string
}

// NewCorrelator prepares one attempt per shot of b.
func NewCorrelator(b *plan.Burst) *Correlator {
	c := &Correlator{burst: b, state: make([]flowState, len(b.Shots))}
	c.obs.Label, c.obs.Kind, c.obs.Arms = b.Label, b.Kind, b.Arms
	c.obs.Attempts = make([]Attempt, len(b.Shots))
	c.obs.Strays = map[string]int{}
	for i := range b.Pings {
		c.obs.Pings = append(c.obs.Pings, Ping{Dst: b.Pings[i].Dst})
	}
	for i := range b.Shots {
		arm := &b.Arms[b.Shots[i].Arm]
		c.obs.Attempts[i] = Attempt{Index: i, Arm: arm.Name, Via: arm.Via, Flow: b.Shots[i].Flow, Answered: -1}
		c.state[i] = flowState{script: &arm.Script, first: -1}
	}
	return c
}

// Bind gives attempt i the flow it really uses.
func (c *Correlator) Bind(i int, flow wire.Flow) { c.obs.Attempts[i].Flow = flow }

// ISS gives attempt i its initial send sequence number, where it is known before its SYN is seen.
func (c *Correlator) ISS(i int, iss wire.Seq) {
	c.obs.Attempts[i].ISS, c.state[i].issKnown = iss, true
}

// Handed records that a raw SYN of attempt i was given to the kernel.
func (c *Correlator) Handed(i int, at time.Time, tsval wire.TSval, hasTS bool) {
	a := &c.obs.Attempts[i]
	c.addSYN(a, SYN{Handed: at, TSval: tsval, HasTS: hasTS})
}

func (c *Correlator) addSYN(a *Attempt, s SYN) {
	if len(a.SYNs) >= maxSYNs {
		c.Stray("syns_over_limit")
		return
	}
	a.SYNs = append(a.SYNs, s)
}

// Refused records that the kernel did not take SYN number syn of raw attempt i. dropped says that it was lost inside this host (a
// filter, no room), so that another could pass; else nothing can be sent this way.
func (c *Correlator) Refused(i, syn int, why string, dropped bool) {
	a := &c.obs.Attempts[i]
	if syn < 0 || syn >= len(a.SYNs) {
		return
	}
	a.SYNs[syn].Refused = why
	c.state[i].dropped = c.state[i].dropped || dropped
}

// NotSent records that attempt i could not be started, and why.
func (c *Correlator) NotSent(i int, why string) { c.state[i].notSent = why }

// Cut records that listening ended before the burst's own time: what had no answer by then has timed out where the round's time was
// over, and is of unknown outcome where the caller gave up or the capture failed. The first Cut counts.
func (c *Correlator) Cut(timedOut bool, why string) {
	if c.cut == nil {
		c.cut = &cut{timedOut, why}
	}
}

// Outgoing takes a segment of attempt i that the tap saw leaving: its SYN (or what the script sends first in its place), or, of a raw
// shot, what follows.
func (c *Correlator) Outgoing(i int, at time.Time, ifindex int, nextHop wire.MAC, seg *wire.Segment) {
	a, first := &c.obs.Attempts[i], c.state[i].script.First
	if first == 0 {
		first = wire.SYN
	}
	const ecn = wire.ECE | wire.CWR | wire.AE
	if seg.Flags&^ecn != first&^ecn || first != wire.SYN && seg.Seq != a.ISS {
		c.follows(a, at, seg)
		return
	}
	if !c.state[i].issKnown {
		c.ISS(i, seg.Seq)
	}
	if seg.Seq != a.ISS {
		c.Stray("foreign_syn_on_our_port")
		return
	}
	val, _, hasTS := seg.Options.Timestamps()
	asks := seg.Flags&(wire.ECE|wire.CWR) == wire.ECE|wire.CWR
	if k := handed(a.SYNs, at, val, hasTS); k >= 0 {
		a.SYNs[k].At, a.SYNs[k].IfIndex, a.SYNs[k].NextHop, a.SYNs[k].ECN = at, ifindex, nextHop, asks
		return
	}
	if a.Via == plan.Raw {
		c.Stray("syn_never_handed")
		return
	}
	c.addSYN(a, SYN{At: at, TSval: val, HasTS: hasTS, ECN: asks, IfIndex: ifindex, NextHop: nextHop})
}

// follows records a segment of ours after the first SYN.
func (c *Correlator) follows(a *Attempt, at time.Time, seg *wire.Segment) {
	if a.Via != plan.Raw || seg.Flags&wire.SYN != 0 {
		return
	}
	if len(a.Sent) >= maxSent {
		c.Stray("sent_over_limit")
		return
	}
	val, _, hasTS := seg.Options.Timestamps()
	a.Sent = append(a.Sent, Sent{At: at, Flags: seg.Flags, Seq: seg.Seq, Ack: seg.Ack, TSval: val, HasTS: hasTS, Length: seg.Length})
}

// sendSlack is how long a SYN may take from our hands to the tap before it is taken for lost, where a later one looks alike.
const sendSlack = 50 * time.Millisecond

// handed finds which of the SYNs that we handed over is the one on the tap, or −1: the first of that TSval that has not been seen. Where
// several look alike (no timestamps, a clock that stands still) and that one is old, it is taken for lost and the newest of
// them for the one that left.
func handed(syns []SYN, at time.Time, val wire.TSval, hasTS bool) int {
	found := -1
	for k := range syns {
		s := &syns[k]
		if s.Handed.IsZero() || !s.At.IsZero() || s.HasTS != hasTS || hasTS && s.TSval != val {
			continue
		}
		if found >= 0 && s.Handed.After(at) {
			break
		}
		if found < 0 || at.Sub(syns[found].Handed) >= sendSlack {
			found = k
		}
	}
	return found
}

// Incoming takes a segment from the peer of attempt i.
func (c *Correlator) Incoming(i int, at time.Time, seg *wire.Segment) {
	val, ecr, hasTS := seg.Options.Timestamps()
	c.answer(i, Answer{
		At: at, Kind: c.classify(i, seg), Flags: seg.Flags, Seq: seg.Seq, Ack: seg.Ack, TSval: val, TSecr: ecr, HasTS: hasTS,
		Window: seg.Window, HopLimit: seg.HopLimit, Length: seg.Length, Options: seg.Options, Checksum: seg.Checksum,
	})
}

// maxDeliverers is more than the routers that one burst's answers come through.
const maxDeliverers = 16

// Delivered notes the link address that a segment from a peer came from.
func (c *Correlator) Delivered(by wire.MAC) {
	if by != (wire.MAC{}) && len(c.obs.Deliverers) < maxDeliverers && !slices.Contains(c.obs.Deliverers, by) {
		c.obs.Deliverers = append(c.obs.Deliverers, by)
	}
}

// ICMP takes an ICMP error that quotes a segment of attempt i.
func (c *Correlator) ICMP(i int, a Answer) {
	a.Kind = ICMP
	c.answer(i, a)
}

func (c *Correlator) answer(i int, ans Answer) {
	a := &c.obs.Attempts[i]
	if len(a.Answers) >= maxAnswers {
		c.Stray("answers_over_limit")
		return
	}
	a.Answers = append(a.Answers, ans)
}

func (c *Correlator) classify(i int, seg *wire.Segment) AnswerKind {
	switch {
	case seg.Flags&wire.RST != 0:
		return RST
	case seg.Flags.Has(wire.SYN | wire.ACK):
		if c.state[i].issKnown && seg.Ack != c.obs.Attempts[i].ISS+1 {
			c.Stray("syn_ack_not_ours")
			return SYNACKStray
		}
		return SYNACK
	case seg.Flags&wire.SYN != 0:
		c.Stray("syn_from_peer")
		return AnswerUnknown
	case seg.Flags&wire.FIN != 0:
		return FIN
	case seg.Length > 0:
		return Data
	}
	return BareACK
}

// Kernel takes the kernel's own view of attempt i.
func (c *Correlator) Kernel(i int, view KernelView, outcome Outcome, reason string) {
	a := &c.obs.Attempts[i]
	a.Kernel, a.Reason = &view, reason
	c.state[i].kernel = outcome
}

// Neighbor takes an ARP or ND frame.
func (c *Correlator) Neighbor(e NeighborEvent) {
	if len(c.obs.Neighbor) >= maxNeighbor {
		c.Stray("neighbor_frames_over_limit")
		return
	}
	c.obs.Neighbor = append(c.obs.Neighbor, e)
}

// Entry takes a state of a neighbour entry.
func (c *Correlator) Entry(e NeighborEntry) {
	if len(c.obs.Entries) >= maxNeighbor {
		c.Stray("neighbor_entries_over_limit")
		return
	}
	c.obs.Entries = append(c.obs.Entries, e)
}

// Stray counts a frame or segment that was passed over, by its named disposition.
func (c *Correlator) Stray(disposition string) { c.obs.Strays[disposition]++ }

// Observation gives access to the fields that the engine itself fills: times, counters, capture state.
func (c *Correlator) Observation() *Observation { return &c.obs }

// Finish judges every attempt and returns the observation. The correlator must not be used afterwards.
func (c *Correlator) Finish() Observation {
	for i := range c.obs.Attempts {
		c.judge(&c.obs.Attempts[i], &c.state[i])
	}
	c.judgeLateness()
	c.obs.wall()
	return c.obs
}
