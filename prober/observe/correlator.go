package observe

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Bounds on what a hostile or broken peer can make one burst remember.
const (
	maxAnswers  = 64   // of one attempt
	maxSYNs     = 16   // of one attempt
	maxNeighbor = 4096 // ARP and ND frames of one burst
)

// Correlator gathers what one burst's flows show, in any order between flows and in tap order within one, and judges it in
// Finish. It is owned by one goroutine at a time.
type Correlator struct {
	burst *plan.Burst
	obs   Observation
	state []flowState
}

// flowState is what only the correlator needs of an attempt.
type flowState struct {
	issKnown bool
	kernel   Outcome // as the kernel's errno says
	notSent  string
	reaction plan.Reaction
}

// NewCorrelator prepares one attempt per shot of b.
func NewCorrelator(b *plan.Burst) *Correlator {
	c := &Correlator{burst: b, state: make([]flowState, len(b.Shots))}
	c.obs.Label, c.obs.Kind, c.obs.Arms = b.Label, b.Kind, b.Arms
	c.obs.Attempts = make([]Attempt, len(b.Shots))
	c.obs.Strays = map[string]int{}
	for i := range b.Shots {
		arm := &b.Arms[b.Shots[i].Arm]
		c.obs.Attempts[i] = Attempt{Index: i, Arm: arm.Name, Via: arm.Via, Flow: b.Shots[i].Flow, Answered: -1}
		c.state[i].reaction = arm.Script.OnSYNACK
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
	if len(a.SYNs) < maxSYNs {
		a.SYNs = append(a.SYNs, SYN{Handed: at, TSval: tsval, HasTS: hasTS})
	}
}

// NotSent records that attempt i could not be started, and why.
func (c *Correlator) NotSent(i int, why string) { c.state[i].notSent = why }

// Outgoing takes a segment of attempt i that the tap saw leaving.
func (c *Correlator) Outgoing(i int, at time.Time, ifindex int, nextHop wire.MAC, seg *wire.Segment) {
	if seg.Flags&(wire.SYN|wire.ACK) != wire.SYN {
		return
	}
	a := &c.obs.Attempts[i]
	if !c.state[i].issKnown {
		c.ISS(i, seg.Seq)
	}
	if seg.Seq != a.ISS {
		c.Stray("foreign_syn_on_our_port")
		return
	}
	val, _, hasTS := seg.Options.Timestamps()
	if a.Via == plan.Raw {
		for k := range a.SYNs {
			if a.SYNs[k].At.IsZero() && a.SYNs[k].TSval == val {
				a.SYNs[k].At, a.SYNs[k].IfIndex, a.SYNs[k].NextHop = at, ifindex, nextHop
				return
			}
		}
	}
	if len(a.SYNs) < maxSYNs {
		a.SYNs = append(a.SYNs, SYN{At: at, TSval: val, HasTS: hasTS, IfIndex: ifindex, NextHop: nextHop})
	}
}

// Incoming takes a segment from the peer of attempt i.
func (c *Correlator) Incoming(i int, at time.Time, seg *wire.Segment) {
	val, ecr, hasTS := seg.Options.Timestamps()
	c.answer(i, Answer{
		At: at, Kind: c.classify(i, seg), Flags: seg.Flags, Seq: seg.Seq, Ack: seg.Ack, TSval: val, TSecr: ecr, HasTS: hasTS,
		Window: seg.Window, HopLimit: seg.HopLimit, Length: seg.Length, Options: seg.Options, Checksum: seg.Checksum,
	})
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

// Stray counts a frame or segment that was passed over, by its named disposition.
func (c *Correlator) Stray(disposition string) { c.obs.Strays[disposition]++ }

// Observation gives access to the fields that the engine itself fills: times, counters, capture state.
func (c *Correlator) Observation() *Observation { return &c.obs }

// Finish judges every attempt and returns the observation. The correlator must not be used afterwards.
func (c *Correlator) Finish() Observation {
	for i := range c.obs.Attempts {
		c.judge(&c.obs.Attempts[i], &c.state[i])
	}
	judgeLateness(c.obs.Attempts)
	return c.obs
}
