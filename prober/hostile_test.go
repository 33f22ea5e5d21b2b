package prober

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// deaf is an engine without tap, sockets or goroutines: what its reader does to frames can be tried in any process.
func deaf() *engine {
	return &engine{opts: EngineOptions{Limits: DefaultLimits()}, flows: newFlowTable(), sweeps: newSweeps(), runs: make([]*run, 1), wake: make(chan struct{}, 1),
		rx: receiver{out: newOutbox()}, strays: map[string]int{}, budget: newBudget(DefaultLimits()), paths: newPaths(), hops: newHops(10), began: time.Now()}
}

// tolling is a sender that takes everything and counts it.
type tolling struct{ n int }

func (s *tolling) Send(p []rawsock.Packet) (rawsock.Sent, error) {
	s.n += len(p)
	return rawsock.Sent{Packets: len(p)}, nil
}

func (s *tolling) Close() error { return nil }

// posed gives a deaf engine a run with n raw shots that have sent their SYN, and n kernel ones; the first two of each have been buried.
func posed(e *engine, react plan.Reaction, n int) (*run, *tolling) {
	out := &tolling{}
	w := &way{sender: &sharedSender{s: out}}
	arms := []plan.Arm{rawArm(plan.Linear(time.Second, 4, 6)), kernelArm(plan.Single())}
	arms[0].Script.OnSYNACK = react
	arms[0].Script.Then = plan.Exchange{Data: []byte("hello"), Close: plan.CloseFirst}
	b := to(time.Second, n, arms, on("10.0.0.2", 80))
	var r *run
	for round := range 2 {
		r = newRun(&b, func(error) {})
		if err := e.begin(r); err != nil {
			panic(err)
		}
		for i := range r.shots {
			s := &r.shots[i]
			s.open, s.first, s.way = true, time.Now(), w
			r.open++
			s.flow = wire.Flow{Src: on("10.0.0.1", uint16(61000+100*round+i)), Dst: on("10.0.0.2", 80)}
			r.corr.Bind(i, s.flow)
			if !s.raw {
				s.rec, _ = e.flows.add(s.flow, r.slot, uint32(i), nil)
				continue
			}
			var iss wire.Seq
			s.rec, iss = e.flows.add(s.flow, r.slot, uint32(i), w)
			s.conn = handshake.New(r.script(i), iss)
			r.corr.ISS(i, iss)
			e.mu.Lock()
			e.act(r, i, s.first, s.conn.Step(0, nil, nil), e.rx.out)
			e.mu.Unlock()
		}
		if round == 0 {
			e.mu.Lock()
			e.detach(r)
			e.mu.Unlock()
			e.running.Done()
		}
	}
	e.flush(e.rx.out)
	out.n = 0
	return r, out
}

// Any octets as any frame: no panic, no answer to what is not the peer's, and every frame is accounted for.
func FuzzFrames(f *testing.F) {
	syn := wire.Segment{Src: on("10.0.0.2", 80), Dst: on("10.0.0.1", 61100), Seq: 7, Ack: 8, Flags: wire.SYN | wire.ACK, DF: true, HopLimit: 64}
	b := make([]byte, syn.Size())
	if _, err := syn.Encode(b); err != nil {
		f.Fatal(err)
	}
	arp := append([]byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0}, 10, 0, 0, 1)
	f.Add(uint16(etherIPv4), false, b)
	f.Add(uint16(etherIPv4), true, b[:31])
	f.Add(uint16(etherIPv6), false, append([]byte{0x60, 0, 0, 0, 0, 24, 58, 255}, make([]byte, 56)...))
	f.Add(uint16(etherARP), false, arp)
	f.Add(uint16(0x88cc), false, arp)
	f.Fuzz(func(t *testing.T, ether uint16, outgoing bool, net []byte) {
		e := deaf()
		r, sent := posed(e, plan.Reset, 3)
		frame := &rawsock.Frame{At: time.Now().UnixNano(), IfIndex: 2, EtherType: ether, Outgoing: outgoing, Net: net, Len: len(net)}
		before := accounted(e, r)
		e.onFrame(frame)
		e.onFrame(nil)
		e.onFrame(frame)
		e.onFrame(nil)
		if sent.n > 2 {
			t.Errorf("%d segments in answer to two frames", sent.n)
		}
		if got := e.seen.Load(); got != 2 {
			t.Errorf("%d frames seen", got)
		}
		if !outgoing && accounted(e, r)-before < 2 { // what we send ourselves on a flow is no news
			t.Errorf("a frame was neither recorded nor counted: %v, %v", e.strays, r.corr.Observation().Strays)
		}
	})
}

// accounted is how many frames have left a trace.
func accounted(e *engine, r *run) int {
	n := len(e.strays) // a disposition that is new, or below one that has grown
	for _, k := range e.strays {
		n += k
	}
	o := r.corr.Observation()
	for _, k := range o.Strays {
		n += k
	}
	for i := range o.Attempts {
		n += len(o.Attempts[i].Answers) + len(o.Attempts[i].SYNs)
	}
	return n + len(o.Neighbor)
}

// What comes in on a flow before its first SYN is due once kept that SYN from ever being sent.
func TestASegmentBeforeTheFirstSYNChangesNothing(t *testing.T) {
	t.Parallel()
	e := deaf()
	b := to(time.Second, 1, []plan.Arm{rawArm(plan.Single())}, on("10.0.0.2", 80))
	r := newRun(&b, func(error) {})
	must(t, e.begin(r))
	r.shots[0].way = &way{sender: &sharedSender{s: &tolling{}}}
	e.open(r, 0, &want{src: addr("10.0.0.1"), dst: on("10.0.0.2", 80)}, 61000)
	early := wire.Segment{Src: on("10.0.0.2", 80), Dst: on("10.0.0.1", 61000), Ack: e.flows.records[r.shots[0].rec].iss + 1, Flags: wire.SYN | wire.ACK, DF: true, HopLimit: 9}
	f := make([]byte, early.Size())
	_, err := early.Encode(f)
	must(t, err)
	e.onFrame(&rawsock.Frame{At: time.Now().UnixNano(), IfIndex: 2, EtherType: etherIPv4, Net: f, Len: len(f)})
	e.mu.Lock()
	r.shots[0].first = time.Now()
	e.schedule(r, 0)
	e.mu.Unlock()
	e.fire(e.rx.out)
	if o := r.corr.Observation(); len(o.Attempts[0].SYNs) != 1 || len(o.Attempts[0].Answers) != 0 || o.Strays["before_the_first_syn"] != 1 {
		t.Errorf("%d SYNs, %d answers, %v", len(o.Attempts[0].SYNs), len(o.Attempts[0].Answers), o.Strays)
	}
}

// Segments on our own flows, honest and hostile, in any order: one acknowledgment or reset each at most two, no growth of what is kept.
func TestAFloodOnOurOwnFlowsIsBounded(t *testing.T) {
	t.Parallel()
	for _, react := range []plan.Reaction{plan.Reset, plan.Acknowledge, plan.Ignore} {
		e := deaf()
		r, sent := posed(e, react, 4)
		rng := rand.New(rand.NewPCG(1, 2))
		const frames = 20000
		b := make([]byte, 2048)
		for range frames {
			s := wire.Segment{Src: on("10.0.0.2", 80), Dst: netip.AddrPortFrom(addr("10.0.0.1"), uint16(61000+rng.IntN(2)*100+rng.IntN(9))), DF: true, HopLimit: 9,
				Flags: wire.Flags(rng.IntN(64)), Seq: wire.Seq(rng.IntN(20)), Ack: wire.Seq(rng.Uint32()), Payload: make([]byte, rng.IntN(3)*5)}
			if i := e.flows.byFlow(s.Flow().Reverse()); i >= 0 && rng.IntN(4) > 0 {
				s.Ack = e.flows.records[i].iss + wire.Seq(rng.IntN(9))
			}
			n, err := s.Encode(b)
			must(t, err)
			e.onFrame(&rawsock.Frame{At: time.Now().UnixNano(), IfIndex: 2, EtherType: etherIPv4, Net: b[:n], Len: n})
			if rng.IntN(50) == 0 {
				e.onFrame(nil)
			}
		}
		e.onFrame(nil)
		if sent.n > 2*frames || len(e.timers) > 100 {
			t.Errorf("%s: %d segments to %d frames, %d timers", react, sent.n, frames, len(e.timers))
		}
		for i := range r.shots {
			if n := len(r.corr.Observation().Attempts[i].Answers); n > 64 {
				t.Errorf("%s: %d answers kept", react, n)
			}
		}
		if cap(e.rx.out.entries) > 2*outboxEntries || cap(e.rx.out.buf) > 2*outboxBytes {
			t.Errorf("%s: the outbox has grown to %d entries, %d octets", react, cap(e.rx.out.entries), cap(e.rx.out.buf))
		}
	}
}

// Frames of rubbish with our ports in them, on a real wire, while a burst is under way: the burst comes out as it would have, and what
// was passed over is counted.
func TestRubbishOnTheWire(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		rng := rand.New(rand.NewPCG(3, 4))
		n := 0
		defer func() { done <- n }()
		// Not all that the machine can give: the backlog that veth delivers to is one for all networks of all tests.
		tick := time.NewTicker(ms)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for range 50 {
				p.sendFrame(true, rubbish(rng))
				n++
			}
		}
	}()
	for range 20 {
		obs := r.burst(t, to(5*time.Second, 20, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80), on(serverV6, 80)))
		if obs.CaptureDrops > 0 {
			continue // the flood won: then nothing is claimed
		}
		for i := range obs.Attempts {
			if a := &obs.Attempts[i]; a.Outcome != observe.Accepted || a.Clock != observe.TapClock {
				t.Errorf("%s %s: %s %q by the %s clock, %d SYNs, unseen %d, %+v", a.Arm, a.Flow, a.Outcome, a.Reason, a.Clock, len(a.SYNs), a.Unseen, obs.Strays)
			}
		}
	}
	close(stop)
	n := <-done
	r.barrier(t, p)
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	kinds := 0
	for k, c := range r.engine.strays {
		t.Logf("%s: %d", k, c)
		kinds++
	}
	if kinds < 5 {
		t.Errorf("%d frames of rubbish, and only these dispositions: %v", n, r.engine.strays)
	}
}

// rubbish is an Ethernet frame with something wrong: its octets past a sound beginning are noise, or it is cut, or its checksum is.
func rubbish(rng *rand.Rand) []byte {
	s := wire.Segment{Src: on(serverV4, 80), Dst: on(clientV4, uint16(61000+rng.IntN(4536))), Seq: wire.Seq(rng.Uint32()), Ack: wire.Seq(rng.Uint32()),
		Flags: wire.Flags(rng.IntN(256)), Window: uint16(rng.Uint32()), HopLimit: uint8(1 + rng.IntN(255)), DF: true, Payload: make([]byte, rng.IntN(40))}
	b := make([]byte, 14+s.Size())
	if _, err := s.Encode(b[14:]); err != nil {
		panic(err)
	}
	switch rng.IntN(5) {
	case 0: // noise behind the ports
		for i := 14 + 24; i < len(b); i++ {
			b[i] = byte(rng.Uint32())
		}
	case 1: // noise in the IP header
		b[14+rng.IntN(20)] = byte(rng.Uint32())
	case 2: // cut
		b = b[:14+rng.IntN(len(b)-14)]
	case 3: // an ICMP error that quotes something like a SYN of ours
		icmp := make([]byte, 14+20+8+28)
		copy(icmp[14:], b[14:34])
		icmp[14+9] = 1
		icmp[14+3] = byte(len(icmp) - 14)
		icmp[34], icmp[35] = 3, byte(rng.IntN(16))
		copy(icmp[42:], b[14:])
		b = icmp
	}
	return b
}
