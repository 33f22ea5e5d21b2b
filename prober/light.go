package prober

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/pulse"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// light makes scheduled rounds of raw SYNs without a goroutine, a correlator or an attempt for any of them: see package pulse. A round whose
// every connection is accepted at once is told as Healthy; of any other the frames were kept, and it is judged from them as an ordinary
// round is. The schedule's loop sends; the tap's reader receives.
type light struct {
	p     *Prober
	e     *engine
	s     *Schedule
	began time.Time

	// The loop's own.
	out          *lightOutbox
	timers       burstHeap
	parked       []*lightBurst // over for want of time, until the reader has caught up
	idle         []*lightBurst // to be used again
	backlog      []*dueTarget  // due, and waiting for a limit or for room; oldest first
	asks         []*lookUp
	hops         map[lightHopKey]*lightHop
	sources      map[netip.Addr]*lightSource
	unverified   []*lightPeer // never compared with the kernel's own way yet
	verified     []*lightPeer // compared, in order of when
	swept        time.Time
	pace         pacer
	live         int // rounds under way
	spare        []*pulse.Burst
	counted      bool // delivered was asked for in this cycle
	looked       time.Time
	frames, lost uint64 // of the capture, as last read: delivered and lost
	scripts      map[scriptKey]*lightScript
	syns         []pulse.SYN
	lists        []uint16
	rtts         []time.Duration
	rand         *rand.Rand

	bursts []*lightBurst // by Burst.Owner
	ports  atomic.Uint32 // lowest port; the highest is the engine's own. 0: none
	judge  chan *illRound
	tasks  chan *lookUp
	scouts chan *lightPeer

	mu      sync.Mutex // guards what follows, and all of the table; held by the reader for a frame, by the loop for a burst
	table   *pulse.Table
	ended   []*pulse.Burst
	peers   map[flowKey]*lightPeer
	found   []*lookUp
	heard   [256]observe.NeighborEvent // newest ARP and ND frames, in a circle
	hearing int
	frame   pulse.Frame // the reader's
	strays  [5]uint64
}

// flowKey is a destination and where it is probed from.
type flowKey struct {
	src netip.Addr
	dst netip.AddrPort
}

// The bounds of the light path. lightInFlight SYNs at 32 octets each are known at a time.
const (
	lightInFlight = 1 << 18
	lightHistory  = 32 << 20
	lightTapes    = 32 << 20
	lightJudges   = 2
	lightWaiting  = 1024 // ill rounds that wait to be judged
	lightTasks    = 16
	lightAsked    = 1024 // ways that wait to be looked up by one of lightTasks
)

func newLight(p *Prober, s *Schedule) *light {
	return &light{p: p, e: p.engine, s: s, began: p.engine.began, out: newLightOutbox(), scripts: map[scriptKey]*lightScript{},
		rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), peers: map[flowKey]*lightPeer{}, hops: map[lightHopKey]*lightHop{},
		sources: map[netip.Addr]*lightSource{}, swept: time.Now()}
}

// open asks for the memory and begins to receive, once there is a target for it. false: another schedule has the light path.
func (l *light) open(ctx context.Context) bool {
	if l.table != nil {
		return true
	}
	in := lightInFlight
	if n := l.e.opts.InFlight; n > 0 {
		in = n
	}
	if l.e.light.Load() != nil {
		return false
	}
	l.table = pulse.New(pulse.Config{Seed: maphash.MakeSeed(), InFlight: in, History: lightHistory, Tapes: lightTapes})
	l.judge, l.tasks, l.scouts = make(chan *illRound, lightWaiting), make(chan *lookUp, lightAsked), make(chan *lightPeer)
	if !l.e.light.CompareAndSwap(nil, l) { // from here on the reader and who reads the metrics have it: it is whole before
		l.table = nil
		return false
	}
	for range lightJudges {
		l.s.spawn(func() { l.judging(ctx) })
	}
	for range lightTasks {
		l.s.spawn(func() { l.working(ctx) })
	}
	l.s.spawn(func() { l.scouting(ctx) })
	return true
}

// now is the monotonic time on the table's clock.
func (l *light) now() time.Duration { return time.Since(l.began) }

func (l *light) wall(d time.Duration) time.Time { return l.began.Add(d) }

// takes reports whether a port of ours is one of the light path's.
func (l *light) takes(port uint16) bool {
	lo := l.ports.Load()
	return lo != 0 && uint32(port) >= lo && port <= l.e.ports.rawRange().Hi
}

// segment takes a segment on one of our source ports; false: it is none of the light path's.
func (l *light) segment(f *rawsock.Frame, seg *wire.Segment) bool {
	port := seg.Dst.Port()
	if f.Outgoing {
		port = seg.Src.Port()
	}
	if !l.takes(port) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copy(f)
	if f.Outgoing {
		d := l.table.Outgoing(&l.frame, seg)
		l.strays[d]++
		return d != pulse.NotOurs
	}
	d, reset, ended := l.table.Incoming(&l.frame, seg)
	l.strays[d]++
	if reset {
		l.reset(seg)
	}
	if ended != nil {
		l.ended = append(l.ended, ended)
	}
	return d != pulse.NotOurs && (d != pulse.Stale || reset)
}

func (l *light) copy(f *rawsock.Frame) {
	l.frame = pulse.Frame{At: f.At, IfIndex: int32(f.IfIndex), Orig: int32(f.Len), Outgoing: f.Outgoing, Unsummed: f.Unsummed, VLAN: f.VLAN,
		Link: f.Link, Net: f.Net[:min(len(f.Net), wire.HeadersLen(f.Net))]}
}

// reset answers a SYN-ACK with an RST, where the way to its sender is known. The caller holds the lock and is the tap's reader.
func (l *light) reset(seg *wire.Segment) {
	p := l.peers[flowKey{seg.Dst.Addr(), seg.Src}]
	if p == nil || p.hop == nil {
		return
	}
	if w := p.hop.way.Load(); w != nil {
		_ = l.e.rx.out.reset(w, seg.Flow().Reverse(), seg.Ack) // both addresses are of one family: they were in one packet
	}
}

// quoted takes an ICMP error about one of our segments; false: it is none of the light path's.
func (l *light) quoted(f *rawsock.Frame, m *wire.ICMPError) bool {
	if !l.takes(m.Quoted.Src.Port()) || !m.HasSeq {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copy(f)
	ans := icmpAnswer(f.At, m)
	d, ended := l.table.Quoted(&l.frame, m.Quoted.Src, m.Quoted.Dst, m.QuotedSeq, ans.Ends())
	l.strays[d]++
	if ended != nil {
		l.ended = append(l.ended, ended)
	}
	return d != pulse.NotOurs
}

// neighbor remembers an ARP or ND frame, in case a round turns out ill.
func (l *light) neighbor(ev *observe.NeighborEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[l.hearing%len(l.heard)] = *ev
	l.hearing++
}

// admit says whether a target's rounds are for the light path: raw SYNs, one burst, reset half-open, at an address; and gives it its ports.
func (l *light) admit(ctx context.Context, d *dueTarget) bool {
	m := d.job.Module.withDefaults()
	ep, err := ParseEndpoint(d.target)
	if err != nil || !ep.Addr.IsValid() || ep.Addr.Zone() != "" || !fitsLight(&m) || l.e.capturing() != nil || !l.open(ctx) || !l.reserve(m.Burst, d.job.Interval) {
		return false
	}
	t := &lightTarget{dst: netip.AddrPortFrom(ep.Addr, ep.Port), name: ep.String(), interval: d.job.Interval}
	if t.script = l.script(d.job, m, t.dst); t.script == nil {
		return false
	}
	d.light = t
	l.pace.plan(m.Burst, t.interval)
	return true
}

func fitsLight(m *Module) bool {
	return m.Kind == KindSYN && m.Count == 1 && !m.SYN.Handshake && m.Burst <= 1<<12 && !m.Record.On
}

// reserve sees to it that there are ports enough for bursts of n every interval; false: there are not.
func (l *light) reserve(n int, interval time.Duration) bool {
	raw := l.e.ports.rawRange()
	need := pulse.CursorPorts(n, interval) + n
	if need > raw.Size()/2 {
		return false
	}
	if lo := uint32(raw.Hi) - uint32(need) + 1; l.ports.Load() == 0 || lo < l.ports.Load() {
		l.ports.Store(lo)
		l.e.ports.leave(plan.PortRange{Lo: uint16(lo), Hi: raw.Hi})
	}
	return true
}

// changed implements fastPath.
func (l *light) changed() { clear(l.scripts) }

// gone implements fastPath: the peer is kept for as long as a late answer may come.
func (l *light) gone(d *dueTarget) {
	l.pace.plan(-d.light.script.module.Burst, d.light.interval)
	l.leave(d)
}

// leave ends what a target has to do with its peer.
func (l *light) leave(d *dueTarget) {
	if p := d.light.peer; p != nil {
		p.users--
		p.idle = time.Now()
		d.light.peer = nil
	}
}

// sweep forgets peers that nobody probes any more, once no answer can come.
func (l *light) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, p := range l.peers {
		if p.users == 0 && now.Sub(p.idle) > plan.PortQuarantine {
			l.e.budget.letGo(p.budget)
			delete(l.peers, k)
		}
	}
}

// end implements fastPath: what is under way has a moment to be answered, so that nothing stays half-open at a listener.
func (l *light) end() {
	if l.table == nil {
		return
	}
	end := time.Now().Add(parting)
	for time.Now().Before(end) && l.underWay() > 0 {
		l.cycle(context.Background(), time.Now())
		pause(context.Background(), batch)
	}
	close(l.judge)
	close(l.tasks)
	close(l.scouts)
	l.e.light.CompareAndSwap(l, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.peers {
		l.e.budget.letGo(p.budget)
	}
}

// delivered is how many frames the capture has for the reader by now, or had at the first call of this cycle.
func (l *light) delivered() uint64 {
	if !l.counted && l.e.tap != nil {
		l.counted, l.looked = true, time.Now()
		if st, err := l.e.tap.Stats(); err == nil {
			l.frames, l.lost = st.Delivered(), st.Drops+st.Bad
		}
	}
	return l.frames
}

func (l *light) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.table.InFlight()
}
