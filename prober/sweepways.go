package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/sweep"
)

// wayfinder finds the ways of a sweep's targets. Targets that this host routes alike share one question to the kernel.
type wayfinder struct {
	s        *sweeper
	check    func(netip.Addr) error
	prefixes *rawsock.Prefixes
	last     rawsock.Span // of the target before, where all in it leave by lastWay
	lastWay  uint32
	known    map[rawsock.Span]uint32 // a span of one address where its neighbours may leave otherwise
	ports    map[netip.Addr][]uint16
	// portsOf are the ports of portsWay: those of the target before.
	portsOf  []uint16
	portsWay uint32
	guns     map[gunKey]int
	failed   map[rawsock.Span]error // why a whole span cannot be reached
	met      map[netip.Addr]meeting // neighbours that were asked beforehand
	asking   atomic.Int64           // those that have not answered yet
	alike    map[rawsock.Span]bool  // spans of neighbours whose raw SYNs leave as the kernel's do
}

type gunKey struct {
	ifindex int
	v6      bool
}

// prepare enters every probe in the book. An error means that nothing will be sent.
func (s *sweeper) prepare(ctx context.Context, check func(netip.Addr) error) error {
	prefixes, err := rawsock.ReadPrefixes()
	if err != nil {
		return &EnvironmentError{Err: fmt.Errorf("sweep: %w", err)}
	}
	f := &wayfinder{s: s, check: check, prefixes: prefixes, known: map[rawsock.Span]uint32{}, ports: map[netip.Addr][]uint16{}, guns: map[gunKey]int{},
		failed: map[rawsock.Span]error{}, alike: map[rawsock.Span]bool{}}
	if err := f.meet(ctx); err != nil {
		return err
	}
	var first error // why a target was left out
	for dst := range s.q.Targets {
		dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
		if err := f.add(ctx, dst); err != nil {
			if !s.leaveOut(ctx, dst, err) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	switch {
	case s.book.Len() > 0:
	case first != nil:
		return first
	default:
		return &EnvironmentError{Err: errors.New("sweep: no targets")}
	}
	s.open = s.book.Len()
	return nil
}

func (f *wayfinder) add(ctx context.Context, dst netip.AddrPort) error {
	if err := f.check(dst.Addr()); err != nil {
		return err
	}
	if dst.Port() == 0 {
		return &TargetError{Target: dst.String(), Why: "port 0"}
	}
	way, err := f.way(ctx, dst)
	if err != nil {
		return err
	}
	if f.portsOf == nil || way != f.portsWay {
		f.portsOf, f.portsWay = f.ports[f.s.book.WayOf(way).Src], way
	}
	for _, port := range f.portsOf {
		f.s.book.Add(dst, way, port)
	}
	return nil
}

// way is the number of dst's way in the book.
func (f *wayfinder) way(ctx context.Context, dst netip.AddrPort) (uint32, error) {
	addr := dst.Addr()
	if f.last.Contains(addr) {
		return f.lastWay, nil
	}
	span, alike := f.prefixes.Span(addr)
	single := rawsock.Span{First: addr.WithZone(""), Last: addr.WithZone("")}
	if way, known := f.known[span]; known {
		f.last, f.lastWay = span, way
		return way, nil
	}
	if way, known := f.known[single]; known {
		return way, nil
	}
	if err := f.failed[span]; err != nil {
		return 0, &EnvironmentError{Target: dst.String(), Err: err}
	}
	path, err := f.route(addr)
	var way uint32
	if err == nil {
		way, err = f.open(ctx, path, dst, span)
	}
	if err != nil {
		if alike && (path == nil || !path.route.OnLink && !path.route.Local) {
			f.failed[span] = err
		}
		return 0, &EnvironmentError{Target: dst.String(), Err: err}
	}
	if !alike || path.route.OnLink || path.route.Local {
		span = single
	} else {
		f.last, f.lastWay = span, way
	}
	f.known[span] = way
	return way, nil
}

// open makes a way ready.
func (f *wayfinder) open(ctx context.Context, p *path, dst netip.AddrPort, span rawsock.Span) (uint32, error) {
	link, err := f.link(ctx, p, dst, span)
	if err != nil {
		return 0, err
	}
	gun, err := f.gun(p.route)
	if err != nil {
		return 0, err
	}
	src := p.route.Src
	if f.ports[src] == nil {
		if f.ports[src], err = f.claim(src); err != nil {
			return 0, err
		}
	}
	return f.s.book.AddWay(sweep.Way{Src: src, Link: link, Gun: gun})
}

// route asks how this host reaches an address.
func (f *wayfinder) route(a netip.Addr) (*path, error) {
	return f.s.engine.paths.route(a, f.s.q.Source, f.s.q.Interface, f.s.engine.opts.AllowForeignSource)
}

// link finds the link header, and with a capture also sees whether the kernel would leave the same way: once for neighbours that were asked
// beforehand, or addresses of its own, that are routed alike.
func (f *wayfinder) link(ctx context.Context, p *path, dst netip.AddrPort, span rawsock.Span) (h [14]byte, err error) {
	e := f.s.engine
	m, met := f.met[dst.Addr()]
	switch {
	case m.err != nil:
		return h, m.err
	case met && f.alike[span]:
		return p.route.LinkHeader(m.mac), nil
	case p.route.Local && f.alike[span]:
		return h, nil
	}
	if f.s.q.Transmit != TransmitPacket {
		mac, err := e.hops.resolve(ctx, p.route)
		if err != nil {
			return h, err
		}
		return p.route.LinkHeader(mac), nil
	}
	st, err := e.readyRaw(ctx, request{target: dst.String(), source: f.s.q.Source, iface: f.s.q.Interface, check: f.check}, p, dst)
	if err != nil {
		return h, err
	}
	if st.err != nil {
		return h, st.err
	}
	if why := st.whyNotRaw(); why != "" {
		return h, errors.New(why)
	}
	f.alike[span] = st.parity.State == observe.ParitySame
	return st.way.link, nil
}

// gun is the number of the sender of a device and family; with a capture there is another one for resets.
func (f *wayfinder) gun(r rawsock.Route) (int, error) {
	key := gunKey{r.IfIndex, r.Dst.Is6()}
	if k, known := f.guns[key]; known {
		return k, nil
	}
	s := f.s
	g, err := s.newGun(r)
	if err != nil {
		return 0, err
	}
	s.guns, s.loaded = append(s.guns, g), append(s.loaded, nil)
	if s.q.Transmit == TransmitPacket {
		back, err := newVolley(r)
		if err != nil {
			return 0, err
		}
		// Nobody needs to see a reset leave: past the taps it costs a third less.
		if err := back.Bypass(); err != nil {
			return 0, errors.Join(err, back.Close())
		}
		s.returns = append(s.returns, back)
	}
	f.guns[key] = len(s.guns) - 1
	return f.guns[key], nil
}

func (s *sweeper) newGun(r rawsock.Route) (gun, error) {
	if s.q.Transmit == TransmitXDP {
		return rawsock.NewXDP(r)
	}
	v, err := newVolley(r)
	if err != nil || s.q.Transmit != TransmitBlind {
		return v, err
	}
	if err := v.Bypass(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// volley is a gun by packet socket.
type volley interface {
	gun
	Bypass() error
}

// newVolley opens the cheapest that device and kernel have.
func newVolley(r rawsock.Route) (volley, error) {
	if r.Local {
		return newLocalGun(r)
	}
	t, err := rawsock.NewTxRing(r)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		v, err := rawsock.NewVolley(r)
		if err != nil {
			return nil, err
		}
		return v, nil
	case err != nil:
		return nil, err
	}
	return t, nil
}

// claim takes the source ports of one address of ours.
func (f *wayfinder) claim(src netip.Addr) ([]uint16, error) {
	if src.Is6() && src.IsLinkLocalUnicast() {
		return nil, errors.New("sweeps do not go to link-local addresses")
	}
	w := want{src: src, n: f.s.q.Shots, raw: true, sweep: true, unheld: f.s.q.Transmit != TransmitPacket}
	ports, err := f.s.engine.ports.take(context.Background(), w)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		f.s.ports = append(f.s.ports, sweepPort{w, p})
	}
	return ports, nil
}
