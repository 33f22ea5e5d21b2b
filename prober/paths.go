package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// path is the way to one destination, from one source and interface: the route, and for raw shots the sender and link header.
type path struct {
	route rawsock.Route
	iface string // as asked for; "" leaves it to the route
	bound bool   // the source address was asked for
	since time.Time

	ready  bool // raw is prepared
	rawErr error
	sender *sharedSender
	link   [14]byte
	parity observe.Parity
}

// sharedSender serialises the use of one sender.
type sharedSender struct {
	mu sync.Mutex
	s  rawsock.Sender
}

func (s *sharedSender) send(packets []rawsock.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.s.Send(packets)
	return err
}

// pathLife is how long a route and a next hop's MAC are believed: a failover moves both.
const pathLife = 10 * time.Second

type pathKey struct {
	dst, src netip.Addr
	iface    string
}

type senderKey struct {
	ifindex int
	local   bool
}

// paths remembers ways and owns the senders.
type paths struct {
	mu      sync.Mutex
	known   map[pathKey]*path
	senders map[senderKey]*sharedSender
}

func newPaths() *paths {
	return &paths{known: map[pathKey]*path{}, senders: map[senderKey]*sharedSender{}}
}

// route finds the way to dst.
func (ps *paths) route(dst, src netip.Addr, iface string, foreign bool) (*path, error) {
	key := pathKey{dst, src, iface}
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old := ps.known[key]
	if old != nil && now.Sub(old.since) < pathLife {
		return old, nil
	}
	for k, p := range ps.known {
		if now.Sub(p.since) >= plan.PortQuarantine+pathLife {
			delete(ps.known, k)
		}
	}
	r, err := rawsock.LookupRoute(dst, src, iface, foreign)
	if err != nil {
		return nil, err
	}
	p := &path{route: r, iface: iface, bound: src.IsValid(), since: now}
	if old != nil {
		p.sender, p.link = old.sender, old.link
	}
	ps.known[key] = p
	return p, nil
}

// readyRaw prepares a path for raw shots: the sender, the next hop's MAC, and whether the kernel would leave the same way.
// What stands in the way is in p.rawErr.
func (e *engine) readyRaw(ctx context.Context, q request, p *path, dst netip.AddrPort) observe.Parity {
	if err := e.capturing(); err != nil {
		p.rawErr = fmt.Errorf("raw shots need a capture: %w", err)
		return observe.Parity{Why: "no capture"}
	}
	e.paths.mu.Lock()
	ready, parity := p.ready, p.parity
	e.paths.mu.Unlock()
	if ready {
		return parity
	}
	sender, link, err := e.openPath(ctx, p)
	parity = observe.Parity{}
	if err == nil {
		parity = e.scout(ctx, q, p, link, dst)
	}
	e.paths.mu.Lock()
	defer e.paths.mu.Unlock()
	p.sender, p.link, p.rawErr, p.parity, p.ready = sender, link, err, parity, true
	return parity
}

func (e *engine) openPath(ctx context.Context, p *path) (*sharedSender, [14]byte, error) {
	s, err := e.paths.open(p.route)
	if err != nil {
		return nil, [14]byte{}, err
	}
	if p.route.Local {
		return s, [14]byte{}, nil
	}
	mac, err := rawsock.NextHopMAC(ctx, p.route)
	if err != nil {
		return nil, [14]byte{}, err
	}
	return s, p.route.LinkHeader(mac), nil
}

func (ps *paths) open(r rawsock.Route) (*sharedSender, error) {
	key := senderKey{r.IfIndex, r.Local}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s := ps.senders[key]; s != nil {
		return s, nil
	}
	s, err := rawsock.NewSender(r)
	if err != nil {
		return nil, err
	}
	ps.senders[key] = &sharedSender{s: s}
	return ps.senders[key], nil
}

func (ps *paths) close() error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var errs []error
	for _, s := range ps.senders {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(errs...)
}

// back finds a prepared way from src to dst, for the reset of a late SYN-ACK; nil: none is known.
func (ps *paths) back(dst, src netip.Addr) *path {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for key, p := range ps.known {
		if key.dst == dst && p.route.Src == src && p.sender != nil {
			return p
		}
	}
	return nil
}

// port takes a fresh source port towards dst and, for a raw shot, makes sure that this host's own TCP keeps off it.
func (e *engine) port(src netip.Addr, dst netip.AddrPort, wanted uint16, raw bool) (uint16, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if wanted != 0 {
		return wanted, e.hold(src, wanted, raw)
	}
	book := e.kports
	if raw {
		book = e.rports
	}
	for range portTries {
		ports, err := book.Take(src, dst, 1, time.Now())
		if err != nil {
			return 0, err
		}
		err = e.hold(src, ports[0], raw)
		if err == nil {
			return ports[0], nil
		}
		if !errors.Is(err, rawsock.ErrPortInUse) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("source ports %s: %d in a row are in use by other programs", e.host.SourcePorts, portTries)
}

// portTries bounds the search for a port that nothing else uses.
const portTries = 64

// hold keeps a raw port out of the kernel's hands for the life of the engine. The caller holds the lock.
func (e *engine) hold(src netip.Addr, port uint16, raw bool) error {
	key := hold{src, port}
	if !raw {
		h, err := rawsock.HoldPort(src, port, "")
		if err != nil {
			return err
		}
		return h.Close()
	}
	if h, ok := e.holds[key]; ok {
		h.uses++
		e.holds[key] = h
		return nil
	}
	if e.opts.AllowForeignSource {
		return nil
	}
	h, err := rawsock.HoldPort(src, port, "")
	if err != nil {
		return err
	}
	e.host.HoldMethod = h.Method.String()
	e.holds[key] = held{close: h.Close, uses: 1}
	return nil
}
