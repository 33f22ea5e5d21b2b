package fakenet_test

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// anyBurst draws a burst of a few arms towards the target or its members.
func anyBurst(t *rapid.T, w *fakenet.World) plan.Burst {
	b := plan.Burst{Kind: plan.KindOther, Linger: rapid.Bool().Draw(t, "linger"),
		Listen: time.Duration(rapid.IntRange(1, 9000).Draw(t, "listen ms")) * time.Millisecond}
	for range rapid.IntRange(1, 3).Draw(t, "arms") {
		a := plan.Arm{Name: "raw", Via: plan.Raw, Script: script(wire.TSval(rapid.Uint32().Draw(t, "TSval")),
			rapid.SampledFrom([]plan.Reaction{plan.Reset, plan.Acknowledge, plan.Ignore}).Draw(t, "reaction"))}
		if rapid.Bool().Draw(t, "kernel") {
			a.Name, a.Via = "kernel", plan.Kernel
		}
		a.Script.Clock.Hz = 1000
		a.Script.Ladder = rapid.SampledFrom([]plan.Ladder{plan.Single(), plan.Exponential(time.Second, 4),
			plan.Custom(0, 100*time.Millisecond, 200*time.Millisecond)}).Draw(t, "ladder")
		a.Script.HopLimit = rapid.SampledFrom([]uint8{0, 0, 0, 1, 2, 3}).Draw(t, "hop limit")
		a.Script.Then.Close = rapid.SampledFrom([]plan.Closing{plan.Abort, plan.CloseFirst, plan.WaitForPeer}).Draw(t, "close")
		if rapid.Bool().Draw(t, "data") {
			a.Script.Then.Data = []byte("GET / HTTP/1.0\r\n\r\n")
		}
		b.Arms = append(b.Arms, a)
	}
	dsts := append(slices.Clone(w.Members), w.Target)
	for range rapid.IntRange(1, 12).Draw(t, "shots") {
		b.Shots = append(b.Shots, plan.Shot{
			Offset: time.Duration(rapid.IntRange(0, 2000).Draw(t, "offset ms")) * time.Millisecond,
			Arm:    rapid.IntRange(0, len(b.Arms)-1).Draw(t, "arm"),
			Flow:   wire.Flow{Dst: rapid.SampledFrom(dsts).Draw(t, "destination")},
		})
	}
	return b
}

// sound holds what is true of every observation.
func sound(t *rapid.T, b *plan.Burst, o *observe.Observation) {
	if len(o.Attempts) != len(b.Shots) {
		t.Fatalf("%d attempts of %d shots", len(o.Attempts), len(b.Shots))
	}
	if d := o.Finished.Sub(o.Started); d < 0 || d > b.Span()+time.Second {
		t.Fatalf("the burst took %s of %s", d, b.Span())
	}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		judged(t, a)
		if a.Outcome != observe.NotSent {
			ordered(t, o, a)
		}
	}
}

// judged holds that an attempt has one outcome, a reason where it wants one, and nothing negative.
func judged(t *rapid.T, a *observe.Attempt) {
	switch {
	case !slices.Contains(observe.Outcomes(), a.Outcome):
		t.Fatalf("attempt %d has no outcome: %s %q", a.Index, a.Outcome, a.Reason)
	case a.RTT < 0 || a.Handshake < 0 || a.Lost < 0 || a.Unseen < 0 || a.Retransmissions < 0:
		t.Fatalf("attempt %d is negative: RTT %s, handshake %s, lost %d, unseen %d, repeats %d", a.Index, a.RTT, a.Handshake, a.Lost, a.Unseen, a.Retransmissions)
	case a.Outcome == observe.NotSent && a.Reason == "":
		t.Fatalf("attempt %d was not sent for no reason", a.Index)
	case a.Outcome != observe.NotSent && a.Via == plan.Kernel && a.Kernel == nil:
		t.Fatalf("attempt %d has no kernel view", a.Index)
	}
}

// ordered holds that SYNs and answers come in the order of time, and no answer before its question.
func ordered(t *rapid.T, o *observe.Observation, a *observe.Attempt) {
	last := o.Started
	for _, s := range a.SYNs {
		if s.At.IsZero() {
			continue
		}
		if s.At.Before(last) {
			t.Fatalf("attempt %d: SYN at %s before %s", a.Index, s.At, last)
		}
		last = s.At
	}
	last = time.Time{}
	if len(a.SYNs) > 0 && o.CaptureDrops == 0 {
		last = a.SYNs[0].At
	}
	for _, ans := range a.Answers {
		if ans.At.Before(last) {
			t.Fatalf("attempt %d: answer at %s, what came before at %s", a.Index, ans.At, last)
		}
		last = ans.At
	}
}

// Any burst in any world, over IPv4 and IPv6: one outcome each, times in order, nothing stray in the tap's order, and the same again from
// the same seed.
func TestEveryWorld(t *testing.T) {
	for _, n := range fakenet.Catalogue() {
		t.Run(n.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				seed := rapid.Uint64().Draw(t, "seed")
				v6 := rapid.Bool().Draw(t, "IPv6")
				build := func() *fakenet.World {
					w := n.Make(seed)
					if v6 {
						w.IPv6()
					}
					return w
				}
				w, again := build(), build()
				var last time.Time
				w.Tap.Watch = func(at time.Time, _ bool, s *wire.Segment) {
					if at.Before(last) {
						t.Fatalf("the tap ran backwards: %s after %s", at, last)
					}
					last = at
					if s.Src.Addr().Is6() != v6 || s.Dst.Addr().Is6() != v6 || s.HopLimit == 0 {
						t.Fatalf("on the wire: %s", s)
					}
				}
				for range rapid.IntRange(1, 3).Draw(t, "bursts") {
					b := anyBurst(t, w)
					o, same := w.Run(b), again.Run(b)
					sound(t, &b, &o)
					if !reflect.DeepEqual(o, same) {
						t.Fatalf("not the same from the same seed (-first +second):\n%s",
							cmp.Diff(o, same, cmpopts.EquateComparable(wire.Options{}, netip.Addr{}, netip.AddrPort{})))
					}
					pause := time.Duration(rapid.IntRange(0, 100).Draw(t, "pause s")) * time.Second
					w.Wait(pause)
					again.Wait(pause)
				}
			})
		})
	}
}

// What a burst leaves half-open is gone when the listener's own patience ends: 63 s after the last SYN at the latest; and where no packet is
// lost or ignored, our resets end it at once.
func TestNothingLeftHalfOpen(t *testing.T) {
	patient := []string{"loss-5", "reordered", "ecmp-loss", "synack-loss", "accept-full", "accept-full-3rd-ack", "arp-server", "arp-both", "arp-3s", "remote-arp-dead", "local-loss",
		"capture-drops"}
	for _, n := range fakenet.Catalogue() {
		wait := 2 * time.Second
		if slices.Contains(patient, n.Name) {
			wait = 130 * time.Second
		}
		t.Run(n.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := n.Make(rapid.Uint64().Draw(t, "seed"))
				others := map[*fakenet.Listener]int{}
				for _, h := range w.Hosts {
					for _, l := range h.Ports {
						others[l] = l.HalfOpen
					}
				}
				w.Run(anyBurst(t, w))
				w.Wait(wait)
				for l, n := range others {
					if l.HalfOpen != n {
						t.Fatalf("a listener is left with %d half-open", l.HalfOpen-n)
					}
				}
			})
		})
	}
}
