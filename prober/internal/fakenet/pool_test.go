package fakenet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// share is how many attempts of a burst were not accepted.
func share(o observe.Observation) (bad int) {
	for i := range o.Attempts {
		if o.Attempts[i].Outcome != observe.Accepted {
			bad++
		}
	}
	return bad
}

func within(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	// five standard deviations of a binomial, and then some
	if d := float64(got) - p*float64(n); d*d > 25*float64(n)*p*(1-p)+4 {
		t.Errorf("%s: %d of %d, want about %.0f", what, got, n, p*float64(n))
	}
}

// One of n swallows everything: the share is 1/n, and a flow that was lost is lost again.
func TestBlackhole(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		w := fakenet.Blackhole(uint64(n), n)
		b := raws(w, 200, script(1, plan.Reset), 300*time.Millisecond)
		first := w.Run(b)
		within(t, "lost", share(first), 200, 1/float64(n))
		for i := range b.Shots {
			b.Shots[i].Flow.Src = first.Attempts[i].Flow.Src
		}
		w.Wait(130 * time.Second)
		for i, a := range w.Run(b).Attempts {
			if a.Outcome != first.Attempts[i].Outcome {
				t.Errorf("n=%d: flow %s: %s and then %s", n, a.Flow, first.Attempts[i].Outcome, a.Outcome)
			}
		}
		w.Wait(130 * time.Second)
		for k, m := range w.Members {
			b := raws(w, 5, script(1, plan.Reset), 300*time.Millisecond)
			for i := range b.Shots {
				b.Shots[i].Flow.Dst = m
			}
			if bad := share(w.Run(b)); bad != 0 && k > 0 || bad != 5 && k == 0 {
				t.Errorf("n=%d: member %d directly: %d of 5 lost", n, k, bad)
			}
		}
	}
}

func TestRoundRobin(t *testing.T) {
	w := fakenet.BlackholeRoundRobin(1, 4)
	if bad := share(w.Run(raws(w, 40, script(1, plan.Reset), 300*time.Millisecond))); bad != 10 {
		t.Errorf("%d of 40 lost, want exactly every fourth", bad)
	}
}

func TestRefusing(t *testing.T) {
	w := fakenet.Refusing(1, 3)
	refused := 0
	for _, a := range w.Run(connects(w, 100, time.Second)).Attempts {
		if a.Outcome == observe.Refused {
			refused++
		}
	}
	within(t, "refused", refused, 100, 1./3)
}

func TestMixedMembers(t *testing.T) {
	w := fakenet.Mixed(1, 4)
	looks := map[string]int{}
	for _, a := range w.Run(raws(w, 100, script(1, plan.Reset), 300*time.Millisecond)).Attempts {
		looks[a.Answers[0].Options.String()[:8]]++
		looks["hops"] |= int(a.Answers[0].HopLimit)
	}
	if len(looks) < 3 {
		t.Errorf("SYN-ACKs look alike: %v", looks)
	}
}

// The balancer resets the client when the member has been silent for so long.
func TestLateReset(t *testing.T) {
	w := fakenet.LateReset(1, 15*time.Second)
	a := one(w, script(1, plan.Reset), 20*time.Second)
	if len(a.Answers) != 1 || a.Answers[0].Kind != observe.RST || !near(a.Handshake, 15*time.Second, 10*time.Millisecond) {
		t.Errorf("%v after %s", kinds(a), a.Handshake)
	}
}

// TCP_CHECK with another clock than the business: it evicts the only member, and the VIP refuses until 60 s have passed.
func TestPoolEmpty(t *testing.T) {
	for _, answer := range []fakenet.Empty{fakenet.EmptyUnreachable, fakenet.EmptyReset} {
		w := fakenet.PoolEmpty(1, answer)
		var states []observe.Outcome
		for range 200 {
			o := one(w, script(w.Client.Clock.Base.Add(1<<30), plan.Reset), 200*time.Millisecond).Outcome
			if len(states) == 0 || states[len(states)-1] != o {
				states = append(states, o)
			}
			w.Wait(time.Second)
		}
		refusal := observe.Unreachable
		if answer == fakenet.EmptyReset {
			refusal = observe.Refused
		}
		down, up := 0, 0
		for _, s := range states {
			switch s {
			case refusal:
				down++
			case observe.Accepted:
				up++
			default:
			}
		}
		if down < 2 || up < 2 {
			t.Errorf("%s: outcomes in turn %v, want service and %s to alternate", answer, states, refusal)
		}
		if c := w.Balancer.Check; c.Evictions < 2 || c.Returns < 1 {
			t.Errorf("%s: %d evictions, %d returns", answer, c.Evictions, c.Returns)
		}
	}
}

func TestHealthyCheckStays(t *testing.T) {
	w, b := fakenet.VIP(1, 3)
	b.Check = &fakenet.Checker{From: netip.AddrFrom4([4]byte{10, 1, 255, 9}), Every: time.Second, Timeout: time.Second, Retries: 1, RetryDelay: time.Second}
	w.Wait(time.Minute)
	if b.Check.Evictions != 0 || share(w.Run(connects(w, 20, time.Second))) != 0 {
		t.Errorf("%d evictions", b.Check.Evictions)
	}
	b.Members[1].Host.Dead = true
	w.Wait(10 * time.Second)
	if b.Check.Evictions != 1 || share(w.Run(connects(w, 20, time.Second))) != 0 {
		t.Errorf("a dead member: %d evictions", b.Check.Evictions)
	}
}

func TestSNATPool(t *testing.T) {
	w := fakenet.SNATPool(1, 4, 0, 0)
	s := script(1, plan.Ignore)
	o := w.Run(raws(w, 10, s, 2*time.Second))
	if share(o) != 6 {
		t.Errorf("%d of 10 lost through 4 ports", share(o))
	}
	b := raws(w, 4, s, 2*time.Second)
	for i := range b.Shots {
		b.Shots[i].Flow.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 81}), 80)
	}
	if bad := share(w.Run(b)); bad != 0 {
		t.Errorf("%d of 4 to another destination lost", bad)
	}
	w.Wait(11 * time.Second) // RST: the entries close and live 10 s
	if bad := share(w.Run(raws(w, 4, s, time.Second))); bad != 0 {
		t.Errorf("%d of 4 lost after the ports came free", bad)
	}
}

// Concurrent allocations clash, paced ones do not, and the retry of the loser works.
func TestSNATRace(t *testing.T) {
	w := fakenet.SNATRace(1, 64)
	o := w.Run(connects(w, 20, 5*time.Second))
	repeated := 0
	for _, a := range o.Attempts {
		if a.Outcome != observe.Accepted || a.Retransmissions > 1 {
			t.Errorf("%s after %d repeats", a.Outcome, a.Retransmissions)
		}
		repeated += a.Retransmissions
	}
	if repeated == 0 {
		t.Error("20 at once through 64 ports never clashed")
	}
	b := connects(w, 20, 5*time.Second)
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 100 * time.Millisecond
	}
	w.Wait(time.Minute)
	for _, a := range w.Run(b).Attempts {
		if a.Retransmissions != 0 {
			t.Error("a paced connect clashed")
		}
	}
}

// The table is full: new flows die, old ones live.
func TestConntrackLimit(t *testing.T) {
	w := fakenet.ConntrackLimit(1, 4)
	s := script(1, plan.Acknowledge)
	s.Then = plan.Exchange{Data: []byte("GET /"), DataDelay: 500 * time.Millisecond, CloseDelay: 5 * time.Second, Close: plan.Abort}
	b := raws(w, 10, s, 2*time.Second)
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 20 * time.Millisecond
	}
	for i, a := range w.Run(b).Attempts {
		if old := i < 4; (a.Outcome == observe.Accepted) != old || has(a, observe.Data) != old {
			t.Errorf("flow %d: %s, %v", i, a.Outcome, kinds(a))
		}
	}
}

// The figures of the first incident, and the balancer's own reset 15 s later.
func TestCALSNAT(t *testing.T) {
	w := fakenet.CALSNAT(1)
	w.Wait(2 * time.Second)
	o := w.Run(connects(w, 3, 20*time.Second))
	for _, a := range o.Attempts {
		if a.Outcome != observe.Refused || !near(a.Handshake, 15*time.Second, time.Second) || a.SYNs[0].TSval.Sub(481284815) > 5000 {
			t.Errorf("%s after %s, first TSval %d", a.Outcome, a.Handshake, a.SYNs[0].TSval)
		}
	}
	w.Wait(20 * time.Second)
	if a := one(w, script(517740536+1<<20, plan.Reset), time.Second); a.Outcome != observe.Accepted {
		t.Errorf("a TSval above the remembered one: %s", a.Outcome)
	}
}

func TestSynproxy(t *testing.T) {
	s := script(1, plan.Acknowledge)
	s.Clock.Hz = 1000
	s.Then = plan.Exchange{Data: []byte("GET / HTTP/1.0\r\n\r\n"), DataDelay: 50 * time.Millisecond, Close: plan.WaitForPeer}
	for _, dead := range []bool{false, true} {
		w := fakenet.Synproxy(1, dead)
		a := one(w, s, 3*time.Second)
		if a.Outcome != observe.Accepted || has(a, observe.Data) == dead || len(synAcks(a)) != 1 {
			t.Errorf("dead backend %t: %s, %v", dead, a.Outcome, kinds(a))
		}
	}
}

// The proxy answers without timestamps; its members, asked directly, with them.
func TestL7Monitor(t *testing.T) {
	w := fakenet.L7Monitor(1, 2)
	if a := one(w, script(1, plan.Reset), time.Second); a.Outcome != observe.Accepted || a.Answers[0].HasTS {
		t.Errorf("the proxy: %+v", a.Answers)
	}
	for _, m := range w.Members {
		b := raws(w, 1, script(1, plan.Reset), time.Second)
		b.Shots[0].Flow.Dst = m
		if a := w.Run(b).Attempts[0]; a.Outcome != observe.Accepted || !a.Answers[0].HasTS {
			t.Errorf("member %s: %+v", m, a.Answers)
		}
	}
}
