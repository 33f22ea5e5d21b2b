package fakenet_test

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func kernelBurst(w *fakenet.World, n int, listen time.Duration) plan.Burst {
	b := plan.Burst{Kind: plan.KindConnect, Listen: listen, Arms: []plan.Arm{{Name: "kernel", Via: plan.Kernel,
		Script: plan.Script{Ladder: w.Client.Ladder.Until(listen), Then: plan.Exchange{Close: plan.Abort}}}}}
	for range n {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Dst: w.Target}})
	}
	return b
}

func rawBurst(w *fakenet.World, n int, s plan.Script, listen time.Duration) plan.Burst {
	if s.Options.Len() == 0 {
		s.Options = wire.LinuxSYN(1460, 0, 7)
	}
	if len(s.Ladder.At) == 0 {
		s.Ladder = plan.Single()
	}
	b := plan.Burst{Kind: plan.KindSYN, Listen: listen, Arms: []plan.Arm{{Name: "raw", Via: plan.Raw, Script: s}}}
	for range n {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Dst: w.Target}})
	}
	return b
}

func TestClean(t *testing.T) {
	w := fakenet.Clean(1)
	w.Tap.Watch = func(at time.Time, out bool, s *wire.Segment) { t.Log(at.Format("05.000000"), out, s) }
	for _, b := range []plan.Burst{kernelBurst(w, 2, time.Second), rawBurst(w, 2, plan.Script{OnSYNACK: plan.Reset}, time.Second),
		rawBurst(w, 1, plan.Script{OnSYNACK: plan.Acknowledge, Then: plan.Exchange{Close: plan.CloseFirst}}, time.Second)} {
		o := w.Run(b)
		for _, a := range o.Attempts {
			if a.Outcome != observe.Accepted || a.RTT < 400*time.Microsecond || a.RTT > time.Millisecond || a.Retransmissions != 0 {
				t.Errorf("%+v", a)
			}
		}
		t.Log(o.Finished.Sub(o.Started), o.Strays, o.Counters, o.Parity)
	}
}

func BenchmarkBurst(b *testing.B) {
	for name, mk := range map[string]func(*fakenet.World) plan.Burst{
		"kernel": func(w *fakenet.World) plan.Burst { return kernelBurst(w, 10, time.Second) },
		"raw": func(w *fakenet.World) plan.Burst {
			return rawBurst(w, 10, plan.Script{OnSYNACK: plan.Reset}, time.Second)
		},
	} {
		b.Run(name, func(b *testing.B) {
			w := fakenet.Clean(1)
			burst := mk(w)
			b.ReportAllocs()
			for b.Loop() {
				w.Run(burst)
				w.Wait(time.Second)
			}
		})
	}
}
