package prober

import (
	"container/heap"
	"context"
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/pulse"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// begin implements fastPath. The target is held until the round is over.
func (l *light) begin(d *dueTarget, now time.Time) bool {
	t := d.light
	if l.e.capturing() != nil || now.Before(t.heavy) {
		return false
	}
	p := t.peer
	if p == nil || now.After(p.until.Add(lightGrace)) || now.After(p.hop.until.Add(lightGrace)) {
		t.waits = true
		l.ask(d)
		return true
	}
	if parity := p.parity.Load(); parity != nil && parity.State == observe.ParityDiffers {
		return false
	}
	if now.After(p.until) {
		l.ask(d)
	}
	if now.After(p.hop.until) && !p.hop.asking {
		p.hop.asking = true
		l.asks = append(l.asks, &lookUp{hop: p.hop})
	}
	if len(l.backlog) > 0 || !l.try(d, now) {
		d.queued = true
		l.backlog = append(l.backlog, d)
	}
	return true
}

// try begins a round now; false: it has to wait.
func (l *light) try(d *dueTarget, now time.Time) bool {
	t, j := d.light, d.job
	m := &t.script.module
	if err := l.p.permitted(d.target, t.dst.Addr(), *m, nil); err != nil {
		l.refuse(d, err)
		return true
	}
	if !l.pace.ready(now) || l.room() < m.Burst {
		return false
	}
	switch limit := l.e.budget.tryTake(t.peer.budget, m.Burst, now); limit {
	case "":
	case limitGlobalRate:
		return false
	default:
		l.skip(d, SkipBudget)
		return true
	}
	ports := t.peer.source.ports
	first, ok := t.peer.cursor.Take(m.Burst, len(ports), l.now())
	if !ok {
		l.e.budget.giveBack(t.peer.budget, m.Burst, 0)
		l.skip(d, SkipPorts)
		return true
	}
	l.lists = l.lists[:0]
	for i := range m.Burst {
		l.lists = append(l.lists, ports[(first+i)%len(ports)])
	}
	l.launch(d, j, now)
	return true
}

// launch opens a burst and puts its SYNs into the outbox.
func (l *light) launch(d *dueTarget, j *Job, now time.Time) {
	t := d.light
	b := l.burst()
	b.d, b.job, b.peer, b.started, b.lag, b.drops = d, j, t.peer, now, max(0, now.Sub(d.since)), l.lost
	b.script = t.script
	b.Src, b.Dst, b.Arm = t.peer.key.src, t.dst, &b.script.arm
	b.Listen = t.script.module.Timeout - reserve
	b.Start = t.script.module.SYN.TSval
	if !t.script.module.SYN.HasTSval {
		b.Start = wire.TSval(l.rand.Uint32())
	}
	l.s.sink.Lag(b.lag)
	l.mu.Lock()
	err := l.table.Open(&b.Burst, l.lists)
	if err == nil {
		l.syns = l.table.SYNs(&b.Burst, l.now(), l.syns[:0])
	}
	l.mu.Unlock()
	if err != nil { // room was looked at: only a bug comes here
		l.e.budget.giveBack(t.peer.budget, t.script.module.Burst, 0)
		l.skip(d, SkipOverload)
		return
	}
	l.live++
	l.pace.spend(len(l.syns))
	b.timed = true
	heap.Push(&l.timers, b)
	l.put(b)
}

// put encodes the SYNs at hand and sends when there are enough of them.
func (l *light) put(b *lightBurst) {
	w := b.peer.hop.way.Load()
	flow := wire.Flow{Src: netip.AddrPortFrom(b.Src, 0), Dst: b.Dst}
	for i := range l.syns {
		flow.Src = netip.AddrPortFrom(b.Src, l.syns[i].Port)
		l.out.add(b.script, w, flow, &l.syns[i], b)
	}
	if l.out.full() {
		l.flush()
	}
}

func (l *light) flush() {
	l.out.send(l.e, func(b *lightBurst, slot int32, errno syscall.Errno) {
		b.refused = append(b.refused, refusal{slot: slot, syn: len(b.Handed) - 1, errno: errno})
		l.mu.Lock()
		defer l.mu.Unlock()
		final := len(b.Handed) == 1 && !droppedHere(errno)
		if ended := l.table.Fail(slot, final); ended != nil {
			l.ended = append(l.ended, ended)
		}
	})
}

// cycle implements fastPath.
func (l *light) cycle(ctx context.Context, now time.Time) time.Time {
	if l.table == nil {
		return time.Time{}
	}
	l.pump(ctx, now)
	l.sweep(now)
	l.counted = false
	if now.Sub(l.looked) > time.Second {
		l.delivered()
	}
	l.takeEnded()
	l.fire()
	l.resume(ctx, now)
	l.flush()
	l.unpark(ctx, now)
	if len(l.backlog) > 0 {
		return now.Add(l.pace.wait())
	}
	if l.live > 0 || len(l.asks) > 0 {
		return now.Add(batch)
	}
	return time.Time{}
}

// takeEnded tells the rounds whose last answer has come.
func (l *light) takeEnded() {
	l.mu.Lock()
	ended := l.ended
	l.ended, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	for i, pb := range ended {
		b := l.bursts[pb.Owner]
		ended[i] = nil
		if b.over {
			continue
		}
		b.over = true
		if b.Ill() {
			l.park(b)
			continue
		}
		l.healthy(b)
	}
	l.mu.Lock()
	l.spare = ended
	l.mu.Unlock()
}

// fire moves the bursts whose time has come.
func (l *light) fire() {
	now := l.now()
	for len(l.timers) > 0 {
		b := l.timers[0]
		if b.over {
			heap.Pop(&l.timers)
			b.timed = false
			l.spareBurst(b)
			continue
		}
		if b.Next() > now {
			return
		}
		l.mu.Lock()
		due := l.table.Due(&b.Burst, now)
		if due == pulse.Repeat {
			l.syns = l.table.SYNs(&b.Burst, now, l.syns[:0])
		}
		l.mu.Unlock()
		switch due {
		case pulse.Repeat:
			heap.Fix(&l.timers, 0)
			l.e.budget.repeated(b.peer.budget, len(l.syns))
			l.pace.spend(len(l.syns))
			l.put(b)
		case pulse.Expired:
			b.over = true
			l.park(b)
		case pulse.Later:
			heap.Fix(&l.timers, 0)
		}
	}
}

// park keeps a round until the reader has come to every frame that was captured by now, so that none is taken for missing that is only
// unread.
func (l *light) park(b *lightBurst) {
	b.need, b.until = l.delivered(), time.Now().Add(drainTime)
	l.parked = append(l.parked, b)
}

func (l *light) unpark(ctx context.Context, now time.Time) {
	if len(l.parked) == 0 {
		return
	}
	seen := l.e.seen.Load()
	kept := l.parked[:0]
	for _, b := range l.parked {
		if seen < b.need && now.Before(b.until) && l.e.capturing() == nil {
			kept = append(kept, b)
			continue
		}
		l.ill(ctx, b, b.need-min(seen, b.need))
	}
	clear(l.parked[len(kept):])
	l.parked = kept
}

// healthy tells a round that needs no more said.
func (l *light) healthy(b *lightBurst) {
	l.rtts = l.rtts[:0]
	l.mu.Lock()
	n := b.Size()
	for i := range n {
		if s := l.table.Shot(&b.Burst, i); s.RTT > 0 {
			l.rtts = append(l.rtts, s.RTT)
		}
	}
	l.mu.Unlock()
	slices.Sort(l.rtts)
	if !b.d.gone.Load() {
		h := Healthy{Target: b.d.target, Addr: b.Dst, Started: b.started, Connections: n, Duration: time.Since(b.started), RTTs: l.rtts}
		l.s.sink.Healthy(b.job.Name, b.job.Module.Name, b.job.Labels, &h)
	}
	l.close(b, 0)
}

// close ends a round.
func (l *light) close(b *lightBurst, silent int) {
	l.e.budget.giveBack(b.peer.budget, b.Size(), silent)
	l.mu.Lock()
	l.table.Close(&b.Burst)
	l.mu.Unlock()
	l.live--
	b.d.running.Store(false)
	l.spareBurst(b)
}

func (l *light) room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.table.Room()
}

// skip leaves the round out that was to begin.
func (l *light) skip(d *dueTarget, why Skip) {
	l.s.sink.Skipped(d.job.Name, why)
	d.running.Store(false)
}

// refuse tells why a target may not be probed.
func (l *light) refuse(d *dueTarget, err error) {
	if _, paused := errors.AsType[*PausedError](err); paused {
		l.skip(d, SkipPrimed)
		return
	}
	j := d.job
	l.s.sink.Observe(j.Name, j.Module.Name, j.Labels, []Round{{Target: d.light.name, Addr: d.light.dst, Module: j.Module.Name, Kind: KindSYN,
		Started: time.Now(), Err: err, Why: err.Error()}})
	d.running.Store(false)
}
