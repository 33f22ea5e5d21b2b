package fakenet_test

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The figures of a real 3.10: with T0 recorded, which TSvals are silent.
func TestOneTickFlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		t0 := wire.TSval(rapid.Uint32().Draw(t, "T0"))
		w := fakenet.RecycleDirect(rapid.Uint64().Draw(t, "seed"), rapid.Bool().Draw(t, "no TS dropped"))
		if !answered(w, t0) || !prime(w, t0) {
			t.Fatal("the server is to answer and to close first")
		}
		for _, c := range []struct {
			off  int64
			want bool
		}{{-100000, false}, {-2, false}, {-1, true}, {0, true}, {1, true}, {100000, true}, {1<<31 - 5, true}, {-1<<31 + 5, false}, {-2, false}} {
			if got := answered(w, t0.Add(c.off)); got != c.want {
				t.Errorf("T0 %+d: answered %t", c.off, got)
			}
		}
		if n := w.Hosts[0].Counters["TcpExt.PAWSPassive"]; n != 4 {
			t.Errorf("PAWSPassive %d, want 4", n)
		}
	})
}

func TestRecycleScope(t *testing.T) {
	w := fakenet.RecycleDirect(1, true)
	prime(w, 1000)
	shoot := func(src netip.Addr, port uint16) observe.Outcome {
		b := raws(w, 1, script(900, plan.Reset), 100*time.Millisecond)
		b.Shots[0].Flow = wire.Flow{Src: netip.AddrPortFrom(src, 0), Dst: netip.AddrPortFrom(w.Target.Addr(), port)}
		return w.Run(b).Attempts[0].Outcome
	}
	w.Hosts[0].Ports[443] = fakenet.NewListener()
	other := netip.AddrFrom4([4]byte{192, 0, 2, 99})
	for _, c := range []struct {
		story string
		src   netip.Addr
		port  uint16
		want  observe.Outcome
	}{
		{"the primed address", w.Client.Source, 80, observe.TimedOut},
		{"another open port", w.Client.Source, 443, observe.TimedOut},
		{"a closed port", w.Client.Source, 9, observe.Refused},
		{"another source address", other, 80, observe.Accepted},
	} {
		if got := shoot(c.src, c.port); got != c.want {
			t.Errorf("%s: %s, want %s", c.story, got, c.want)
		}
	}
}

func TestRecycleForgetsAfter60s(t *testing.T) {
	w := fakenet.RecycleDirect(1, true)
	prime(w, 1000)
	stamp := w.Now().Unix()
	w.Wait(time.Unix(stamp+59, 0).Sub(w.Now()))
	if answered(w, 900) {
		t.Error("answered 59 s later")
	}
	w.Wait(time.Unix(stamp+60, 0).Sub(w.Now()))
	if !answered(w, 900) {
		t.Error("still silent 60 s later")
	}
}

func TestSYNWithoutTimestamps(t *testing.T) {
	for _, dropped := range []bool{true, false} {
		w := fakenet.RecycleDirect(1, dropped)
		bare := plan.Script{Options: wire.LinuxSYNWithoutTimestamps(1460, 7), Ladder: plan.Single(), OnSYNACK: plan.Reset}
		if one(w, bare, 100*time.Millisecond).Outcome != observe.Accepted {
			t.Error("refused before anything was remembered")
		}
		prime(w, 1000)
		if got := one(w, bare, 100*time.Millisecond).Outcome == observe.Accepted; got == dropped {
			t.Errorf("kernel that drops them: %t; answered: %t", dropped, got)
		}
	}
}

// What records and what does not, as seen on 3.10.0-1160 and 2.6.32-431.
func TestWhatRecords(t *testing.T) {
	get := []byte("GET /")
	for _, c := range []struct {
		story string
		app   fakenet.App
		then  plan.Exchange
		react plan.Reaction
		want  bool
	}{
		{"server closes first, with data", fakenet.HTTP(), plan.Exchange{Data: get, Close: plan.WaitForPeer}, plan.Acknowledge, true},
		{"server closes first, without data", fakenet.App{Close: fakenet.CloseAtOnce}, plan.Exchange{Close: plan.WaitForPeer}, plan.Acknowledge, true},
		{"its FIN is acknowledged, ours comes late", fakenet.App{Close: fakenet.CloseAtOnce},
			plan.Exchange{Close: plan.WaitForPeer, CloseDelay: 500 * time.Millisecond}, plan.Acknowledge, true},
		{"client closes first", fakenet.App{}, plan.Exchange{Close: plan.CloseFirst}, plan.Acknowledge, false},
		{"client resets", fakenet.App{}, plan.Exchange{Close: plan.Abort}, plan.Acknowledge, false},
		{"server resets", fakenet.App{Close: fakenet.ResetOnData}, plan.Exchange{Data: get, Close: plan.WaitForPeer}, plan.Acknowledge, false},
		{"half-open", fakenet.HTTP(), plan.Exchange{}, plan.Reset, false},
	} {
		w := fakenet.RecycleDirect(1, true)
		h := w.Hosts[0]
		h.Ports[80].App = c.app
		s := script(1000, c.react)
		s.Then = c.then
		one(w, s, 200*time.Millisecond)
		val, got := h.Recycle.Remembered(w, w.Client.Source)
		if got != c.want || got && val != 1000 {
			t.Errorf("%s: remembered %t (%d), want %t", c.story, got, val, c.want)
		}
	}
	w := fakenet.RecycleDirect(1, true)
	s := plan.Script{Options: wire.LinuxSYNWithoutTimestamps(1460, 7), Ladder: plan.Single(), OnSYNACK: plan.Acknowledge,
		Then: plan.Exchange{Data: get, Close: plan.WaitForPeer}}
	one(w, s, 200*time.Millisecond)
	if _, got := w.Hosts[0].Recycle.Remembered(w, w.Client.Source); got {
		t.Error("a server-first close without timestamps recorded")
	}
}

func TestRunningMaximum(t *testing.T) {
	w := fakenet.RecycleDirect(1, true)
	for _, c := range []struct{ val, want wire.TSval }{{1000, 1000}, {1500, 1500}, {1499, 1500}} {
		prime(w, c.val)
		if got, _ := w.Hosts[0].Recycle.Remembered(w, w.Client.Source); got != c.want {
			t.Errorf("after a connection with %d: %d remembered, want %d", c.val, got, c.want)
		}
	}
}

// For any X exactly two adjacent quadrants are refused (all but two values of X in 2³²).
func TestQuadrants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := wire.TSval(rapid.Uint32().Draw(t, "a"))
		x := wire.TSval(rapid.Uint32().Draw(t, "X"))
		w := fakenet.RecycleDirect(1, true)
		w.Hosts[0].Recycle.Remember(w, w.Client.Source, x)
		var refused [4]bool
		n := 0
		for k := range 4 {
			if refused[k] = !answered(w, a.Add(int64(k)<<30)); refused[k] {
				n++
			}
		}
		if d := uint32(x-a) % (1 << 30); d > 1 && (n != 2 || refused[0] == refused[2] || refused[1] == refused[3]) {
			t.Errorf("X−a %d: refused %v", x.Sub(a), refused)
		}
	})
}

// Two clients behind one SNAT keep the memory moving; only poisoned members refuse.
func TestRecycleBehindVIP(t *testing.T) {
	w := fakenet.RecycleVIP(3, 2, 1)
	w.Wait(5 * time.Second)
	x, ok := w.Hosts[0].Recycle.Remembered(w, netip.AddrFrom4([4]byte{10, 1, 255, 1}))
	if !ok {
		t.Fatal("nothing remembered for the SNAT address")
	}
	refused := map[bool]int{}
	for _, old := range []bool{true, false} {
		v := x.Add(1 << 20)
		if old {
			v = x.Add(-1 << 20)
		}
		for _, a := range w.Run(raws(w, 40, script(v, plan.Reset), 200*time.Millisecond)).Attempts {
			if a.Outcome != observe.Accepted {
				refused[old]++
			}
		}
	}
	if refused[false] != 0 || refused[true] < 10 || refused[true] > 30 {
		t.Errorf("refused: %d of 40 old, %d of 40 new", refused[true], refused[false])
	}
	y, _ := w.Hosts[0].Recycle.Remembered(w, netip.AddrFrom4([4]byte{10, 1, 255, 1}))
	w.Wait(10 * time.Second)
	if z, _ := w.Hosts[0].Recycle.Remembered(w, netip.AddrFrom4([4]byte{10, 1, 255, 1})); z.Sub(y) < 9000 || z.Sub(y) > 11000 {
		t.Errorf("the memory moved by %d ticks in 10 s of a 1000 Hz clock", z.Sub(y))
	}
}

func TestClockConflict(t *testing.T) {
	for _, c := range []struct {
		story  string
		w      *fakenet.World
		silent bool
	}{
		{"one SNAT address, business ahead", fakenet.ClockConflict(1, 500_000_000, true, true), true},
		{"an address of its own", fakenet.ClockConflict(1, 500_000_000, false, true), false},
		{"business behind", fakenet.ClockConflict(1, -500_000_000, true, true), false},
	} {
		c.w.Wait(2 * time.Second)
		o := c.w.Run(connects(c.w, 5, 900*time.Millisecond))
		if got := outcomes(o) == "5 timed_out"; got != c.silent {
			t.Errorf("%s: %s", c.story, outcomes(o))
		}
	}
}

// With cookies in force the check is not made.
func TestCookiesHideRecycle(t *testing.T) {
	w := fakenet.RecycleDirect(1, true)
	prime(w, 1000)
	w.Hosts[0].Ports[80].Cookies = fakenet.CookiesAlways
	if !answered(w, 900) {
		t.Error("silent in spite of cookies")
	}
}

func TestSurveySeesBusiness(t *testing.T) {
	w := fakenet.RandomTSClient(1)
	o := w.Run(plan.Burst{Kind: plan.KindSurvey, Listen: 5 * time.Second})
	if n := len(o.Foreign); n < 15 || n > 25 {
		t.Fatalf("%d SYNs of others in 5 s, want about 20", n)
	}
	for i, f := range o.Foreign {
		if f.Flow.Src.Addr() != w.Client.Source || f.Flow.Dst != w.Target || i > 0 && f.At.Before(o.Foreign[i-1].At) {
			t.Errorf("%+v", f)
		}
	}
}

// A client with random timestamps meets a recycle server without NAT: about half of its new ports fail, and its raw SYNs with a TSval just
// above the remembered one do not.
func TestRandomTimestampsMeetRecycle(t *testing.T) {
	w := fakenet.RandomTSClient(5)
	lost, n := 0, 0
	for range 20 {
		w.Wait(10 * time.Second)
		o := w.Run(connects(w, 20, 900*time.Millisecond))
		lost, n = lost+share(o), n+len(o.Attempts)
	}
	if lost < n/4 || lost > n*3/4 {
		t.Errorf("%d of %d lost, want about half", lost, n)
	}
	x, _ := w.Hosts[0].Recycle.Remembered(w, w.Client.Source)
	if !answered(w, x.Add(1<<20)) {
		t.Error("a TSval above the remembered one is silent")
	}
}
