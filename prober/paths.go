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
)

// path is the route to one destination, from one source and interface, as looked up at one moment.
type path struct {
	route rawsock.Route
	iface string // as asked for; "" leaves it to the route
	bound bool   // the source address was asked for
	lent  bool   // the source address is borrowed
	since time.Time
	// fits says whether this host's neighbour table has room for the next hop; it looks once.
	fits func() error

	// turn is held by whoever prepares the path for raw shots, so that callers at the same time ask and scout once; raw is theirs.
	turn chan struct{}
	raw  rawState
}

// rawState is what preparing a path for raw shots came to.
type rawState struct {
	way    *way
	parity observe.Parity
	err    error     // what stands in the way
	until  time.Time // believed until then; zero: not prepared
}

// way is what a raw packet needs to leave: it never changes once made.
type way struct {
	sender *sharedSender
	link   [14]byte
}

// pathLife is how long a route and a next hop's MAC are believed: a failover moves both. What stood in the way of raw shots is tried
// again sooner.
const (
	pathLife    = 10 * time.Second
	failureLife = time.Second
)

type pathKey struct {
	dst, src netip.Addr
	iface    string
}

// paths remembers routes and owns the senders.
type paths struct {
	mu      sync.Mutex
	known   map[pathKey]*path
	swept   time.Time
	senders map[senderKey]*sharedSender
	room    room
}

func newPaths() *paths {
	return &paths{known: map[pathKey]*path{}, senders: map[senderKey]*sharedSender{}}
}

// route finds the way to dst.
func (ps *paths) route(dst, src netip.Addr, iface string, foreign bool) (*path, error) {
	return ps.routeBy(new(rawsock.Router), dst, src, iface, foreign)
}

// routeBy is route that asks a router of the caller's.
func (ps *paths) routeBy(rt *rawsock.Router, dst, src netip.Addr, iface string, foreign bool) (*path, error) {
	key := pathKey{dst, src, iface}
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.known[key]; p != nil && now.Sub(p.since) < pathLife {
		return p, nil
	}
	if now.Sub(ps.swept) >= pathLife {
		for k, p := range ps.known {
			if now.Sub(p.since) >= pathLife {
				delete(ps.known, k)
			}
		}
		ps.swept = now
	}
	r, err := rt.Route(rawsock.Query{Dst: dst, Src: src, IfName: iface, AllowForeignSource: foreign})
	if err != nil {
		return nil, err
	}
	p := &path{route: r, iface: iface, bound: src.IsValid() && !src.IsUnspecified(), since: now, turn: make(chan struct{}, 1),
		fits: sync.OnceValue(func() error { return ps.room.check(r) })}
	ps.known[key] = p
	return p, nil
}

// forget makes the next burst look its routes up anew, after a device was found down or gone.
func (ps *paths) forget(s *sharedSender, gone bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	clear(ps.known)
	if !gone {
		return
	}
	for k, known := range ps.senders {
		if known == s {
			delete(ps.senders, k)
		}
	}
}

// readyRaw prepares a path for raw shots: the sender, the next hop's MAC, and whether the kernel would leave the same way. Callers at
// the same time wait for one of them. The error is the caller's own, who had too little time; what else stands in the way is in the state.
func (e *engine) readyRaw(ctx context.Context, q request, p *path, dst netip.AddrPort) (rawState, error) {
	if err := e.capturing(); err != nil {
		return rawState{parity: observe.Parity{Why: "no capture"}, err: fmt.Errorf("raw shots need a capture: %w", err)}, nil
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return rawState{}, context.Cause(ctx)
	}
	if time.Now().Before(p.raw.until) {
		return p.raw, nil
	}
	st := e.prepareRaw(ctx, q, p, dst)
	if ctx.Err() != nil {
		return rawState{}, context.Cause(ctx)
	}
	if ofCaller(ctx, st.err) {
		return rawState{}, st.err
	}
	p.raw = st
	return st, nil
}

func (e *engine) prepareRaw(ctx context.Context, q request, p *path, dst netip.AddrPort) rawState {
	w, err := e.openWay(ctx, p.route)
	if err != nil {
		return rawState{err: err, parity: observe.Parity{Why: err.Error()}, until: time.Now().Add(failureLife)}
	}
	if p.lent {
		return rawState{way: w, parity: observe.Parity{Why: "the kernel has no way of its own from a borrowed address"}, until: p.since.Add(pathLife)}
	}
	return rawState{way: w, parity: e.scout(ctx, q, p, w.link, dst), until: p.since.Add(pathLife)}
}

func (e *engine) openWay(ctx context.Context, r rawsock.Route) (*way, error) {
	s, err := e.paths.open(r)
	if err != nil {
		return nil, err
	}
	if r.Local {
		return &way{sender: s}, nil
	}
	mac, err := e.hops.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	return &way{s, r.LinkHeader(mac)}, nil
}

// whyNotRaw says what forbids raw shots on a path; "" permits them.
func (st *rawState) whyNotRaw() string {
	switch {
	case st.err != nil:
		return st.err.Error()
	case st.parity.State == observe.ParityDiffers:
		return "not_applicable: local path differs: " + st.parity.Why
	}
	return ""
}

type senderKey struct {
	ifindex int
	local   bool
}

// sharedSender serialises the use of one sender.
type sharedSender struct {
	mu     sync.Mutex
	s      rawsock.Sender
	closed bool
}

// errSenderClosed is returned for packets that come after their device had gone.
var errSenderClosed = errors.New("the device's sender was closed")

func (s *sharedSender) send(packets []rawsock.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errSenderClosed
	}
	_, err := s.s.Send(packets)
	return err
}

func (s *sharedSender) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.s.Close()
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
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// steps carries out what a burst wants done to neighbour entries before it begins; what cannot be done is returned in sentences.
func (e *engine) steps(ctx context.Context, q request, r *run) (failed []string) {
	for _, s := range r.burst.Prepare {
		if err := e.step(ctx, q, r, s); err != nil {
			failed = append(failed, fmt.Sprintf("neighbour %s: %v", s.Addr, err))
		}
	}
	return failed
}
