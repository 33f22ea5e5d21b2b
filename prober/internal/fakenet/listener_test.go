package fakenet_test

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// synAcks lists when SYN-ACKs came, after the first of them.
func synAcks(a observe.Attempt) (after []time.Duration) {
	var first time.Time
	for _, ans := range a.Answers {
		if ans.Kind != observe.SYNACK {
			continue
		}
		if first.IsZero() {
			first = ans.At
		}
		after = append(after, ans.At.Sub(first))
	}
	return after
}

func onRungs(got []time.Duration, want ...time.Duration) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range want {
		if !near(got[i], want[i], want[i]/8+50*time.Millisecond) {
			return false
		}
	}
	return true
}

// The direction test's foundation: one SYN, never repeated; the listener repeats its SYN-ACK at 1, 3 and 7 s.
func TestSYNACKLadder(t *testing.T) {
	w := fakenet.Clean(1)
	if got := synAcks(one(w, script(1, plan.Ignore), 8*time.Second)); !onRungs(got, 0, time.Second, 3*time.Second, 7*time.Second) {
		t.Errorf("SYN-ACKs at %v", got)
	}
	w = fakenet.SYNCookies(1)
	if got := synAcks(one(w, script(1, plan.Ignore), 8*time.Second)); len(got) != 1 {
		t.Errorf("a cookie SYN-ACK is never repeated: %v", got)
	}
	w = fakenet.Clean(1)
	w.Run(raws(w, 16, script(1, plan.Ignore), 2*time.Second))
	if l := w.Hosts[0].Ports[80]; l.MostHalfOpen != 16 || l.HalfOpen != 0 {
		t.Errorf("half-open at most %d, want 16; after our resets %d, want 0", l.MostHalfOpen, l.HalfOpen)
	}
}

// A SYN that is repeated fast draws one more SYN-ACK in 500 ms, each echoing the first SYN. The first two SYN-ACKs are lost.
func TestRepeatedSYN(t *testing.T) {
	w, _ := fakenet.Server(1, fakenet.Drop(fakenet.Nth(fakenet.SYNACKs, 1, 2)))
	s := script(100, plan.Ignore)
	s.Clock.Hz = 1000
	s.Ladder = plan.Custom(0, 100*time.Millisecond, 200*time.Millisecond, 650*time.Millisecond)
	a := one(w, s, 900*time.Millisecond)
	if len(synAcks(a)) != 1 || !near(a.Handshake, 650*time.Millisecond, 2*time.Millisecond) {
		t.Errorf("SYN-ACKs at %v, the first after %s; want the one that answers the SYN at 650 ms", synAcks(a), a.Handshake)
	}
	for _, ans := range a.Answers {
		if ans.TSecr != 100 {
			t.Errorf("TSecr %d, want the first SYN's 100", ans.TSecr)
		}
	}
}

func TestAcceptQueue(t *testing.T) {
	t.Run("backlog 4: the first 5 find room, later SYNs are silent", func(t *testing.T) {
		w := fakenet.AcceptFull(1, 4)
		if got := outcomes(w.Run(connects(w, 5, time.Second))); got != "5 accepted" {
			t.Error(got)
		}
		for range 3 {
			if got := outcomes(w.Run(connects(w, 2, 900*time.Millisecond))); got != "2 timed_out" {
				t.Error(got)
			}
		}
		if h := w.Hosts[0]; h.Counters["TcpExt.ListenOverflows"] == 0 || h.Ports[80].Queued != 5 {
			t.Errorf("overflows %d, queued %d", h.Counters["TcpExt.ListenOverflows"], h.Ports[80].Queued)
		}
	})
	t.Run("a burst that fills it: our ACK is ignored and the SYN-ACK comes again", func(t *testing.T) {
		w := fakenet.Far(fakenet.AcceptFull(1, 4), 2500*time.Microsecond)
		w.Run(connects(w, 3, time.Second))
		s := script(1, plan.Acknowledge)
		s.Then = plan.Exchange{CloseDelay: 10 * time.Second, Close: plan.Abort}
		o := w.Run(raws(w, 5, s, 8*time.Second))
		again := 0
		for _, a := range o.Attempts {
			if got := synAcks(a); len(got) > 1 {
				again++
				if !onRungs(got, 0, time.Second, 3*time.Second, 7*time.Second) {
					t.Errorf("SYN-ACKs at %v", got)
				}
			}
		}
		if outcomes(o) != "5 accepted" || again != 3 {
			t.Errorf("%s, %d of them asked again, want 3", outcomes(o), again)
		}
	})
	t.Run("cookies while it fills: connected, and never heard of again", func(t *testing.T) {
		w := fakenet.Far(fakenet.AcceptFull(1, 1), 2500*time.Microsecond)
		o := w.Run(connects(w, 5, time.Second))
		w.Wait(10 * time.Millisecond)
		if outcomes(o) != "5 accepted" || w.Hosts[0].Ports[80].Queued != 2 {
			t.Errorf("%s, %d queued", outcomes(o), w.Hosts[0].Ports[80].Queued)
		}
	})
	t.Run("abort_on_overflow resets", func(t *testing.T) {
		w := fakenet.AbortOnOverflow(1, 4)
		w.Run(connects(w, 3, time.Second))
		s := script(1, plan.Acknowledge)
		s.Then = plan.Exchange{CloseDelay: time.Second, Close: plan.Abort}
		if got := outcomes(w.Run(raws(w, 5, s, 2*time.Second))); got != "2 accepted, 3 reset" {
			t.Error(got)
		}
	})
	t.Run("an application that accepts slowly catches up", func(t *testing.T) {
		w, h := fakenet.Server(1)
		h.Ports[80].Backlog, h.Ports[80].App.Every = 2, 200*time.Millisecond
		w.Run(connects(w, 3, time.Second))
		w.Wait(time.Second)
		if h.Ports[80].Queued != 0 {
			t.Errorf("%d still queued", h.Ports[80].Queued)
		}
	})
}

// Cookies on, half-opens left alone: the first backlog+1 SYN-ACKs repeat, the rest are single cookies.
func TestBacklogAsNumber(t *testing.T) {
	for _, backlog := range []int{1, 4, 9} {
		w := fakenet.CookiesOverBacklog(1, backlog)
		o := w.Run(raws(w, 16, script(1, plan.Ignore), 4*time.Second))
		for i, a := range o.Attempts {
			if repeats := len(synAcks(a)) - 1; (repeats == 2) != (i <= backlog) {
				t.Errorf("backlog %d, attempt %d: %d repeats", backlog, i, repeats)
			}
		}
	}
}

func TestSYNQueue(t *testing.T) {
	w := fakenet.SYNQueueFull(1, 64, 64)
	if got := outcomes(w.Run(connects(w, 5, 900*time.Millisecond))); got != "5 timed_out" {
		t.Error(got)
	}
	if n := w.Hosts[0].Counters["TcpExt.TCPReqQFullDrop"]; n != 5 {
		t.Errorf("TCPReqQFullDrop %d", n)
	}
	w = fakenet.SYNQueueFull(1, 64, 10)
	if got := outcomes(w.Run(connects(w, 5, 900*time.Millisecond))); got != "5 accepted" {
		t.Error("with room: " + got)
	}
}

func TestCookieConnects(t *testing.T) {
	w := fakenet.SYNCookies(1)
	s := script(1, plan.Acknowledge)
	s.Then = plan.Exchange{Data: []byte("GET /"), Close: plan.WaitForPeer}
	a := one(w, s, time.Second)
	if a.Outcome != observe.Accepted || !has(a, observe.Data) || !has(a, observe.FIN) {
		t.Errorf("%s, answers %v", a.Outcome, kinds(a))
	}
	if h := w.Hosts[0]; h.Counters["TcpExt.SyncookiesRecv"] != 1 || h.Ports[80].MostHalfOpen != 0 {
		t.Errorf("received %d, half-open %d", h.Counters["TcpExt.SyncookiesRecv"], h.Ports[80].MostHalfOpen)
	}
}

func kinds(a observe.Attempt) (all []string) {
	for _, ans := range a.Answers {
		all = append(all, ans.Kind.String())
	}
	return all
}

func has(a observe.Attempt, k observe.AnswerKind) bool {
	for _, ans := range a.Answers {
		if ans.Kind == k {
			return true
		}
	}
	return false
}

// TCP_DEFER_ACCEPT of 5 s: one SYN-ACK repeat near 7.3 s; data heal it.
func TestDeferAccept(t *testing.T) {
	s := script(1, plan.Acknowledge)
	s.Then = plan.Exchange{CloseDelay: 20 * time.Second, Close: plan.Abort}
	w := fakenet.DeferAccept(1)
	if got := synAcks(one(w, s, 9*time.Second)); !onRungs(got, 0, 7*time.Second) {
		t.Errorf("SYN-ACKs at %v", got)
	}
	s.Then.Data = []byte("GET / HTTP/1.0\r\n\r\n")
	a := one(w, s, 9*time.Second)
	if got := synAcks(a); len(got) != 1 || !has(a, observe.Data) {
		t.Errorf("with data: SYN-ACKs at %v, answers %v", got, kinds(a))
	}
}

func TestClosedPort(t *testing.T) {
	w := fakenet.Closed(1)
	for _, b := range []plan.Burst{connects(w, 3, time.Second), raws(w, 3, script(1, plan.Reset), time.Second)} {
		if got := outcomes(w.Run(b)); got != "3 refused" {
			t.Errorf("%s: %s", b.Arms[0].Name, got)
		}
	}
}

// A bare ACK of no connection draws an RST from a stack, open port or not.
func TestStrayACK(t *testing.T) {
	for name, w := range map[string]*fakenet.World{"open": fakenet.Clean(1), "closed": fakenet.Closed(1), "full": fakenet.AcceptFull(1, 1),
		"through a VIP": fakenet.CleanVIP(1, 3), "through a stateful filter": fakenet.Stateful(1)} {
		s := script(1, plan.Reset)
		s.First = wire.ACK
		if a := one(w, s, time.Second); !has(a, observe.RST) {
			t.Errorf("%s: %v", name, kinds(a))
		}
	}
}

func TestSlowSYNACK(t *testing.T) {
	w := fakenet.SlowSYNACK(1, 1300*time.Millisecond)
	for _, a := range w.Run(connects(w, 5, 5*time.Second)).Attempts {
		if a.Late != observe.LateAmbiguous && a.Late != observe.LateSlow || a.Answered != 0 || a.Retransmissions != 1 {
			t.Errorf("late %s, answered SYN %d after %d repeats", a.Late, a.Answered, a.Retransmissions)
		}
	}
}

func TestExchange(t *testing.T) {
	data := script(1, plan.Acknowledge)
	data.Then = plan.Exchange{Data: []byte("GET / HTTP/1.0\r\n\r\n"), Close: plan.WaitForPeer}
	t.Run("a web server answers and closes first", func(t *testing.T) {
		a := one(fakenet.Clean(1), data, time.Second)
		if !has(a, observe.Data) || !has(a, observe.FIN) || has(a, observe.RST) {
			t.Errorf("%v", kinds(a))
		}
	})
	t.Run("a proxy with a dead backend hangs", func(t *testing.T) {
		a := one(fakenet.FullProxy(1, 1, 1, false, false), data, time.Second)
		if a.Outcome != observe.Accepted || has(a, observe.Data) || has(a, observe.RST) {
			t.Errorf("%s %v", a.Outcome, kinds(a))
		}
	})
	t.Run("or resets", func(t *testing.T) {
		if a := one(fakenet.FullProxy(1, 1, 1, true, false), data, time.Second); a.Outcome != observe.Reset {
			t.Errorf("%s %v", a.Outcome, kinds(a))
		}
	})
	t.Run("large segments vanish, small ones pass", func(t *testing.T) {
		w := fakenet.MTUBlackhole(1, 1000)
		a := one(w, data, 8*time.Second)
		if a.Outcome != observe.Accepted || has(a, observe.Data) || !has(a, observe.BareACK) {
			t.Errorf("%v", kinds(a))
		}
		if w.Hosts[0].Counters["Tcp.RetransSegs"] < 4 {
			t.Errorf("the server repeated %d segments", w.Hosts[0].Counters["Tcp.RetransSegs"])
		}
		clamped := data
		clamped.Options = wire.LinuxSYN(500, 0, 7)
		if a := one(w, clamped, 8*time.Second); !has(a, observe.Data) {
			t.Errorf("with the MSS clamped: %v", kinds(a))
		}
	})
	t.Run("a lost FIN is repeated", func(t *testing.T) {
		w, _ := fakenet.Server(1, fakenet.Drop(fakenet.Nth(func(_ fakenet.Hop, p *fakenet.Packet) bool {
			return p.Dir == fakenet.Back && p.Seg.Flags&wire.FIN != 0
		}, 1, 2)))
		if a := one(w, data, 2*time.Second); !has(a, observe.FIN) {
			t.Errorf("%v", kinds(a))
		}
	})
}
