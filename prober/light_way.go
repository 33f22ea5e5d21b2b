package prober

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/pulse"
)

// lightTarget is what the light path knows of one target of a job.
type lightTarget struct {
	dst      netip.AddrPort
	name     string
	script   *lightScript
	interval time.Duration
	peer     *lightPeer // nil: no way is known yet
	asking   bool       // its way is being looked up
	waits    bool       // a round of its waits for that
	heavy    time.Time  // until then its rounds are made the ordinary way
}

// lightPeer is a destination with the way to it, shared by all jobs that probe it from the same address.
type lightPeer struct {
	key    flowKey
	source *lightSource
	hop    *lightHop
	until  time.Time // the route is believed until then
	cursor pulse.Cursor
	budget *targetBudget // of the destination, kept for as long as the peer is
	users  int
	idle   time.Time // since when users is 0
	listed bool      // it is among those to be verified

	name     string
	module   *Module
	parity   atomic.Pointer[observe.Parity] // nil: not compared yet
	verified time.Time                      // when it was last to be compared
}

// lightHop is a next hop, shared by all peers behind it.
type lightHop struct {
	route  rawsock.Route // of any peer behind it
	way    atomic.Pointer[way]
	until  time.Time
	asking bool
}

type lightHopKey struct {
	hop hopKey
	is4 bool
}

// lightSource is an address that probes come from, with the ports of it that are held.
type lightSource struct {
	ports []uint16
	lo    uint32 // what ports was made from
}

// How long the light path believes a route: longer than others, because a round which finds nothing is followed by one that looks anew.
// A next hop is believed as long as everybody's. What was believed serves for lightGrace more while it is asked for again. verifyLife is how
// often each target is compared with the kernel's own way, verifyPause what lies between two of them (a comparison takes about a millisecond of a core:
// it is to have a few hundredths of one, however many targets there are), heavyLife how long a target that the light path cannot serve is left to the
// ordinary one.
const (
	lightLife   = time.Minute
	lightGrace  = 10 * time.Second
	verifyLife  = 10 * time.Minute
	verifyPause = 40 * time.Millisecond
	heavyLife   = 30 * time.Second
)

var (
	errOwn     = errors.New("the destination is this host's own")
	errNoPorts = errors.New("none of the light path's source ports could be held")
)

// lookUp is a way to be looked up: a target's, or a hop's again.
type lookUp struct {
	d    *dueTarget
	hop  *lightHop
	dst  netip.AddrPort
	m    Module
	path *path
	way  *way
	err  error
}

// ask has the way to a target looked up, unless that is going on.
func (l *light) ask(d *dueTarget) {
	if !d.light.asking {
		d.light.asking = true
		l.asks = append(l.asks, &lookUp{d: d, dst: d.light.dst, m: d.light.script.module})
	}
}

// pump hands what is to be looked up to the workers, and takes what they found.
func (l *light) pump(ctx context.Context, now time.Time) {
	l.mu.Lock()
	found := l.found
	l.found = nil
	l.mu.Unlock()
	for _, x := range found {
		l.learn(ctx, x, now)
	}
	for len(l.asks) > 0 {
		select {
		case l.tasks <- l.asks[0]:
			l.asks[0] = nil
			l.asks = l.asks[1:]
			continue
		default:
		}
		break
	}
	l.verify(now)
}

// verify has one peer compared with the kernel's own way, if the one before is done: those that never were go first.
func (l *light) verify(now time.Time) {
	list := &l.unverified
	if len(*list) == 0 {
		if list = &l.verified; len(*list) == 0 || now.Sub((*list)[0].verified) < verifyLife {
			return
		}
	}
	p := (*list)[0]
	if p.users > 0 {
		select {
		case l.scouts <- p:
		default:
			return
		}
		p.verified = now
		l.verified = append(l.verified, p)
	} else {
		p.listed = false
	}
	(*list)[0] = nil
	*list = (*list)[1:]
}

// working is a worker that looks ways up. What is found while the loop has not come to what was before it, is the loop's by then as well.
func (l *light) working(ctx context.Context) {
	rt, done := router()
	defer done()
	for x := range l.tasks {
		l.look(ctx, rt, x)
		l.mu.Lock()
		l.found = append(l.found, x)
		first := len(l.found) == 1
		l.mu.Unlock()
		if first {
			l.s.kick()
		}
	}
}

// router asks this goroutine's network namespace for routes, with sockets that are kept where they can be had: for tens of thousands of targets a socket
// for each question would cost more than the question.
func router() (rt *rawsock.Router, done func()) {
	rt, err := rawsock.NewRouter()
	if err != nil {
		return new(rawsock.Router), func() {}
	}
	return rt, rt.Close
}

func (l *light) look(ctx context.Context, rt *rawsock.Router, x *lookUp) {
	if x.hop != nil {
		x.way, x.err = l.e.openWay(ctx, x.hop.route)
		return
	}
	if x.path, x.err = l.e.paths.routeBy(rt, x.dst.Addr(), x.m.Source, x.m.Interface, l.e.opts.AllowForeignSource); x.err != nil {
		return
	}
	if x.path.route.Local {
		x.err = errOwn
		return
	}
	if x.err = x.path.fits(); x.err == nil {
		x.way, x.err = l.e.openWay(ctx, x.path.route)
	}
}

// learn takes what a worker found, and begins the round that waited for it.
func (l *light) learn(ctx context.Context, x *lookUp, now time.Time) {
	if x.hop != nil {
		x.hop.asking = false
		if x.err == nil {
			x.hop.way.Store(x.way)
			x.hop.until = now.Add(pathLife)
		}
		return
	}
	d := x.d
	if d.light == nil || d.light.dst != x.dst {
		d.running.Store(false) // it has changed meanwhile
		return
	}
	d.light.asking = false
	if x.err == nil {
		x.err = l.believe(d, x, now)
	}
	if x.err != nil {
		d.light.heavy = now.Add(heavyLife)
	}
	if !d.light.waits {
		return
	}
	d.light.waits = false
	switch {
	case d.gone.Load():
		d.running.Store(false)
	case !l.begin(d, now):
		l.s.enqueue(ctx, d)
	}
}

// believe puts the way that was found in force.
func (l *light) believe(d *dueTarget, x *lookUp, now time.Time) error {
	r := x.path.route
	key := lightHopKey{hopKey{r.IfIndex, r.NextHop().WithZone("")}, r.Dst.Is4()}
	hop := l.hops[key]
	if hop == nil {
		hop = &lightHop{}
		l.hops[key] = hop
	}
	hop.route, hop.until = r, now.Add(pathLife)
	hop.way.Store(x.way)
	source, err := l.source(r.Src)
	if err != nil {
		return err
	}
	flow := flowKey{r.Src.WithZone(""), x.dst}
	p := d.light.peer
	if p == nil || p.key != flow {
		if p != nil {
			l.leave(d)
		}
		p = l.peer(flow, d)
		p.users++
		d.light.peer = p
		if !p.listed {
			p.listed = true
			l.unverified = append(l.unverified, p)
		}
	}
	// Spread, so that targets whose first rounds were close to each other are not looked up again in one heap.
	p.source, p.until = source, now.Add(lightLife+time.Duration(l.rand.Int64N(int64(lightLife))))
	l.mu.Lock()
	p.hop = hop
	l.mu.Unlock()
	return nil
}

// peer finds or makes the peer of a flow.
func (l *light) peer(k flowKey, d *dueTarget) *lightPeer {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[k]
	if p == nil {
		p = &lightPeer{key: k, name: d.light.name, module: &d.light.script.module, budget: l.e.budget.keep(k.dst)}
		p.cursor.Start(l.rand.IntN(1 << 16))
		l.peers[k] = p
	}
	return p
}

// source finds or makes the list of an address's ports, each held so that this host's own TCP keeps off it.
func (l *light) source(a netip.Addr) (*lightSource, error) {
	s, lo := l.sources[a], l.ports.Load()
	if s != nil && s.lo == lo {
		return s, nil
	}
	s = &lightSource{lo: lo}
	hi := uint32(l.e.ports.rawRange().Hi)
	for port := lo; port <= hi; port++ {
		if err := l.e.ports.keep(a, uint16(port)); err == nil {
			s.ports = append(s.ports, uint16(port))
		}
	}
	if len(s.ports) == 0 {
		return nil, errNoPorts
	}
	l.sources[a] = s
	return s, nil
}

// scouting compares ways with the kernel's own, one at a time.
func (l *light) scouting(ctx context.Context) {
	rt, done := router()
	defer done()
	for p := range l.scouts {
		l.mu.Lock()
		hop := p.hop
		l.mu.Unlock()
		w := hop.way.Load()
		m := *p.module
		known, err := l.e.paths.routeBy(rt, p.key.dst.Addr(), m.Source, m.Interface, l.e.opts.AllowForeignSource)
		if err != nil || w == nil {
			continue
		}
		q := request{target: p.name, source: m.Source, iface: m.Interface, check: func(a netip.Addr) error { return l.p.permitted(p.name, a, m, nil) }}
		parity := l.e.scout(ctx, q, known, w.link, p.key.dst)
		p.parity.Store(&parity)
		pause(ctx, verifyPause)
	}
}
