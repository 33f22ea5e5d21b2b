package fakenet_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// connects is a burst of n kernel connects at once.
func connects(w *fakenet.World, n int, listen time.Duration) plan.Burst {
	b := plan.Burst{Kind: plan.KindConnect, Listen: listen, Arms: []plan.Arm{{Name: "kernel", Via: plan.Kernel,
		Script: plan.Script{Ladder: w.Client.Ladder.Until(listen), Then: plan.Exchange{Close: plan.Abort}}}}}
	for range n {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Dst: w.Target}})
	}
	return b
}

// script is a single SYN as Linux sends it, with a TSval that stands still.
func script(val wire.TSval, r plan.Reaction) plan.Script {
	return plan.Script{Options: wire.LinuxSYN(1460, 0, 7), Clock: plan.TSClock{Start: val}, Ladder: plan.Single(), OnSYNACK: r}
}

// raws is a burst of n raw shots at once, lingering to the end of listen.
func raws(w *fakenet.World, n int, s plan.Script, listen time.Duration) plan.Burst {
	b := plan.Burst{Kind: plan.KindSYN, Listen: listen, Linger: true, Arms: []plan.Arm{{Name: "raw", Via: plan.Raw, Script: s}}}
	for range n {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Dst: w.Target}})
	}
	return b
}

// one is the only attempt of a burst with one raw shot.
func one(w *fakenet.World, s plan.Script, listen time.Duration) observe.Attempt {
	return w.Run(raws(w, 1, s, listen)).Attempts[0]
}

// answered reports whether a single SYN with this TSval is answered.
func answered(w *fakenet.World, val wire.TSval) bool {
	return one(w, script(val, plan.Reset), 100*time.Millisecond).Outcome == observe.Accepted
}

// prime makes one connection with a TSval that the server closes first, and reports whether the close was seen.
func prime(w *fakenet.World, val wire.TSval) bool {
	s := script(val, plan.Acknowledge)
	s.Then = plan.Exchange{Data: []byte("GET / HTTP/1.0\r\n\r\n"), Close: plan.WaitForPeer}
	for _, ans := range one(w, s, 100*time.Millisecond).Answers {
		if ans.Kind == observe.FIN {
			return true
		}
	}
	return false
}

// outcomes counts attempts: "3 accepted, 7 timed_out".
func outcomes(o observe.Observation) string {
	n := map[observe.Outcome]int{}
	for i := range o.Attempts {
		n[o.Attempts[i].Outcome]++
	}
	var parts []string
	for _, k := range append(observe.Outcomes(), observe.OutcomeUnknown) {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	return strings.Join(parts, ", ")
}

// sent is one segment as the tap saw it, after Watch.
type sent struct {
	at  time.Duration
	out bool
	seg wire.Segment
}

// watch records what passes the tap.
func watch(w *fakenet.World) *[]sent {
	var all []sent
	zero := w.Now()
	w.Tap.Watch = func(at time.Time, out bool, s *wire.Segment) { all = append(all, sent{at.Sub(zero), out, *s}) }
	return &all
}

// count is how many segments with exactly these flags passed in one direction within [from, to).
func count(all []sent, out bool, flags wire.Flags, from, to time.Duration) int {
	n := 0
	for _, s := range all {
		if s.out == out && s.seg.Flags == flags && s.at >= from && s.at < to {
			n++
		}
	}
	return n
}

const synAck = wire.SYN | wire.ACK

func TestCleanServer(t *testing.T) {
	for name, w := range map[string]*fakenet.World{
		"IPv4": fakenet.Clean(1), "IPv6": fakenet.Clean(1).IPv6(), "VIP": fakenet.CleanVIP(1, 3), "VIP over IPv6": fakenet.CleanVIP(1, 3).IPv6(),
	} {
		full := script(7, plan.Acknowledge)
		full.Then.Close = plan.CloseFirst
		for _, b := range []plan.Burst{connects(w, 10, time.Second), raws(w, 10, script(7, plan.Reset), time.Second), raws(w, 10, full, time.Second)} {
			o := w.Run(b)
			if got := outcomes(o); got != "10 accepted" {
				t.Errorf("%s, %s: %s", name, b.Arms[0].Name, got)
			}
			for _, a := range o.Attempts {
				if a.RTT < 500*time.Microsecond || a.RTT > time.Millisecond || a.Retransmissions != 0 || a.Clock != observe.TapClock {
					t.Errorf("%s, %s: RTT %s by %s, %d repeats", name, b.Arms[0].Name, a.RTT, a.Clock, a.Retransmissions)
				}
			}
			if len(o.Strays) > 0 || o.Parity.State != observe.ParitySame {
				t.Errorf("%s, %s: strays %v, parity %s", name, b.Arms[0].Name, o.Strays, o.Parity)
			}
		}
		for i, h := range w.Hosts {
			if l := h.Ports[80]; l.HalfOpen != 0 || l.Queued != 0 {
				t.Errorf("%s: host %d is left with %d half-open, %d queued", name, i, l.HalfOpen, l.Queued)
			}
		}
	}
}

// The kernel's ladder: SYNs 1, 2 or 3 of every connect lost, under both kinds of ladder; TCP_INFO and capture agree.
func TestLostSYNs(t *testing.T) {
	for _, ladder := range []plan.Ladder{plan.Linear(time.Second, 4, 10), plan.Exponential(time.Second, 6), plan.Exponential(3*time.Second, 5)} {
		for lost := range 4 {
			var nth []int
			for k := range lost {
				nth = append(nth, k+1)
			}
			w := fakenet.NthSYN(uint64(lost), nth...)
			w.Client.Ladder = ladder
			o := w.Run(connects(w, 3, 30*time.Second))
			for _, a := range o.Attempts {
				due := ladder.At[lost]
				if a.Outcome != observe.Accepted || a.Lost != lost || a.Retransmissions != lost || a.Unseen != 0 || a.Answered != lost {
					t.Errorf("%s, %d lost: %s, lost %d by %s, unseen %d, answered SYN %d", ladder.Name, lost, a.Outcome, a.Lost, a.LostBy, a.Unseen, a.Answered)
				}
				if a.Handshake < due || a.Handshake > due+due/8+50*time.Millisecond {
					t.Errorf("%s, %d lost: handshake %s, window from %s", ladder.Name, lost, a.Handshake, due)
				}
				if a.Kernel.Info.RTT > 2*time.Millisecond {
					t.Errorf("%s, %d lost: TCP_INFO's rtt is %s", ladder.Name, lost, a.Kernel.Info.RTT)
				}
			}
			if got := o.Counters["TcpExt.TCPSynRetrans"]; got != int64(3*lost) {
				t.Errorf("%s, %d lost: TCPSynRetrans %d", ladder.Name, lost, got)
			}
		}
	}
}

func TestKernelGivesUp(t *testing.T) {
	w := fakenet.NthSYN(1, 1, 2, 3, 4)
	w.Client.Ladder = plan.Exponential(time.Second, 2)
	a := w.Run(connects(w, 1, time.Minute)).Attempts[0]
	if a.Outcome != observe.TimedOut || a.Kernel.Errno != "ETIMEDOUT" || len(a.SYNs) != 3 || a.Lost != 3 {
		t.Errorf("%s, errno %q, %d SYNs, %d lost", a.Outcome, a.Kernel.Errno, len(a.SYNs), a.Lost)
	}
	if got := w.Elapsed(); got < 7*time.Second || got > 8*time.Second {
		t.Errorf("gave up after %s, want 7 s and the wheel's granules", got)
	}
}

func TestSelf(t *testing.T) {
	t.Run("no capture: raw shots are not sent, TCP_INFO alone counts", func(t *testing.T) {
		w := fakenet.Unprivileged(1)
		if o := w.Run(raws(w, 2, script(1, plan.Reset), time.Second)); outcomes(o) != "2 not_sent" || o.Captured {
			t.Errorf("raw: %s, captured %t", outcomes(o), o.Captured)
		}
		if o := w.Run(connects(w, 2, time.Second)); outcomes(o) != "2 accepted" || len(o.Unmeasured) == 0 || len(o.Attempts[0].SYNs) != 0 {
			t.Errorf("kernel: %s", outcomes(o))
		}
	})
	t.Run("local NAT: the raw arm does not apply", func(t *testing.T) {
		w := fakenet.LocalDNAT(1)
		o := w.Run(connects(w, 1, time.Second))
		if outcomes(o) != "1 accepted" || o.Parity.State != observe.ParityDiffers {
			t.Errorf("kernel: %s, parity %+v", outcomes(o), o.Parity)
		}
		o = w.Run(raws(w, 1, script(1, plan.Reset), time.Second))
		if a := o.Attempts[0]; a.Outcome != observe.NotSent || !strings.HasPrefix(a.Reason, "not_applicable: local path differs") {
			t.Errorf("raw: %s %q", a.Outcome, a.Reason)
		}
	})
	t.Run("a ring that drops frames says so", func(t *testing.T) {
		w := fakenet.CaptureDrops(1, 0.3)
		o := w.Run(connects(w, 50, time.Second))
		if outcomes(o) != "50 accepted" || o.CaptureDrops == 0 {
			t.Errorf("%s, %d drops", outcomes(o), o.CaptureDrops)
		}
		if again := w.Run(connects(w, 50, time.Second)).CaptureDrops; again > 100 {
			t.Errorf("the second burst reports %d drops of its own", again)
		}
	})
	t.Run("a stepped clock shows once", func(t *testing.T) {
		w := fakenet.ClockStep(1, 300*time.Microsecond, -3*time.Second)
		first, second := w.Run(connects(w, 1, time.Second)).ClockStep, w.Run(connects(w, 1, time.Second)).ClockStep
		if first != -3*time.Second || second != 0 {
			t.Errorf("steps %s, %s", first, second)
		}
	})
	t.Run("SYNs lost inside the host are unseen, and refused raw ones a local drop", func(t *testing.T) {
		w := fakenet.LocalLoss(1, 1)
		for _, b := range []plan.Burst{connects(w, 3, 2500*time.Millisecond), raws(w, 3, script(1, plan.Reset), time.Second)} {
			if got := outcomes(w.Run(b)); got != "3 local_drop" {
				t.Errorf("%s: %s", b.Arms[0].Name, got)
			}
		}
	})
}

// A SYN-ACK that comes after its burst is over is reset, for as long as the flow is in quarantine.
func TestLateSYNACK(t *testing.T) {
	w := fakenet.SlowSYNACK(1, 1300*time.Millisecond)
	seen := watch(w)
	if a := one(w, script(1, plan.Reset), 500*time.Millisecond); a.Outcome != observe.TimedOut {
		t.Errorf("%s", a.Outcome)
	}
	w.Wait(2 * time.Second)
	if n := count(*seen, true, wire.RST, time.Second, 3*time.Second); n == 0 || w.Hosts[0].Ports[80].HalfOpen != 0 {
		t.Errorf("%d resets, %d half-open", n, w.Hosts[0].Ports[80].HalfOpen)
	}
}

// The plan may name a port: within the prober's own, and not of a raw flow in quarantine.
func TestAskedPort(t *testing.T) {
	w := fakenet.Clean(1)
	for _, c := range []struct {
		story string
		via   plan.Via
		port  uint16
		wait  time.Duration
		want  observe.Outcome
	}{
		{"outside of what the capture sees", plan.Raw, 4000, 0, observe.NotSent},
		{"a raw port", plan.Raw, 30000, 0, observe.Accepted},
		{"again at once", plan.Raw, 30000, 0, observe.NotSent},
		{"by the kernel", plan.Kernel, 30000, 0, observe.NotSent},
		{"after the quarantine", plan.Raw, 30000, 121 * time.Second, observe.Accepted},
		{"a kernel port", plan.Kernel, 21000, 0, observe.Accepted},
		{"again, on purpose", plan.Kernel, 21000, time.Second, observe.Accepted},
	} {
		w.Wait(c.wait)
		b := raws(w, 1, script(1, plan.Reset), 50*time.Millisecond)
		b.Arms[0].Via = c.via
		b.Shots[0].Flow.Src = netip.AddrPortFrom(netip.Addr{}, c.port)
		if a := w.Run(b).Attempts[0]; a.Outcome != c.want {
			t.Errorf("%s: %s %q, want %s", c.story, a.Outcome, a.Reason, c.want)
		}
	}
}

// Where fresh ports do not suffice nothing of the burst is sent.
func TestTooFewPorts(t *testing.T) {
	w := fakenet.Clean(1)
	w.Client.Ports = plan.PortRange{Lo: 20000, Hi: 20019}
	if got := outcomes(w.Run(connects(w, 11, time.Second))); got != "11 not_sent" || w.SYNs != 0 {
		t.Errorf("%s, %d SYNs", got, w.SYNs)
	}
	w = fakenet.Clean(1)
	w.Client.Ports = plan.PortRange{Lo: 20000, Hi: 20019}
	if got := outcomes(w.Run(connects(w, 10, time.Second))); got != "10 accepted" || w.SYNs != 10 {
		t.Errorf("%s, %d SYNs", got, w.SYNs)
	}
}

// The engine's own connect comes before raw shots, once in ten seconds.
func TestScout(t *testing.T) {
	w := fakenet.Clean(1)
	w.Client.Scout = true
	seen := watch(w)
	for range 3 {
		w.Run(raws(w, 2, script(1, plan.Reset), 100*time.Millisecond))
	}
	if n := count(*seen, true, wire.SYN, 0, time.Hour); n != 7 {
		t.Errorf("%d SYNs, want 6 and one scout", n)
	}
}

func BenchmarkBurstOf10(b *testing.B) {
	for _, via := range []string{"kernel", "raw"} {
		b.Run(via, func(b *testing.B) {
			w := fakenet.Clean(1)
			burst := connects(w, 10, time.Second)
			if via == "raw" {
				burst = raws(w, 10, script(1, plan.Reset), 10*time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.Run(burst)
				w.Wait(time.Second)
			}
		})
	}
}
