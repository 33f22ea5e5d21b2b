package prober

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// answering is a peer that does answer to every SYN for the ghost addresses.
func answering(answer func(p *peer, syn *wire.Segment)) func(*peer, *wire.Segment) {
	return func(p *peer, s *wire.Segment) {
		if isSYN(s) && (s.Dst.Addr() == addr(ghostV4) || s.Dst.Addr() == addr(ghostV6)) && s.Dst.Port() == 80 {
			answer(p, s)
		}
	}
}

// toGhost matches what the client sent to a ghost's port 80, other than SYNs.
func toGhost(s *wire.Segment) bool { return s.Dst.Port() == 80 && !isSYN(s) }

// raws executes a raw burst to the ghosts of both families, after the path to them was scouted.
func (r *rig) raws(t *testing.T, listen time.Duration, arm plan.Arm) observe.Observation {
	t.Helper()
	return r.burst(t, to(listen, 4, []plan.Arm{arm}, on(ghostV4, 80), on(ghostV6, 80)))
}

// scouted makes the paths to the ghosts known, so that what a peer sees next is of raw shots alone.
func (r *rig) scouted(t *testing.T, p *peer) {
	t.Helper()
	for _, g := range []string{ghostV4, ghostV6} {
		r.burst(t, to(20*ms, 1, []plan.Arm{rawArm(plan.Single())}, on(g, 81)))
	}
	r.barrier(t, p)
}

func TestASYNACKThatIsNotOursDrawsNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*wire.Segment){
		"ack ISS+2":         func(s *wire.Segment) { s.Ack++ },
		"ack ISS":           func(s *wire.Segment) { s.Ack-- },
		"ack far away":      func(s *wire.Segment) { s.Ack += 1 << 31 },
		"bare ACK":          func(s *wire.Segment) { s.Flags = wire.ACK; s.Ack-- },
		"bare ACK of ISS+1": func(s *wire.Segment) { s.Flags = wire.ACK },
		"data":              func(s *wire.Segment) { s.Flags, s.Payload = wire.ACK|wire.PSH, []byte("x") },
		"FIN":               func(s *wire.Segment) { s.Flags = wire.ACK | wire.FIN },
		"RST of another":    func(s *wire.Segment) { s.Flags = wire.ACK | wire.RST; s.Ack++ },
		"SYN":               func(s *wire.Segment) { s.Flags, s.Ack = wire.SYN, 0 },
		"no flags":          func(s *wire.Segment) { s.Flags = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			r.start(t, EngineOptions{})
			p := r.listen(t, answering(func(p *peer, syn *wire.Segment) {
				s := synAckTo(syn)
				change(&s)
				p.send(s)
			}))
			r.scouted(t, p)
			obs := r.raws(t, 1500*ms, rawArm(plan.Single()))
			r.barrier(t, p)
			if got := p.segments(toGhost); len(got) > 0 {
				t.Errorf("drew %s", got[0].seg.String())
			}
			for i := range obs.Attempts {
				if a := &obs.Attempts[i]; a.Outcome != observe.TimedOut || len(a.Answers) != 1 {
					t.Errorf("%s with %d answers", a.Outcome, len(a.Answers))
				}
			}
		})
	}
}

func TestASYNACKOfOursDrawsExactlyOneRSTOfOurs(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	p := r.listen(t, answering(func(p *peer, syn *wire.Segment) { p.send(synAckTo(syn)) }))
	r.scouted(t, p)
	obs := r.raws(t, 2*time.Second, rawArm(plan.Single()))
	p.await(t, len(obs.Attempts), toGhost)
	r.barrier(t, p)
	rsts := p.segments(toGhost)
	if len(rsts) != len(obs.Attempts) {
		t.Errorf("%d attempts, %d segments after the SYN-ACKs", len(obs.Attempts), len(rsts))
	}
	for i := range rsts {
		s := &rsts[i].seg
		k := attemptOf(&obs, s.Flow())
		if k < 0 || s.Flags != wire.RST || s.Seq != obs.Attempts[k].ISS+1 || s.Checksum != wire.ChecksumGood {
			t.Errorf("not ours: %s", s)
		}
	}
}

func attemptOf(o *observe.Observation, f wire.Flow) int {
	for i := range o.Attempts {
		if o.Attempts[i].Flow == f {
			return i
		}
	}
	return -1
}

// The first SYN-ACKs come when the burst is long over, and again.
func TestALateSYNACKIsStillReset(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	p := r.listen(t, nil)
	r.scouted(t, p)
	obs := r.raws(t, 500*ms, rawArm(plan.Single()))
	t.Cleanup(func() {
		if t.Failed() {
			r.engine.mu.Lock()
			defer r.engine.mu.Unlock()
			t.Logf("frames of no burst: %v; %s", r.engine.strays, outcomes(&obs))
		}
	})
	syns := p.await(t, len(obs.Attempts), func(s *wire.Segment) bool { return isSYN(s) && s.Dst.Port() == 80 })
	for round := 1; round <= 2; round++ {
		for i := range syns {
			forged := synAckTo(&syns[i].seg)
			forged.Ack += 77
			p.send(forged)
			bare := synAckTo(&syns[i].seg)
			bare.Flags = wire.ACK
			p.send(bare)
			p.send(synAckTo(&syns[i].seg))
		}
		p.await(t, round*len(syns), toGhost)
	}
	r.barrier(t, p)
	rsts := p.segments(toGhost)
	if len(rsts) != 2*len(syns) {
		t.Errorf("%d late SYN-ACKs, %d segments in answer", 2*len(syns), len(rsts))
	}
	for i := range rsts {
		s := &rsts[i].seg
		if k := attemptOf(&obs, s.Flow()); k < 0 || s.Flags != wire.RST || s.Seq != obs.Attempts[k].ISS+1 {
			t.Errorf("not ours: %s", s)
		}
	}
	r.tellsBelated(t, &obs, 2*len(syns))
}

// tellsBelated: the next burst is told, once, of the SYN-ACKs that came too late for an earlier one, and of none that acknowledge something else.
func (r *rig) tellsBelated(t *testing.T, obs *observe.Observation, want int) {
	t.Helper()
	next := r.raws(t, 50*ms, rawArm(plan.Single()))
	if len(next.Belated) != want {
		t.Errorf("told of %d late SYN-ACKs, %d came", len(next.Belated), want)
	}
	for _, b := range next.Belated {
		if k := attemptOf(obs, b.Flow); k < 0 || !b.At.After(obs.Finished) {
			t.Errorf("no SYN-ACK after its burst: %+v", b)
		}
	}
	if again := r.raws(t, 50*ms, rawArm(plan.Single())); len(again.Belated) > 0 {
		t.Errorf("told again of %d", len(again.Belated))
	}
}

// A burst ends with its last shot, or, where it lingers, with its time: what comes until then is part of it.
func TestALingeringBurstHearsWhatComesLater(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	again := make(chan wire.Segment, 100)
	p := r.listen(t, answering(func(p *peer, syn *wire.Segment) {
		p.send(synAckTo(syn))
		again <- synAckTo(syn)
	}))
	r.scouted(t, p)
	b := to(2*time.Second, 4, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 80))
	if obs := r.burst(t, b); obs.Finished.Sub(obs.Started) >= b.Listen {
		t.Errorf("took %s though all was settled", obs.Finished.Sub(obs.Started))
	}
	for range b.Shots {
		<-again
	}
	b.Linger = true
	go func() {
		p.await(t, 2*len(b.Shots), toGhost) // the resets of both bursts
		for range b.Shots {
			p.send(<-again)
		}
	}()
	obs := r.burst(t, b)
	if d := obs.Finished.Sub(obs.Started); d < b.Listen {
		t.Errorf("ended after %s", d)
	}
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; a.Outcome != observe.Accepted || len(a.Answers) != 2 {
			t.Errorf("%s with %d answers", a.Outcome, len(a.Answers))
		}
	}
	p.await(t, 3*len(b.Shots), toGhost)
}

// Half-open connections that were only watched are reset when the burst ends, also when its caller gives up or the prober is closed.
func TestWhatIsHalfOpenIsResetInTheEnd(t *testing.T) {
	t.Parallel()
	arm := rawArm(plan.Single())
	arm.Script.OnSYNACK = plan.Ignore
	for name, end := range map[string]func(*rig, context.CancelFunc){
		"listening is over": func(*rig, context.CancelFunc) {},
		"the caller leaves": func(_ *rig, cancel context.CancelFunc) { cancel() },
		"Close":             func(r *rig, _ context.CancelFunc) { _ = r.engine.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, EngineOptions{})
			p := r.listen(t, nil)
			warm := to(time.Second, 1, []plan.Arm{rawArm(plan.Single())}, on(serverV4, 80))
			r.burst(t, warm)
			p.await(t, 2, isRST) // the scout's and the shot's
			r.barrier(t, p)
			before := len(p.segments(isRST))
			listen := time.Hour
			if name == "listening is over" {
				listen = time.Second
			}
			const n = 5
			b := to(listen, n, []plan.Arm{arm}, on(serverV4, 80))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			type result struct {
				obs observe.Observation
				err error
			}
			done := make(chan result, 1)
			syns := len(p.segments(isSYN))
			go func() {
				obs, err := r.try(ctx, request{burst: &b})
				done <- result{obs, err}
			}()
			p.await(t, syns+n, isSYN)
			r.seen(t, n)
			end(r, cancel)
			res := <-done
			must(t, res.err)
			rsts := p.await(t, before+n, isRST)[before:]
			for i := range rsts {
				if k := attemptOf(&res.obs, rsts[i].seg.Flow()); k < 0 || rsts[i].seg.Seq != res.obs.Attempts[k].ISS+1 {
					t.Errorf("RST of no attempt: %s", rsts[i].seg.String())
				}
			}
			for i := range res.obs.Attempts {
				if a := &res.obs.Attempts[i]; a.Outcome != observe.Accepted || len(a.Answers) == 0 {
					t.Errorf("%s", outcomes(&res.obs))
				}
			}
		})
	}
}

// seen waits until the only run under way has n answers.
func (r *rig) seen(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(ms); ; <-tick.C {
		r.engine.mu.Lock()
		got := 0
		for _, x := range r.engine.runs {
			if x == nil {
				continue
			}
			for i := range x.shots {
				got += len(x.corr.Observation().Attempts[i].Answers)
			}
		}
		r.engine.mu.Unlock()
		if got >= n {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d answers, want %d", got, n)
		}
	}
}

func TestALiveConnectionToTheSamePortSurvivesARawBurst(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	for _, host := range []string{serverV4, serverV6} {
		c, err := r.client.Dial(t.Context(), nil, on(host, 80).String())
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		must(t, c.SetDeadline(time.Now().Add(patience)))
		for range 3 {
			obs := r.burst(t, to(time.Second, 50, []plan.Arm{rawArm(plan.Single()), kernelArm(plan.Single())}, on(host, 80)))
			for i := range obs.Attempts {
				if a := &obs.Attempts[i]; a.Outcome != observe.Accepted {
					t.Fatalf("%s", outcomes(&obs))
				}
			}
			if _, err := c.Write([]byte("alive")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte("alive")) {
				t.Fatalf("the connection is dead: %q, %v", got, err)
			}
		}
	}
}

// A full handshake of ours is carried through without a word of the kernel's: the server closes first, and our FIN follows.
func TestAFullHandshakeByUsAlone(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(closingOn(80))
	r.start(t, EngineOptions{})
	p := r.listen(t, nil)
	arm := rawArm(plan.Single())
	arm.Script.OnSYNACK = plan.Acknowledge
	arm.Script.Then = plan.Exchange{Data: []byte("GET / HTTP/1.0\r\n\r\n"), Close: plan.WaitForPeer}
	for _, host := range []string{serverV4, serverV6} {
		obs := r.burst(t, to(5*time.Second, 4, []plan.Arm{arm}, on(host, 80)))
		r.barrier(t, p)
		for i := range obs.Attempts {
			a := &obs.Attempts[i]
			kinds := map[observe.AnswerKind]bool{}
			for k := range a.Answers {
				kinds[a.Answers[k].Kind] = true
			}
			if a.Outcome != observe.Accepted || !kinds[observe.Data] || !kinds[observe.FIN] || kinds[observe.RST] {
				t.Errorf("%s with %v", a.Outcome, kinds)
			}
			// The server saw our FIN, and no RST: neither of ours nor of the kernel's.
			mine := p.segments(func(s *wire.Segment) bool { return s.Flow() == a.Flow })
			fins := 0
			for k := range mine {
				if isRST(&mine[k].seg) {
					t.Errorf("an RST: %s", mine[k].seg.String())
				}
				if mine[k].seg.Flags.Has(wire.FIN) {
					fins++
				}
			}
			if fins == 0 {
				t.Errorf("no FIN among %d segments", len(mine))
			}
		}
	}
}

func TestCancelReturnsThePartialObservation(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	r.scouted(t, p)
	b := to(time.Hour, 3, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80), on(ghostV4, 80))
	late := len(b.Shots)
	b.Shots = append(b.Shots, plan.Shot{Offset: time.Hour, Arm: 0, Flow: b.Shots[0].Flow}, plan.Shot{Offset: time.Hour, Arm: 1, Flow: b.Shots[0].Flow})
	why := errors.New("the user has seen enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		r.seen(t, 6)
		p.await(t, 6, func(s *wire.Segment) bool { return isSYN(s) && s.Dst == on(ghostV4, 80) })
		cancel(why)
	}()
	obs, err := r.try(ctx, request{burst: &b})
	must(t, err)
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		want, reason := observe.Accepted, ""
		if a.Flow.Dst.Addr() == addr(ghostV4) {
			want, reason = observe.OutcomeUnknown, "interrupted before an answer: the user has seen enough"
		}
		if i >= late {
			want, reason = observe.NotSent, ""
		}
		if a.Outcome != want || reason != "" && a.Reason != reason {
			t.Errorf("%d: want %s %q:\n%s", i, want, reason, outcomes(&obs))
		}
	}
}

// Where the round's time is over what had no answer has timed out.
func TestADeadlineTimesOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	r.scouted(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 700*ms) // before the kernel repeats its SYN
	defer cancel()
	b := to(time.Hour, 3, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(ghostV4, 80))
	obs, err := r.try(ctx, request{burst: &b})
	must(t, err)
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; a.Outcome != observe.TimedOut || a.Reason != timeOver || a.Lost != 1 {
			t.Errorf("%s", outcomes(&obs))
		}
	}
}
