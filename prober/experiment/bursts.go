package experiment

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// build makes the burst of a step.
func (v *Investigation) build(s Step, seen []observe.Observation) plan.Burst {
	b := v.maker(s.Kind)(seen)
	b.Kind = s.Kind
	if b.Label == "" {
		b.Label = string(s.Kind)
	}
	return b
}

// maker is what makes the bursts of a kind; kernel connects are what is left.
func (v *Investigation) maker(k plan.Kind) func([]observe.Observation) plan.Burst {
	known := map[plan.Kind]func([]observe.Observation) plan.Burst{
		plan.KindQuadrants: v.quadrants, plan.KindSticky: v.sticky, plan.KindServed: v.served, plan.KindDirection: v.direction,
		plan.KindPaced: v.paced, plan.KindRate: v.rate, plan.KindScope: v.scope, plan.KindOther: v.other, plan.KindSizes: v.sizes, plan.KindStray: v.stray, plan.KindPing: v.ping,
		plan.KindOracle: v.search, plan.KindFollow: v.search, plan.KindSides: v.sides, plan.KindCircle: v.circle, plan.KindPrime: v.prime, plan.KindFlip: v.flip, plan.KindBare: v.bare, plan.KindHeal: v.heal, plan.KindSurvey: v.survey, plan.KindResolve: v.resolve,
		plan.KindReuse: v.reuse, plan.KindStateful: v.stateful, plan.KindEven: v.even, plan.KindCells: v.cells, plan.KindLate: v.late, plan.KindWatch: v.watch,
		plan.KindWalk: v.walk, plan.KindSource: v.sources, plan.KindHold: v.hold, plan.KindFreed: v.freed, plan.KindBacklog: v.backlog, plan.KindIdle: v.idle,
		plan.KindAgain: v.again, plan.KindPlain: v.plain, plan.KindLook: v.look, plan.KindVolley: v.volley, plan.KindECN: v.ecn, plan.KindTransfer: v.transfer, plan.KindGentle: v.gentle, plan.KindSmall: v.small, plan.KindHoled: v.holed,
	}
	if m, ok := known[k]; ok {
		return m
	}
	return v.kernel
}

// resolve is a burst of connects after the wire was asked for the next hop.
func (v *Investigation) resolve(seen []observe.Observation) plan.Burst {
	b := v.kernel(seen)
	b.Label = "asked again"
	b.Prepare = []plan.NeighborStep{{Action: plan.Ask, Addr: v.Dst.Addr()}}
	return b
}

// flows is how many raw SYNs one burst may hold.
func (v *Investigation) flows(want int) int { return min(want, max(v.HalfOpen, 1)) }

// patience is how long silence must last to be silence: several of the slowest round trips seen, and at least 400 ms.
func patience(seen []observe.Observation) time.Duration {
	var slowest, late time.Duration
	for i := range seen {
		for j := range seen[i].Attempts {
			a := &seen[i].Attempts[j]
			slowest = max(slowest, a.RTT)
			if a.Late == observe.LateSlow || a.Late == observe.LateAmbiguous {
				late = max(late, a.Handshake)
			}
		}
	}
	return min(max(400*time.Millisecond, 3*slowest, late+late/2), 4*time.Second)
}

// spacing is the time between two SYNs of one flow that are asked in fast succession: more than any round trip seen, so that no answer comes after the
// SYN that follows and passes for that one's; at most 1 s, as a few slow answers are no round trip.
func spacing(seen []observe.Observation) time.Duration {
	slow := slowest(seen)
	return min(max(patience(seen)/4, slow+slow/4+5*time.Millisecond), time.Second)
}

func (v *Investigation) kernel(seen []observe.Observation) plan.Burst {
	listen := kernelListen(v.Ladder)
	if answered(seen, plan.KindConnect) && len(v.Ladder.At) > 1 {
		listen = min(listen, max(v.Ladder.At[1]+kernelAnswer, patience(seen))) // what a second repeat shows is known
	}
	c := Connect{Source: v.Source, Dst: v.Dst, Burst: v.Burst, Ladder: v.Ladder, Listen: min(v.Listen, listen), Close: plan.Abort}
	b, _ := c.Next(nil)
	b.Label, b.Trail = "first contact", true
	if n := count(seen, plan.KindConnect); n > 0 {
		b.Label = fmt.Sprintf("repeat %d", n)
	} else if v.MayForget {
		b.Prepare = []plan.NeighborStep{{Action: plan.Forget, Addr: v.Dst.Addr()}}
	}
	return b
}

// kernelListen covers the first two repeats of the ladder in force, and what an answer to the second may take.
func kernelListen(l plan.Ladder) time.Duration {
	if len(l.At) > 2 {
		return l.At[2] + kernelAnswer
	}
	return l.Last() + 3*time.Second + kernelAnswer
}

// kernelAnswer is how long an answer to a kernel's last repeat is waited for.
const kernelAnswer = 500 * time.Millisecond

func count(seen []observe.Observation, k plan.Kind) int {
	n := 0
	for i := range seen {
		if seen[i].Kind == k {
			n++
		}
	}
	return n
}

// script is a raw SYN as this machine's kernel would send it, with a clock of our own.
func (v *Investigation) script(start wire.TSval, l plan.Ladder, r plan.Reaction) plan.Script {
	return plan.Script{Options: wire.LinuxSYN(v.MSS, start, scale), Clock: plan.TSClock{Start: start, Hz: 1000}, Ladder: l, OnSYNACK: r}
}

func (v *Investigation) shots(b *plan.Burst, arm, n int, first, gap time.Duration) {
	for i := range n {
		b.Shots = append(b.Shots, plan.Shot{Offset: first + time.Duration(i)*gap, Arm: arm, Flow: wire.Flow{Src: v.Source, Dst: v.Dst}})
	}
}

// quadrants sends SYNs on fresh flows whose TSvals lie a quarter of the circle apart, single ones at first, the arms interleaved in blocks so that a change over time
// falls on all alike. Every remembered TSval refuses exactly two adjacent quadrants.
func (v *Investigation) quadrants(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	a, ladder := v.base(seen), plan.Single()
	if count(seen, plan.KindQuadrants) >= 2 { // something was silent: what is lost now and then must not be taken for it
		gap := spacing(seen)
		ladder = plan.Custom(0, gap, 2*gap)
		b.Listen += 2 * gap
	}
	for k := range 4 {
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("quadrant %d", k), Via: plan.Raw,
			Script: v.script(a.Add(int64(k)<<30), ladder, plan.Reset)})
	}
	const gap = 4 * time.Millisecond
	for block := range v.flows(16) / 4 {
		for i, k := range v.Rand.Perm(4) {
			v.shots(&b, k, 1, time.Duration(block*4+i)*gap, 0)
		}
	}
	return b
}

// base is the first quadrant's TSval: random at first, then kept, so that all bursts of an investigation ask about the same arms.
func (v *Investigation) base(seen []observe.Observation) wire.TSval {
	for i := range seen {
		if seen[i].Kind == plan.KindQuadrants && len(seen[i].Arms) > 0 {
			return seen[i].Arms[0].Script.Clock.Start
		}
	}
	return wire.TSval(v.Rand.Uint32())
}

// stickyRungs is how often each flow of a sticky sweep sends its SYN.
const stickyRungs = 5

// sticky sends each flow's SYN several times in fast succession: loss that keeps to a flow leaves some flows dead and the others whole;
// random loss falls on all alike; and the echo says of every loss which way it was.
func (v *Investigation) sticky(seen []observe.Observation) plan.Burst {
	gap := patience(seen) / 2
	at := make([]time.Duration, stickyRungs)
	for i := range at {
		at[i] = time.Duration(i) * gap
	}
	b := plan.Burst{Listen: at[stickyRungs-1] + patience(seen)}
	b.Arms = []plan.Arm{{Name: "flow", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Custom(at...), plan.Reset)}}
	v.shots(&b, 0, v.flows(16), 0, 3*time.Millisecond)
	return b
}

// servedWait covers a listener's first SYN-ACK repeat after our ACK (RTO 1 s) with room for its timer.
const servedWait = 1500 * time.Millisecond

// banner is how much is read of what a server says by itself: more than greetings are, and little enough that one which goes on sending fills no queue
// on the way that the next burst has to pass.
const banner = 8 << 10

// served completes handshakes itself and waits: a listener whose accept queue is full goes on repeating its SYN-ACK as if our ACK had
// not come; one that aborts resets. Half of the flows then send a request and half a line end, so that a stack which is
// really there acknowledges it.
func (v *Investigation) served(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: servedWait + 1200*time.Millisecond + 2*patience(seen)}
	s := v.script(v.clock(seen), thrice(seen), plan.Acknowledge)
	s.Patience = patience(seen)
	s.Then = plan.Exchange{Data: []byte("\r\n"), DataDelay: servedWait, Reads: banner, Close: plan.Abort, CloseDelay: 50 * time.Millisecond, RTO: patience(seen)}
	b.Arms = []plan.Arm{{Name: "served", Via: plan.Raw, Script: s}}
	v.shots(&b, 0, v.flows(8), 0, 2*time.Millisecond)
	return b
}

// directionListen covers a listener's SYN-ACK repeats at 1, 3 and 7 s.
const directionListen = 8 * time.Second

// thrice is a SYN and two repeats, far enough apart that an answer has time to come before the next.
func thrice(seen []observe.Observation) plan.Ladder {
	gap := patience(seen)
	return plan.Custom(0, gap, 2*gap)
}

// stateful completes nothing and resets nothing for a while: a listener that keeps its request repeats its SYN-ACK, one that answers by
// cookie, or a SYN proxy, does not.
func (v *Investigation) stateful(seen []observe.Observation) plan.Burst {
	wait := patience(seen)
	b := plan.Burst{Listen: servedWait + 2*wait, Linger: true}
	b.Arms = []plan.Arm{{Name: "ignored", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Custom(0, wait), plan.Ignore)}}
	v.shots(&b, 0, v.flows(4), 0, 2*time.Millisecond)
	return b
}

// direction sends single SYNs that are never repeated and listens: a listener that was reached repeats its SYN-ACK by itself.
func (v *Investigation) direction(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: directionListen}
	b.Arms = []plan.Arm{{Name: "single", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Reset)}}
	v.shots(&b, 0, v.flows(16), 0, 5*time.Millisecond)
	return b
}

// pacedGap is how far apart paced SYNs are: four a second.
const pacedGap = 250 * time.Millisecond

// paced sends single SYNs far apart: what only a burst suffers, these do not. Where a burst at a steady pace has shown how many a second come through, they
// keep to three quarters of that; where some are refused they look longer.
func (v *Investigation) paced(seen []observe.Observation) plan.Burst {
	gap := pacedGap
	if rate, _, ok := diagnose.Through(seen); ok {
		gap = min(max(time.Duration(float64(time.Second)/(0.75*rate)), pacedGap), 4*pacedGap)
	} else if refused(seen) {
		gap = 400 * time.Millisecond // what comes and goes takes seconds
	}
	b := plan.Burst{Listen: patience(seen)}
	b.Arms = []plan.Arm{{Name: "paced", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Reset)}}
	v.shots(&b, 0, v.flows(8), gap, gap) // far from what came before as well: a burst that was answered whole ended at once
	return b
}

// refused reports whether a connection to the target was refused.
func refused(seen []observe.Observation) bool {
	for i := range seen {
		if k := seen[i].Kind; k != plan.KindConnect && k != plan.KindQuadrants && k != plan.KindSticky {
			continue
		}
		if slices.ContainsFunc(seen[i].Attempts, func(a observe.Attempt) bool { return a.Outcome == observe.Refused || a.Outcome == observe.Unreachable }) {
			return true
		}
	}
	return false
}

// other asks two neighbouring ports of the same address, which nobody is expected to serve: a host that resets there is up, and what
// the target's port suffers is its own. Where flows stay dead, each is asked up to three times: one that loses its only SYN looks dead.
func (v *Investigation) other(seen []observe.Observation) plan.Burst {
	b, ladder := plan.Burst{Listen: patience(seen)}, plan.Single()
	if count(seen, plan.KindAgain) > 0 {
		gap := patience(seen) / 2
		ladder, b.Listen = plan.Custom(0, gap, 2*gap), b.Listen+2*gap
	}
	b.Arms = []plan.Arm{{Name: "other port", Via: plan.Raw, Script: v.script(v.clock(seen), ladder, plan.Reset)}}
	for i := range v.flows(16) {
		dst := v.contrast()
		if i%2 == 1 && !v.Contrast.IsValid() {
			dst = netip.AddrPortFrom(v.Dst.Addr(), otherPort(v.Dst.Port(), 1))
		}
		b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(i) * 5 * time.Millisecond, Flow: wire.Flow{Src: v.Source, Dst: dst}})
	}
	return b
}

// reusePatience is how slow answers may be for a second use of a flow to follow right after the first, as it does in practice.
const reusePatience = 2 * time.Second

// evenRungs is how often each flow is asked in an even sweep.
const evenRungs = 12

// reuse asks the same flow three times, each after the one before was answered and reset: a balancer that holds ended connections
// may take the second for a ghost of the first. Fresh flows beside each second use are the control.
func (v *Investigation) reuse(seen []observe.Observation) plan.Burst {
	gap := max(150*time.Millisecond, patience(seen)/2)
	gap += gap * time.Duration(count(seen, plan.KindReuse)) * 7 / 10 // not in step with anything periodic
	const odd = 17 * time.Millisecond                                // so that no clock of a usual rate moves by a round number both times
	b := plan.Burst{Listen: 2*gap + odd + patience(seen)}
	s := v.script(v.clock(seen), plan.Custom(0, gap, 2*gap+odd), plan.Reset)
	s.Persist = true
	b.Arms = []plan.Arm{{Name: "same flow", Via: plan.Raw, Script: s}, {Name: "fresh flow", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Reset)}}
	n := min(6, max(v.HalfOpen/2, 1)) // of either arm
	v.shots(&b, 0, n, 0, 3*time.Millisecond)
	v.shots(&b, 1, n, gap+time.Millisecond, 3*time.Millisecond) // beside each second use, so that no outage of that moment is blamed on it
	return b
}

// even asks each flow again and again, whether or not it was answered before: loss that a path or member makes falls on some flows and
// spares the others; loss at random falls on all alike. Each flow's moments are drawn by lot, for every turn anew, so that loss which depends on the order of
// SYNs does too: a flow that was always ahead of the others would get the tokens of a limiter.
func (v *Investigation) even(seen []observe.Observation) plan.Burst {
	gap := spacing(seen)
	b := plan.Burst{Listen: evenRungs*gap + patience(seen)}
	lot := func() time.Duration { return time.Duration(v.Rand.Int64N(int64(gap / 2))) }
	starts := make([]time.Duration, v.flows(16))
	for k := range starts {
		starts[k] = lot()
	}
	slices.Sort(starts) // as shots leave
	for k, start := range starts {
		at := make([]time.Duration, evenRungs)
		for i := 1; i < evenRungs; i++ {
			at[i] = time.Duration(i)*gap + lot() - start
		}
		s := v.script(v.clock(seen), plan.Custom(at...), plan.Reset)
		s.Persist = true
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("flow %d", k), Via: plan.Raw, Script: s})
		v.shots(&b, k, 1, start, 0)
	}
	return b
}

// otherPort is a high port that no service registers near the target's: from the dynamic range's end (RFC 6335 §6).
func otherPort(port uint16, i int) uint16 {
	p := uint16(65520 - i)
	if p == port {
		p -= 7
	}
	return p
}
