package prober

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// lending is the permission to send from a borrowed address.
type lending struct {
	// mac is whose the borrowed address is said to be; zero: the interface's own.
	mac wire.MAC
	// router permits it where a router answers for the target: what is borrowed from then is the router's queue.
	router bool
}

// Why a burst from a borrowed address is refused.
var (
	errNotLent = errors.New("a borrowed address needs the caller's permission")
	errLocal   = errors.New("the target is an address of this host: no neighbour is asked for")
	errRouted  = errors.New("a router stands before the target: its neighbour queue would be measured, not the target's")
	errForward = errors.New("this host forwards packets: with its own MAC for a borrowed address it would answer for others' packets to it")
)

// borrowed is path p as a borrowed source address takes it.
func (q *request) borrowed(p *path, a netip.Addr) (*path, error) {
	switch {
	case q.lend == nil:
		return nil, errNotLent
	case p.route.Local:
		return nil, errLocal
	case !p.route.OnLink && !q.lend.router:
		return nil, fmt.Errorf("%w (%s)", errRouted, p.route.NextHop())
	}
	own := *p
	own.route.Src, own.lent, own.bound = a, true, true
	own.turn, own.raw = make(chan struct{}, 1), rawState{}
	if q.lend.mac != (wire.MAC{}) {
		own.route.SrcMAC = q.lend.mac
	}
	return &own, nil
}

// voice is the responder of a burst from a borrowed address; nil: there is none.
type voice struct {
	cancel context.CancelFunc
	done   chan error
	target string
}

// lend answers for the burst's borrowed address while it lasts: only to the next hop, and not before the whole burst has left. A host that
// turns out to have the address ends the burst.
func (e *engine) lend(ctx context.Context, q request, r *run) (*voice, error) {
	if !r.lent.IsValid() {
		return nil, nil
	}
	route, mac, err := r.borrowedWay()
	if err == nil && q.lend.mac == (wire.MAC{}) && forwards(route) {
		err = errForward
	}
	if err != nil {
		return nil, &EnvironmentError{Target: q.target, Err: err}
	}
	resp, err := neigh.NewResponder(neigh.Borrow{IfIndex: route.ifindex, Addr: r.lent, MAC: q.lend.mac, Delay: r.burst.Borrow.Delay,
		Hold: func(ctx context.Context) error { return e.left(ctx, r) }, Only: neigh.Peer{Addr: route.addr, MAC: mac}}, e.hops.limiter(route.ifindex))
	if err != nil {
		return nil, &EnvironmentError{Target: q.target, Err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &voice{cancel: cancel, done: make(chan error, 1), target: q.target}
	go func() {
		err := resp.Run(ctx)
		if err != nil {
			r.cancel(err)
		}
		a.done <- err
	}()
	return a, nil
}

// borrowedWay is the interface and next hop of a burst from a borrowed address, and the next hop's MAC.
func (r *run) borrowedWay() (hopKey, wire.MAC, error) {
	for _, g := range r.groups {
		if g.err == nil && g.raw.way != nil {
			return hopKey{g.path.route.IfIndex, g.path.route.NextHop().WithZone("")}, wire.MAC(g.raw.way.link[:6]), nil
		}
		if g.raw.err != nil {
			return hopKey{}, wire.MAC{}, g.raw.err
		}
	}
	return hopKey{}, wire.MAC{}, errors.New("nothing of the burst can be sent")
}

// forwards reports whether this host forwards what comes in by an interface and is not its own.
func forwards(hop hopKey) bool {
	ifi, err := net.InterfaceByIndex(hop.ifindex)
	return err != nil || hostproc.Forwards(ifi.Name, hop.addr.Is6())
}

// end stops answering and waits for it; the error is that of a host that has the address, or of the socket.
func (a *voice) end() error {
	if a == nil {
		return nil
	}
	a.cancel()
	if err := <-a.done; err != nil {
		return &EnvironmentError{Target: a.target, Err: err}
	}
	return nil
}

// left waits until every raw shot of a run has been handed to the kernel.
func (e *engine) left(ctx context.Context, r *run) error {
	select {
	case <-r.begun:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e.cycle.Lock() // what was taken on is sent before this is free
	defer e.cycle.Unlock()
	return nil
}

// begin notes that another raw shot has sent its first segment. The caller holds the engine's lock.
func (r *run) begin() {
	if r.first--; r.first == 0 {
		close(r.begun)
	}
}

// borrows reports whether a neighbour message is about the run's borrowed address.
func (r *run) borrows(ev *observe.NeighborEvent) bool {
	return r.lent.IsValid() && (ev.Target.WithZone("") == r.lent || ev.Sender.WithZone("") == r.lent)
}
