package prober

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/nftables/expr"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// first matches the first n packets that come by.
func first(n int) nft.Part {
	return nft.Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeDay, Burst: uint32(n)}}
}

// dropFirst is a table that drops the first n packets which match.
func dropFirst(f nft.Family, h nft.Hook, device string, n int, match ...nft.Part) nft.Table {
	rule := append(nft.Rule{}, match...)
	return nft.Table{Family: f, Name: "losses", Chains: []nft.Chain{{Hook: h, Device: device, Rules: []nft.Rule{append(rule, first(n), nft.Drop())}}}}
}

// lossCase drops the first k SYNs (or SYN-ACKs) of every connect of a burst.
type lossCase struct {
	where string
	lost  int
	// linear is tcp_syn_linear_timeouts of the client.
	linear int
}

// shotsEach is how many connects of each kind one burst makes.
const shotsEach = 4

func (c lossCase) String() string {
	return fmt.Sprintf("%s, %d lost, linear %d", c.where, c.lost, c.linear)
}

// ladder is what the client's kernel follows: read from it, and cut to what the case needs.
func (c lossCase) ladder(r *rig) plan.Ladder {
	return plan.Ladder{Name: r.engine.host.Ladder.Name, At: r.engine.host.Ladder.At[:c.lost+2]}
}

func (c lossCase) run(t *testing.T, table func(r *rig, drops int), arms func(plan.Ladder) []plan.Arm) observe.Observation {
	t.Helper()
	r := network(t)
	r.client.Sysctl("net.ipv4.tcp_syn_linear_timeouts", fmt.Sprint(c.linear))
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	l := c.ladder(r)
	as := arms(l)
	r.burst(t, to(time.Second, 1, as, on(serverV4, 80))) // the way is known and scouted before the losses begin
	table(r, c.lost*shotsEach*len(as))
	return r.burst(t, to(l.At[c.lost]+time.Second, shotsEach, as, on(serverV4, 80)))
}

func allArms(l plan.Ladder) []plan.Arm {
	return []plan.Arm{kernelArm(l), rawArm(l), rawArmWithoutTS(l)}
}
func rawArms(l plan.Ladder) []plan.Arm    { return []plan.Arm{rawArm(l), rawArmWithoutTS(l)} }
func kernelArms(l plan.Ladder) []plan.Arm { return []plan.Arm{kernelArm(l)} }

// lossesSeen is what an attempt must say.
type lossesSeen struct {
	Outcome                          observe.Outcome
	Retransmissions, Unseen, Lost    int
	Answered                         int
	LostBy                           observe.Proof
	Stalled, HandshakeAsLongAsLadder bool
}

func (c lossCase) seen(a *observe.Attempt, l plan.Ladder) lossesSeen {
	// The kernel's timers fire up to a tick late, and late is how a busy machine makes ours; never early. Our own ladder counts from the
	// moment at which a SYN was handed over; the handshake from the tap, which on a starved machine is later.
	late := time.Duration(0)
	if s := a.SYNs[0]; !s.Handed.IsZero() {
		late = max(0, s.At.Sub(s.Handed))
	}
	return lossesSeen{a.Outcome, a.Retransmissions, a.Unseen, a.Lost, a.Answered, a.LostBy, a.Stalled(), a.Handshake+late >= l.At[c.lost]-tick}
}

func TestEverySYNLostOnTheWayIsCounted(t *testing.T) {
	t.Parallel()
	for _, linear := range []int{4, 0} {
		for lost := 1; lost <= 3; lost++ {
			c := lossCase{"server's ingress", lost, linear}
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				obs := c.run(t, func(r *rig, n int) { must(t, r.server.SetRules(dropFirst(nft.IPv4, nft.Raw, "", n, nft.SYN()))) }, allArms)
				for i := range obs.Attempts {
					a := &obs.Attempts[i]
					want := lossesSeen{observe.Accepted, lost, 0, lost, lost, observe.ByTSecr, true, true}
					if a.Arm == "raw without timestamps" {
						want.Answered, want.LostBy = -1, observe.ByCapture
					}
					if got := c.seen(a, obs.Arms[0].Script.Ladder); got != want {
						t.Errorf("%s %d: got %+v, want %+v", a.Arm, i, got, want)
					}
				}
			})
		}
	}
}

func TestEverySYNLostInsideThisHostIsCountedAsThat(t *testing.T) {
	t.Parallel()
	for _, linear := range []int{4, 0} {
		for lost := 1; lost <= 3; lost++ {
			c := lossCase{"client's egress", lost, linear}
			drop := func(r *rig, n int) {
				must(t, r.client.SetRules(dropFirst(nft.Netdev, nft.Egress, r.near.Name, n, nft.SYN())))
			}
			t.Run(c.String()+", raw", func(t *testing.T) {
				t.Parallel()
				obs := c.run(t, drop, rawArms)
				for i := range obs.Attempts {
					a := &obs.Attempts[i]
					want := lossesSeen{observe.Accepted, lost, lost, lost, lost, observe.ByTSecr, true, true}
					if !a.SYNs[0].HasTS {
						want.Answered, want.LostBy = -1, observe.ByCapture
					}
					if got := c.seen(a, obs.Arms[0].Script.Ladder); got != want || len(a.SYNs) != lost+1 {
						t.Errorf("%s %d: got %+v of %d SYNs, want %+v", a.Arm, i, got, len(a.SYNs), want)
					}
				}
			})
			// The kernel leaves its ladder when its own queue refuses a repeat, and tries again after half a second.
			t.Run(c.String()+", kernel", func(t *testing.T) {
				t.Parallel()
				obs := c.run(t, drop, kernelArms)
				for i := range obs.Attempts {
					a := &obs.Attempts[i]
					want := lossesSeen{observe.Accepted, lost, lost, lost, 0, observe.ByTSecr, true, true} // the only one on the tap was answered
					got := c.seen(a, obs.Arms[0].Script.Ladder)
					got.HandshakeAsLongAsLadder = true
					if got != want || len(a.SYNs) != 1 {
						t.Errorf("%d: got %+v of %d SYNs, want %+v", i, got, len(a.SYNs), want)
					}
				}
			})
		}
	}
}

// The client's OUTPUT chain drops what the kernel sends; what we send on a packet socket passes it by.
func TestAFilterInOutputIsSeenByTheKernelsConnectsAlone(t *testing.T) {
	t.Parallel()
	c := lossCase{"client's OUTPUT", 1, 4}
	obs := c.run(t, func(r *rig, _ int) {
		must(t, r.client.SetRules(dropFirst(nft.IPv4, nft.Output, "", shotsEach, nft.SYN())))
	}, allArms)
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		want := lossesSeen{Outcome: observe.Accepted, LostBy: observe.ByCapture}
		if a.Via == plan.Kernel {
			want = lossesSeen{observe.Accepted, 1, 1, 1, 0, observe.ByTSecr, true, true}
		}
		if got := c.seen(a, obs.Arms[0].Script.Ladder); got != want {
			t.Errorf("%s %d: got %+v, want %+v", a.Arm, i, got, want)
		}
	}
}

// A SYN-ACK that is lost on its way back: the echo of the one that comes names the first SYN, which therefore had arrived.
func TestASYNACKLostOnItsWayBackIsNoLostSYN(t *testing.T) {
	t.Parallel()
	for lost := 1; lost <= 3; lost++ {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			r := network(t)
			// Else repeats of a SYN within half a second of each other draw one SYN-ACK (net/ipv4/tcp_minisocks.c tcp_check_req, 6.18).
			r.server.Sysctl("net.ipv4.tcp_invalid_ratelimit", "0")
			r.server.Serve(echoOn(80))
			r.start(t, EngineOptions{})
			// Within a second, before the server repeats its SYN-ACK by itself.
			l := plan.Custom(0, 200*ms, 400*ms, 600*ms)
			arms := []plan.Arm{rawArm(l)}
			r.burst(t, to(time.Second, 1, arms, on(serverV4, 80)))
			must(t, r.server.SetRules(dropFirst(nft.IPv4, nft.Output, "", lost*shotsEach, nft.FlagsSet(wire.SYN|wire.ACK, wire.SYN|wire.ACK))))
			obs := r.burst(t, to(900*ms, shotsEach, arms, on(serverV4, 80)))
			for i := range obs.Attempts {
				a := &obs.Attempts[i]
				if a.Outcome != observe.Accepted || a.Answered != 0 || a.Lost != 0 || a.Retransmissions != lost || a.Late != observe.LateAnswerLost || !a.Stalled() {
					t.Errorf("%d: %s, answered %d, lost %d, %d repeats, late %q", i, a.Outcome, a.Answered, a.Lost, a.Retransmissions, a.Late)
				}
			}
		})
	}
}

// The same for kernel connects: the server's own repeat and the answer to ours come in the same instant, but either way the first SYN is
// named and none was lost.
func TestAKernelConnectNamesTheSYNThatArrived(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	must(t, r.server.SetRules(dropFirst(nft.IPv4, nft.Output, "", shotsEach, nft.FlagsSet(wire.SYN|wire.ACK, wire.SYN|wire.ACK))))
	obs := r.burst(t, to(2*time.Second, shotsEach, []plan.Arm{kernelArm(r.engine.host.Ladder)}, on(serverV4, 80)))
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Outcome != observe.Accepted || a.Answered != 0 || a.Lost != 0 || a.Retransmissions > 1 || (a.Retransmissions == 1) != (a.Late == observe.LateAnswerLost) {
			t.Errorf("%d: %s, answered %d, lost %d, %d repeats, late %q", i, a.Outcome, a.Answered, a.Lost, a.Retransmissions, a.Late)
		}
	}
}

// An answer that takes 1.3 s is slow: a SYN is repeated meanwhile, and nothing was lost.
func TestASlowAnswerIsNoStall(t *testing.T) {
	t.Parallel()
	private(t)
	n := network(t)
	r := n
	client, server := n.Host("slow client"), n.Host("slow server")
	slow := []wires.Stage{wires.Delay(1300*ms, 0, nil, wires.SYNACK)}
	near, far := wires.Cable(n.Net, client, server, slow)
	near.Addr("10.1.0.1/24").Knows("10.1.0.2", far)
	far.Addr("10.1.0.2/24").Knows("10.1.0.1", near)
	server.Serve(echoOn(80))
	r.client = client
	r.start(t, EngineOptions{})
	arms := []plan.Arm{kernelArm(r.engine.host.Ladder), rawArm(r.engine.host.Ladder)}
	obs := r.burst(t, to(5*time.Second, shotsEach, arms, on("10.1.0.2", 80)))
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		// One repeat, or on a busy machine, whose wire takes even longer, two.
		if a.Outcome != observe.Accepted || a.Lost != 0 || a.Retransmissions < 1 || a.Answered != 0 || a.Stalled() ||
			a.Late != observe.LateSlow && a.Late != observe.LateAmbiguous || a.Handshake < 1300*ms {
			t.Errorf("%s %d: %s %q, lost %d, %d repeats, answered %d, late %q, %s", a.Arm, i, a.Outcome, a.Reason, a.Lost, a.Retransmissions,
				a.Answered, a.Late, a.Handshake)
		}
	}
}
