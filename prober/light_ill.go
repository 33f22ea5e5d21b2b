package prober

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/pulse"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// illRound is a light round that was not well, taken off the table: all that is needed to make its attempts in full.
type illRound struct {
	d        *dueTarget
	job      *Job
	module   Module
	name     string
	dst      netip.AddrPort
	src      netip.Addr
	hop      netip.Addr
	ifindex  int
	parity   observe.Parity
	script   plan.Script
	listen   time.Duration
	started  time.Time
	finished time.Time
	handed   []time.Time
	shots    []pulse.Shot
	tape     *pulse.Tape
	refused  []refusal
	drops    uint64
	unread   uint64
	neighbor []observe.NeighborEvent
	blind    error // the capture failed under way
}

// ill takes a round that was not well off the table and has it judged; unread frames had not been read when its time was over.
func (l *light) ill(ctx context.Context, b *lightBurst, unread uint64) {
	l.delivered()
	if l.overloaded(b, unread) {
		l.leaveOut(b)
		return
	}
	x := &illRound{d: b.d, job: b.job, dst: b.Dst, src: b.Src, script: *b.Arm, listen: b.Listen, started: b.started, finished: time.Now(),
		drops: l.lost - b.drops, unread: unread, hop: b.peer.hop.route.NextHop(), ifindex: b.peer.hop.route.IfIndex,
		parity: observe.Parity{Why: "not compared with the kernel's own way yet"}, module: b.job.Module.withDefaults(), name: b.d.target}
	x.blind = l.e.capturing()
	if p := b.peer.parity.Load(); p != nil {
		x.parity = *p
	}
	x.script.Clock.Start = b.Start
	for _, at := range b.Handed {
		x.handed = append(x.handed, l.wall(at))
	}
	silent := 0
	l.mu.Lock()
	for i := range b.Size() {
		s := l.table.Shot(&b.Burst, i)
		x.shots = append(x.shots, s)
		if !s.Accepted && !s.Answered {
			silent++
		}
	}
	for _, r := range b.refused {
		if r.shot = l.table.Index(&b.Burst, r.slot); r.shot >= 0 {
			x.refused = append(x.refused, r)
		}
	}
	l.unend(b)
	x.tape = b.Tape()
	x.neighbor = l.overheard(x)
	l.mu.Unlock()
	if t := b.d.light; t != nil && b.peer == t.peer && silent > 0 && !l.ownLoss(b, unread) {
		b.peer.until = time.Time{}.Add(1) // the way is looked up anew before the next round
	}
	l.close(b, silent)
	select {
	case l.judge <- x:
	default:
		l.tell(ctx, x) // the judges are behind: the schedule waits for them, and its lag shows it
	}
}

// unend takes back that a round's last answer has come, since its time was over before: the end that the table told of must not be taken for that
// of the next round that has this burst's memory. The caller holds the lock.
func (l *light) unend(b *lightBurst) {
	l.ended = slices.DeleteFunc(l.ended, func(e *pulse.Burst) bool { return e == &b.Burst })
}

// leaveOut ends an ill round unjudged.
func (l *light) leaveOut(b *lightBurst) {
	silent := 0
	l.mu.Lock()
	for i := range b.Size() {
		if s := l.table.Shot(&b.Burst, i); !s.Accepted && !s.Answered {
			silent++
		}
	}
	l.unend(b)
	l.mu.Unlock()
	if !b.d.gone.Load() {
		l.s.sink.Skipped(b.job.Name, SkipOverload)
	}
	l.close(b, silent)
}

// overheard are the ARP and ND frames about the round's own address or its next hop while it lasted. The caller holds the lock.
func (l *light) overheard(x *illRound) (out []observe.NeighborEvent) {
	r := run{near: map[hopKey]nearness{{x.ifindex, x.src}: ownAddr, {x.ifindex, x.hop.WithZone("")}: nextHop}}
	from := x.started.Round(0)
	for i := range l.heard {
		ev := &l.heard[(l.hearing+i)%len(l.heard)]
		if !ev.At.Before(from) && r.concerns(ev) {
			out = append(out, *ev)
		}
	}
	return out
}

// judging makes ill rounds whole and tells them, until there are no more.
func (l *light) judging(ctx context.Context) {
	for x := range l.judge {
		l.tell(ctx, x)
	}
}

func (l *light) tell(ctx context.Context, x *illRound) {
	if x.d.gone.Load() {
		return
	}
	r := l.p.whole(x)
	rounds := []Round{r}
	l.s.sink.Observe(x.job.Name, x.job.Module.Name, x.job.Labels, rounds)
	if ctx.Err() == nil {
		l.s.inquire(ctx, x.d, x.job, rounds)
	}
}

// whole makes the round that the ordinary way would have given.
func (p *Prober) whole(x *illRound) Round {
	host := p.Host()
	r := Round{Target: x.name, Addr: x.dst, Module: x.module.Name, Kind: x.module.Kind, Started: x.started, Duration: x.finished.Sub(x.started),
		Ladder: host.Ladder, Kernel: host.Kernel, OwnQueue: p.engine.queueTowards(x.dst.Addr(), x.module)}
	r.Observations = []observe.Observation{x.observation()}
	r.Diagnosis = diagnose.Diagnose(r.input())
	r.Success, r.Why = judge(&r, x.module)
	return r
}

// observation gives the frames that were kept to the correlator, as if it had seen them come.
func (x *illRound) observation() observe.Observation {
	b := plan.Burst{Label: "syn", Kind: plan.KindSYN, Arms: []plan.Arm{{Name: "raw", Via: plan.Raw, Script: x.script}}, Listen: x.listen}
	for _, s := range x.shots {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Src: netip.AddrPortFrom(x.src, s.Port), Dst: x.dst}})
	}
	c := observe.NewCorrelator(&b)
	o := c.Observation()
	for i, s := range x.shots {
		c.Bind(i, b.Shots[i].Flow)
		c.ISS(i, s.ISS)
		_, _, stamps := x.script.Options.Timestamps()
		for k := range min(s.SYNs, len(x.handed)) {
			c.Handed(i, x.handed[k], x.script.Clock.SYN(k, x.handed[k].Sub(x.handed[0])), stamps)
		}
	}
	for _, f := range x.refused {
		c.Refused(f.shot, f.syn, "send SYN: "+f.errno.Error(), droppedHere(f.errno))
	}
	tape := newRecorder(Recording{On: true})
	seen := make([]liveShot, len(x.shots))
	for i := range x.tape.Frames {
		replayed(c, &x.tape.Frames[i], seen, tape)
	}
	for _, ev := range x.neighbor {
		c.Neighbor(ev)
	}
	o.Started, o.Finished, o.ClockStep = x.started, x.finished, clockStep(x.started, x.finished)
	o.NextHop, o.Parity, o.Captured = x.hop, x.parity, x.blind == nil
	if x.blind != nil {
		c.Cut(false, x.blind.Error())
		o.Unmeasured = append(o.Unmeasured, "the capture: "+x.blind.Error())
	}
	if x.unread > 0 {
		c.Stray(observe.CaptureBehind)
	}
	o.CaptureDrops = uint32(min(x.drops+x.unread+uint64(x.tape.Missing), 1<<31))
	out := c.Finish()
	out.Recorded = tape.recording()
	return out
}

// replayed gives one frame to the correlator, unless it is the same as one a moment before on another device of this host.
func replayed(c *observe.Correlator, f *pulse.Frame, seen []liveShot, tape *recorder) {
	x := rawsock.Frame{At: f.At, IfIndex: int(f.IfIndex), Outgoing: f.Outgoing, Unsummed: f.Unsummed, VLAN: f.VLAN, Link: f.Link, Net: f.Net, Len: int(f.Orig)}
	x.EtherType = etherIPv6
	if len(f.Net) > 0 && f.Net[0]>>4 == 4 {
		x.EtherType = etherIPv4
	}
	i, way := int(f.Shot), 0
	if f.Outgoing {
		way = 1
	}
	if seen[i].stacked(way, &x) {
		c.Stray("stacked_device")
		return
	}
	tape.keep(&x, i)
	var seg wire.Segment
	at := time.Unix(0, f.At)
	switch wire.Parse(f.Net, &seg) {
	case wire.ReasonNone, wire.ReasonOptions:
	default:
		var m wire.ICMPError
		if wire.ParseICMP(f.Net, &m) == wire.ReasonNone {
			c.ICMP(i, icmpAnswer(f.At, &m))
		}
		return
	}
	if f.Unsummed && seg.Checksum == wire.ChecksumBad {
		seg.Checksum = wire.ChecksumPartial
	}
	switch {
	case f.Outgoing:
		c.Outgoing(i, at, x.IfIndex, nextHopMAC(&x), &seg)
	case seg.Checksum == wire.ChecksumBad:
		c.Stray("bad_checksum")
	default:
		c.Incoming(i, at, &seg)
		if len(f.Link) >= 14 {
			c.Delivered(wire.MAC(f.Link[6:12]))
		}
	}
}
