package fakenet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Only a late SYN-ACK is reverse loss; nothing ever is forward loss.
func TestDirectionOfLoss(t *testing.T) {
	w := fakenet.SYNLoss(1, 0.3)
	o := w.Run(raws(w, 400, script(1, plan.Reset), 8*time.Second))
	within(t, "SYNs lost", share(o), 400, 0.3)
	late := 0
	for _, a := range o.Attempts {
		if a.Handshake > 500*time.Millisecond {
			late++
		}
	}
	if late != 0 {
		t.Errorf("%d late SYN-ACKs under forward loss", late)
	}
	w = fakenet.SYNACKLoss(1, 0.3)
	late = 0
	o = w.Run(raws(w, 400, script(1, plan.Reset), 8*time.Second))
	for _, a := range o.Attempts {
		if a.Handshake > 500*time.Millisecond {
			late++
		}
	}
	within(t, "late SYN-ACKs", late, 400, 0.3)
	within(t, "never answered", share(o), 400, 0.3*0.3*0.3*0.3)
}

// 5 SYN/s, bursts of 5: a burst of ten leaves five; at 8.3 SYN/s of connects that repeat, most fail.
func TestRateLimit(t *testing.T) {
	w := fakenet.RateLimit(1, 5, 5)
	if bad := share(w.Run(raws(w, 10, script(1, plan.Reset), 100*time.Millisecond))); bad != 5 {
		t.Errorf("a burst of 10 lost %d", bad)
	}
	w.Wait(10 * time.Second)
	b := raws(w, 100, script(1, plan.Reset), 100*time.Millisecond)
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 100 * time.Millisecond
	}
	if ok := 100 - share(w.Run(b)); ok < 52 || ok > 56 {
		t.Errorf("single SYNs at 10/s: %d of 100 answered, want the bucket and 5 a second", ok)
	}
	w.Wait(10 * time.Second)
	b = connects(w, 200, 5*time.Second)
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * time.Second * 10 / 83
	}
	first := 0
	for _, a := range w.Run(b).Attempts {
		if a.Outcome == observe.Accepted && a.Retransmissions == 0 {
			first++
		}
	}
	if first > 80 {
		t.Errorf("connects at 8.3/s against 5/s: %d of 200 at their first SYN; repeats should have eaten the tokens", first)
	}
	w.Wait(10 * time.Second)
	b = connects(w, 40, 5*time.Second)
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 250 * time.Millisecond
	}
	if bad := share(w.Run(b)); bad != 0 {
		t.Errorf("below the rate %d lost", bad)
	}
}

// One of two ways loses half: flows are either clean or partly lost, and keep to their way.
func TestECMP(t *testing.T) {
	w := fakenet.ECMPLoss(1, 2, 0.5)
	s := script(1, plan.Ignore)
	bad := map[netip.AddrPort]int{}
	b := raws(w, 60, s, 300*time.Millisecond)
	for range 10 {
		o := w.Run(b)
		for i, a := range o.Attempts {
			b.Shots[i].Flow.Src = a.Flow.Src
			if a.Outcome != observe.Accepted {
				bad[a.Flow.Src]++
			}
		}
		w.Wait(130 * time.Second)
	}
	within(t, "flows ever lost", len(bad), 60, 0.5)
	for src, n := range bad {
		if n == 10 {
			t.Errorf("flow %s is lost always; loss should be partial", src)
		}
	}
}

// A walk: each hop answers the SYN whose hop limit ends there, up to the filter.
func TestWalk(t *testing.T) {
	for _, admin := range []bool{false, true} {
		w := fakenet.ACL(1, admin)
		var from []string
		for hops := uint8(1); hops <= 4; hops++ {
			s := script(1, plan.Reset)
			s.HopLimit = hops
			a := one(w, s, 300*time.Millisecond)
			if len(a.Answers) == 0 {
				from = append(from, "silent")
				continue
			}
			from = append(from, a.Answers[0].From.String()+" "+a.Answers[0].ICMPName)
		}
		want := []string{"192.0.2.1 ttl_exceeded", "203.0.113.1 ttl_exceeded", "silent", "silent"}
		if admin {
			want[2], want[3] = "203.0.113.1 admin_prohibited", "203.0.113.1 admin_prohibited"
		}
		for i := range want {
			if from[i] != want[i] {
				t.Errorf("prohibited by ICMP %t: %q, want %q", admin, from, want)
				break
			}
		}
		kernel := w.Run(connects(w, 1, 900*time.Millisecond)).Attempts[0]
		if admin && (kernel.Outcome != observe.Unreachable || kernel.Kernel.Errno != "EHOSTUNREACH") || !admin && kernel.Outcome != observe.TimedOut {
			t.Errorf("prohibited by ICMP %t: kernel %s %q", admin, kernel.Outcome, kernel.Reason)
		}
		b := connects(w, 1, time.Second)
		b.Shots[0].Flow.Dst = netip.AddrPortFrom(w.Target.Addr(), 443)
		if got := outcomes(w.Run(b)); got != "1 accepted" {
			t.Errorf("another port: %s", got)
		}
	}
}

// An nft DNAT answers TTL 1 beyond the router in the VIP's name.
func TestWalkStopsAtVIP(t *testing.T) {
	w := fakenet.CleanVIP(1, 2)
	s := script(1, plan.Reset)
	s.HopLimit = 2
	if a := one(w, s, 300*time.Millisecond); len(a.Answers) != 1 || a.Answers[0].From != w.Target.Addr() || a.Answers[0].ICMPName != "ttl_exceeded" {
		t.Errorf("%+v", a.Answers)
	}
}

func TestReversePathFilter(t *testing.T) {
	w := fakenet.RPFilter(1)
	b := raws(w, 3, script(1, plan.Reset), 300*time.Millisecond)
	if got := outcomes(w.Run(b)); got != "3 timed_out" {
		t.Error(got)
	}
	for i := range b.Shots {
		b.Shots[i].Flow.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 11}), 0)
	}
	if got := outcomes(w.Run(b)); got != "3 accepted" {
		t.Errorf("from a local source: %s", got)
	}
}

func TestTimestampsOnTheWay(t *testing.T) {
	s := script(777, plan.Reset)
	t.Run("stripped", func(t *testing.T) {
		w := fakenet.TSStripped(1)
		if a := one(w, s, time.Second); a.Outcome != observe.Accepted || a.Answers[0].HasTS {
			t.Errorf("%+v", a.Answers)
		}
		if got := outcomes(w.Run(connects(w, 3, time.Second))); got != "3 accepted" {
			t.Error(got)
		}
	})
	t.Run("rewritten one way: the raw arm is answered, the kernel rejects", func(t *testing.T) {
		w := fakenet.TSRewritten(1)
		if a := one(w, s, time.Second); a.Outcome != observe.Accepted || a.Answers[0].TSecr == 777 {
			t.Errorf("%+v", a.Answers)
		}
		o := w.Run(connects(w, 3, 2500*time.Millisecond))
		if outcomes(o) != "3 timed_out" || o.Counters["TcpExt.PAWSActive"] == 0 {
			t.Errorf("%s, PAWSActive %d", outcomes(o), o.Counters["TcpExt.PAWSActive"])
		}
	})
	t.Run("rewritten both ways: nothing shows", func(t *testing.T) {
		w := fakenet.TSNormalized(1)
		if a := one(w, s, time.Second); a.Outcome != observe.Accepted || a.Answers[0].TSecr != 777 {
			t.Errorf("%+v", a.Answers)
		}
		if got := outcomes(w.Run(connects(w, 3, time.Second))); got != "3 accepted" {
			t.Error(got)
		}
	})
}

func TestShape(t *testing.T) {
	w, _ := fakenet.Server(1, &fakenet.Shape{Each: 10 * time.Millisecond, Depth: 45 * time.Millisecond, Match: fakenet.SYNs})
	o := w.Run(raws(w, 10, script(1, plan.Reset), time.Second))
	if bad := share(o); bad != 5 {
		t.Errorf("%d of 10 dropped, want those that would wait more than 45 ms", bad)
	}
	if a := o.Attempts[4]; !near(a.RTT, 50*time.Millisecond, 2*time.Millisecond) {
		t.Errorf("the fifth waited %s", a.RTT)
	}
}
