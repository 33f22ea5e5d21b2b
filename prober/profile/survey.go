package profile

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The arms of a survey, by which Read finds its answers.
const (
	armFull   = "all options"
	armPlain  = "no timestamps"
	armBare   = "no options"
	armECN    = "ECN setup"
	armAlone  = "left alone"
	armIdle   = "idle"
	armClosed = "closed port"
	armData   = "not acknowledged"
	armHalf   = "left half-open"
	armHoled  = "acknowledged with a hole"
	armHoled2 = "acknowledged with a hole, again"
	armLate   = "acknowledged late"
	armFill   = "completed at once"
)

// Facts that the times follow from.
const (
	// Patience covers the repeats of a listener at 1, 3 and 7 s (RTO 1 s, doubled), and of one of 3 s at 3 s and 9 s half-way.
	Patience = 7600 * time.Millisecond
	// MostPatience covers all repeats of tcp_synack_retries 5: 63 s, and the request's end at that time.
	MostPatience = 70 * time.Second
	// dataPatience is how long data stay unacknowledged: three of the shortest RTOs and one of RFC 6298's.
	dataPatience = 1600 * time.Millisecond
	// smallMSS makes short answers fill an initial window: ten segments of 128 octets. Linux takes as little as 88 (tcp_min_snd_mss 48 and 40 of
	// options), others raise small values to 536.
	smallMSS = 128
	// recoveryDelay is what the sender takes for the round trip where its answer is acknowledged with a hole in front: a quarter of it
	// (RFC 8985 §6.2) shows well above what a busy machine adds, and twice of it, after which a tail loss probe comes, well below recoveryWait.
	recoveryDelay = 100 * time.Millisecond
	recoveryWait  = 80 * time.Millisecond
	// recoveryGap is longer than one of these handshakes is half-open: a small backlog must not be filled, whose cookies know no SACK.
	recoveryGap = recoveryDelay + 10*time.Millisecond
	// recoveryFlows are as many as segments can be acknowledged behind the hole of an initial window of ten (RFC 6928).
	recoveryFlows = 9
	// recoveryAgain is how many flows more show that so few segments are not enough, and that one less is not.
	recoveryAgain = 3
	// lateAfter is how late an ACK still finds no request that was never repeated: one of a 3 s timer without repeats ends by then.
	lateAfter = 5 * time.Second
	lateWait  = 700 * time.Millisecond
	// gap keeps bursts small at the listener.
	gap = 4 * time.Millisecond
	// backlogGap keeps the SYNs of a backlog burst in order on their way, and all of them within the first repeat of the first.
	backlogGap  = 500 * time.Microsecond
	backlogWait = 1700 * time.Millisecond
)

// Survey asks one listener for its profile. It sends some thirty SYNs, completes two connections and sends no data but Request.
type Survey struct {
	Source netip.AddrPort // port 0: the engine's choice
	Dst    netip.AddrPort
	MSS    uint16
	// Patience is how long repeats are waited for; 0 means Patience.
	Patience time.Duration
	// Request is sent to see the initial window; empty: it is not measured.
	Request []byte
	// Backlog is how many requests may be left half-open; 0: it is not measured.
	Backlog int
	// Overflow completes as many connections at once as the backlog has room for, where that was measured.
	Overflow bool
	Rand     *rand.Rand
}

// Name implements experiment.Experiment.
func (s *Survey) Name() string { return "profile" }

// Next implements experiment.Experiment: the handshakes first, then, where anything answered, what takes time, then the backlog.
func (s *Survey) Next(seen []observe.Observation) (plan.Burst, bool) {
	switch {
	case len(seen) == 0:
		return s.handshakes(), true
	case len(seen) == 1 && answered(&seen[0]):
		return s.patient(), true
	case len(seen) < 2:
	case !asked(seen, armHoled2) && len(confirms(seen)) > 0:
		return s.confirm(confirms(seen)), true
	case !asked(seen, armLate) && unrepeated(seen):
		return s.late(), true
	case !asked(seen, armHalf) && s.Backlog > 0:
		return s.backlog(), true
	case asked(seen, armHalf) && !asked(seen, armFill) && s.Overflow:
		b := s.fill(seen)
		return b, len(b.Shots) > 0
	}
	return plan.Burst{}, false
}

func asked(seen []observe.Observation, arm string) bool {
	return slices.ContainsFunc(seen, func(o observe.Observation) bool {
		return slices.ContainsFunc(o.Arms, func(a plan.Arm) bool { return a.Name == arm })
	})
}

// unrepeated reports whether SYN-ACKs came and none was repeated, and the TSvals do not say why.
func unrepeated(seen []observe.Observation) bool {
	r := reader{seen: seen}
	list := r.rungs()
	cookies, _ := r.cookieBits()
	return len(list) > 0 && !cookies && !slices.ContainsFunc(list, func(g rung) bool { return g.repeats > 0 })
}

func answered(o *observe.Observation) bool {
	for i := range o.Attempts {
		if o.Attempts[i].Outcome == observe.Accepted {
			return true
		}
	}
	return false
}

func (s *Survey) script(options wire.Options, clock wire.TSval) plan.Script {
	return plan.Script{Options: options, Clock: plan.TSClock{Start: clock, Hz: 1000}, Ladder: plan.Custom(0, 1100*time.Millisecond), OnSYNACK: plan.Reset}
}

const scale = 7 // as Linux offers with its default buffers

func (s *Survey) handshakes() plan.Burst {
	val := wire.TSval(s.Rand.Uint32())
	ecn := s.script(wire.LinuxSYN(s.MSS, val, scale), val)
	ecn.First = wire.SYN | wire.ECE | wire.CWR
	b := plan.Burst{Label: "handshakes", Kind: plan.KindProfile, Listen: 3 * time.Second, Arms: []plan.Arm{
		{Name: armFull, Via: plan.Raw, Script: s.script(wire.LinuxSYN(s.MSS, val, scale), val)},
		{Name: armPlain, Via: plan.Raw, Script: s.script(wire.LinuxSYNWithoutTimestamps(s.MSS, scale), val)},
		{Name: armBare, Via: plan.Raw, Script: s.script(wire.Options{}, val)},
		{Name: armECN, Via: plan.Raw, Script: ecn},
	}}
	order := []int{0, 1, 0, 2, 0, 3, 0, 1, 0, 2, 0, 3}
	for i, arm := range order {
		s.shot(&b, arm, time.Duration(i)*gap)
	}
	return b
}

func (s *Survey) shot(b *plan.Burst, arm int, at time.Duration) {
	b.Shots = append(b.Shots, plan.Shot{Arm: arm, Offset: at, Flow: wire.Flow{Src: s.Source, Dst: s.Dst}})
}

// patient is what takes time, side by side: requests that nobody completes, connections that say nothing, ports where nothing should
// listen, and an answer that is never acknowledged.
func (s *Survey) patient() plan.Burst {
	wait := s.Patience
	if wait <= 0 {
		wait = Patience
	}
	val := wire.TSval(s.Rand.Uint32())
	alone := s.script(wire.LinuxSYN(s.MSS, val, scale), val)
	alone.OnSYNACK, alone.Ladder = plan.Ignore, plan.Single()
	idle := s.script(wire.LinuxSYN(s.MSS, val, scale), val)
	idle.OnSYNACK, idle.Then = plan.Acknowledge, plan.Exchange{Close: plan.Abort, CloseDelay: wait}
	closed := s.script(wire.LinuxSYN(s.MSS, val, scale), val)
	b := plan.Burst{Label: "patience", Kind: plan.KindProfile, Listen: wait, Linger: true, Arms: []plan.Arm{
		{Name: armAlone, Via: plan.Raw, Script: alone}, {Name: armIdle, Via: plan.Raw, Script: idle}, {Name: armClosed, Via: plan.Raw, Script: closed}}}
	for i, arm := range []int{0, 1, 0, 1} {
		s.shot(&b, arm, time.Duration(i)*gap)
	}
	for i, port := range s.highPorts(3) {
		b.Shots = append(b.Shots, plan.Shot{Arm: 2, Offset: time.Duration(4+i) * gap, Flow: wire.Flow{Src: s.Source, Dst: netip.AddrPortFrom(s.Dst.Addr(), port)}})
	}
	if len(s.Request) > 0 {
		s.answers(&b)
	}
	return b
}

// answers adds connections that ask for data: some acknowledge nothing of it, the others all but its first segment, each one segment more.
func (s *Survey) answers(b *plan.Burst) {
	data := s.script(wire.LinuxSYNWithoutTimestamps(smallMSS, scale), 0)
	data.Window = 65535
	data.OnSYNACK = plan.Acknowledge
	data.Then = plan.Exchange{Data: s.Request, Close: plan.Abort, CloseDelay: dataPatience, Withhold: true}
	arm := len(b.Arms)
	b.Arms = append(b.Arms, plan.Arm{Name: armData, Via: plan.Raw, Script: data})
	for i := range 2 {
		s.shot(b, arm, time.Duration(7+i)*gap)
	}
	for k := 1; k <= recoveryFlows; k++ {
		b.Arms = append(b.Arms, plan.Arm{Name: armHoled, Via: plan.Raw, Script: s.holed(k)})
		s.shot(b, arm+k, recoveryAfter+time.Duration(k)*recoveryGap)
	}
}

// holed asks for an answer and acknowledges k segments of it behind the first.
func (s *Survey) holed(k int) plan.Script {
	x := s.script(wire.LinuxSYNWithoutTimestamps(smallMSS, scale), 0)
	x.Window, x.Ladder, x.OnSYNACK = 65535, plan.Single(), plan.Acknowledge
	x.Then = plan.Exchange{Data: s.Request, Close: plan.Abort, CloseDelay: dataPatience, Withhold: true, AckDelay: recoveryDelay,
		Selective: &plan.Selective{Segments: k, Size: smallMSS, Delay: recoveryDelay, Wait: recoveryWait}}
	return x
}

// confirm asks again what seemed not to be enough for a repeat: an acknowledgment may have been lost.
func (s *Survey) confirm(acks []int) plan.Burst {
	b := plan.Burst{Label: "reordering again", Kind: plan.KindProfile, Listen: 2*dataPatience + recoveryDelay}
	for _, k := range acks {
		b.Arms = append(b.Arms, plan.Arm{Name: armHoled2, Via: plan.Raw, Script: s.holed(k)})
		for range recoveryAgain {
			s.shot(&b, len(b.Arms)-1, time.Duration(len(b.Shots))*recoveryGap)
		}
	}
	return b
}

// recoveryAfter is when the first of these connections begins: once those whose answers nobody acknowledges are over.
const recoveryAfter = dataPatience + 200*time.Millisecond

// late completes handshakes whose SYN-ACK was answered long ago, as far as a listener knows that keeps no request.
func (s *Survey) late() plan.Burst {
	script := s.script(wire.LinuxSYN(s.MSS, wire.TSval(s.Rand.Uint32()), scale), wire.TSval(s.Rand.Uint32()))
	script.OnSYNACK, script.Ladder = plan.Acknowledge, plan.Single()
	script.Then = plan.Exchange{AckDelay: lateAfter, DataDelay: 100 * time.Millisecond, Alive: true, Withhold: true, Close: plan.Abort, CloseDelay: lateWait}
	b := plan.Burst{Label: "late ACK", Kind: plan.KindProfile, Listen: lateAfter + 2*lateWait,
		Arms: []plan.Arm{{Name: armLate, Via: plan.Raw, Script: script}}}
	for i := range 2 {
		s.shot(&b, 0, time.Duration(i)*gap)
	}
	return b
}

// highPorts are n different ports where servers rarely listen.
func (s *Survey) highPorts(n int) []uint16 {
	var out []uint16
	taken := map[uint16]bool{s.Dst.Port(): true}
	for len(out) < n {
		p := uint16(20000 + s.Rand.IntN(12000))
		if !taken[p] {
			taken[p] = true
			out = append(out, p)
		}
	}
	return out
}

// backlog leaves many SYN-ACKs unanswered, and resets them all at the end.
func (s *Survey) backlog() plan.Burst {
	val := wire.TSval(s.Rand.Uint32())
	half := s.script(wire.LinuxSYN(s.MSS, val, scale), val)
	half.OnSYNACK, half.Ladder = plan.Ignore, plan.Single()
	b := plan.Burst{Label: "backlog", Kind: plan.KindBacklog, Listen: backlogWait + 400*time.Millisecond, Linger: true,
		Arms: []plan.Arm{{Name: armHalf, Via: plan.Raw, Script: half}}}
	for i := range s.Backlog {
		s.shot(&b, 0, time.Duration(i)*backlogGap)
	}
	return b
}
