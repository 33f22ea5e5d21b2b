package prober

import (
	"context"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/pulse"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The last answer of a round may come when its time is over and it is only waiting to be judged: the burst's memory is the next round's by
// the time that the loop hears of it, and that round is not over.
func TestALastAnswerBehindARoundsTimeEndsNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 20000, Hi: 29999}})
	p := r.prober(addr(serverV4))
	l := newLight(p, p.NewSchedule(newTold()))
	l.table = pulse.New(pulse.Config{Seed: maphash.MakeSeed(), InFlight: 16, History: 1 << 16, Tapes: 1 << 16})
	l.judge = make(chan *illRound, 1)
	dst := netip.AddrPortFrom(addr(serverV4), 80)
	job := rawJob(time.Second, dst.String())
	script := &lightScript{module: job.Module, arm: plan.Script{Clock: plan.TSClock{Hz: 1000}, Ladder: plan.Ladder{At: []time.Duration{0}}}}
	hop := &lightHop{route: rawsock.Route{IfIndex: 1}}
	launch := func() (*lightBurst, pulse.SYN) {
		b := l.burst()
		b.d, b.job, b.peer, b.script, b.started = &dueTarget{job: &job, target: dst.String()}, &job, &lightPeer{hop: hop, budget: p.engine.budget.keep(dst)}, script, time.Now()
		b.Src, b.Dst, b.Arm, b.Listen = addr(clientV4), dst, &script.arm, time.Nanosecond
		must(t, l.table.Open(&b.Burst, []uint16{29999}))
		l.live++
		return b, l.table.SYNs(&b.Burst, l.now(), nil)[0]
	}
	b, syn := launch()
	if due := l.table.Due(&b.Burst, l.now()); due != pulse.Expired {
		t.Fatalf("its time is over: %d", due)
	}
	b.over = true
	l.ports.Store(20000)
	answer := wire.Segment{Src: dst, Dst: netip.AddrPortFrom(b.Src, syn.Port), Ack: syn.Seq + 1, Flags: wire.SYN | wire.ACK}
	l.segment(&rawsock.Frame{At: 1, IfIndex: 1, Net: make([]byte, 40)}, &answer)
	if len(l.ended) != 1 {
		t.Fatalf("%d rounds ended by a last answer", len(l.ended))
	}
	l.ill(t.Context(), b, 0)
	if x := <-l.judge; len(x.shots) != 1 || x.job != &job {
		t.Errorf("told: %+v", x)
	}
	next, _ := launch()
	if next != b {
		t.Fatal("a burst's memory is used again")
	}
	l.takeEnded()
	if next.over || len(l.parked) != 0 || l.live != 1 {
		t.Errorf("the next round: over %t, %d parked, %d live", next.over, len(l.parked), l.live)
	}
}

// Where this host lost frames and the judges are behind, an ill round is left out, and said to be; where either is not so, it is judged.
func TestAnIllRoundOfAnOverloadedHostIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		lost, unread uint64
		waiting      int
		out          bool
	}{
		{"frames were lost, the judges are behind", 1, 0, lightWaiting / 2, true},
		{"frames were not read, the judges are behind", 0, 1, lightWaiting / 2, true},
		{"frames were lost, the judges are not behind", 1, 0, lightWaiting/2 - 1, false},
		{"no frame was lost", 0, 0, lightWaiting / 2, false},
	} {
		r := newRig(t, EngineOptions{})
		p := r.prober(addr(serverV4))
		sink := newTold()
		l := newLight(p, p.NewSchedule(sink))
		l.table = pulse.New(pulse.Config{Seed: maphash.MakeSeed(), InFlight: 16, History: 1 << 16, Tapes: 1 << 16})
		l.judge = make(chan *illRound, lightWaiting)
		for range tt.waiting {
			l.judge <- nil
		}
		dst := netip.AddrPortFrom(addr(serverV4), 80)
		job := rawJob(time.Second, dst.String())
		script := &lightScript{module: job.Module, arm: plan.Script{Clock: plan.TSClock{Hz: 1000}, Ladder: plan.Ladder{At: []time.Duration{0}}}}
		b, d := l.burst(), &dueTarget{job: &job, target: dst.String()}
		d.running.Store(true)
		peer := &lightPeer{hop: &lightHop{route: rawsock.Route{IfIndex: 1}}, budget: p.engine.budget.keep(dst)}
		b.d, b.job, b.peer, b.script, b.started = d, &job, peer, script, time.Now()
		b.Src, b.Dst, b.Arm, b.Listen = addr(clientV4), dst, &script.arm, time.Nanosecond
		must(t, l.table.Open(&b.Burst, []uint16{29999}))
		l.live++
		l.table.SYNs(&b.Burst, l.now(), nil)
		l.table.Due(&b.Burst, l.now())
		b.over = true
		l.counted, l.lost = true, tt.lost
		l.ill(t.Context(), b, tt.unread)
		if out := len(l.judge) == tt.waiting && sink.skipped[SkipOverload] == 1; out != tt.out {
			t.Errorf("%s: %d wait to be judged, %d did; skipped %v", tt.name, len(l.judge), tt.waiting, sink.skipped)
		}
		if d.running.Load() || l.live != 0 || l.table.InFlight() != 0 {
			t.Errorf("%s: running %t, %d live, %d in flight", tt.name, d.running.Load(), l.live, l.table.InFlight())
		}
	}
}

// Metrics may be read at the very moment at which the first target opens the light path.
func TestCaptureIsToldWhileTheFirstTargetComes(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{InFlight: 16})
	p := r.prober(addr(serverV4))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		s := p.NewSchedule(newTold())
		l := newLight(p, s)
		begun, opened, read := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(read)
			p.Capture()
			close(begun)
			for {
				if c := p.Capture(); c.InFlight != 0 {
					t.Errorf("%d SYNs in flight", c.InFlight)
				}
				select {
				case <-opened:
					return
				default:
				}
			}
		}()
		<-begun
		if !l.open(ctx) {
			t.Error("the light path is another's")
		}
		close(opened)
		<-read
		l.end()
		s.rounds.Wait()
	}
}
