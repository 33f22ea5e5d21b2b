package prober

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// NeighborQueueOptions shape a neighbor-queue module. They can disturb a network and so never come from a URL.
type NeighborQueueOptions struct {
	// Addresses are the free ones to borrow, each asked for first; empty: two or more are found in the target's subnet.
	Addresses []netip.Addr
	// Delay of our answer to the far side's question, 1 … 900 ms; 0 means 300 ms.
	Delay time.Duration
	// Router also measures where a router stands before the target: its queue, then, not the target's.
	Router bool
	// SourceMAC borrows a MAC as well: a random, locally administered one. The interface is promiscuous while the burst lasts, and a
	// switch with port security may shut the port. It is needed where this host forwards packets.
	SourceMAC bool
}

// NeighborQueue is what a neighbor-queue module found.
type NeighborQueue struct {
	experiment.QueueResult
	// Router is whose queue was measured where it is not the target's own; else invalid.
	Router netip.Addr
	// MAC is the one that the borrowed addresses were said to have.
	MAC wire.MAC
	// Taken are addresses that were not borrowed, as somebody has them.
	Taken []TakenAddress
}

// TakenAddress is an address and who answered for it.
type TakenAddress struct {
	Addr netip.Addr
	By   wire.MAC
}

// roundNeighborQueue is the KindNeighborQueue probe.
func (p *Prober) roundNeighborQueue(ctx context.Context, _ Endpoint, addr netip.AddrPort, m Module, r *Round) {
	q := p.request(r.Target, nil, m)
	if r.Err = q.check(addr.Addr()); r.Err != nil {
		return
	}
	if err := p.Host().CaptureError; err != nil {
		r.Err = &EnvironmentError{Target: r.Target, Err: err}
		return
	}
	path, err := p.engine.paths.route(addr.Addr(), q.source, q.iface, p.engine.opts.AllowForeignSource)
	if err != nil {
		r.Err = &EnvironmentError{Target: r.Target, Err: err}
		return
	}
	q.lend = &lending{router: m.NeighborQueue.Router}
	if m.NeighborQueue.SourceMAC {
		q.lend.mac = randomMAC()
	}
	r.Queue = &NeighborQueue{MAC: path.route.SrcMAC}
	if q.lend.mac != (wire.MAC{}) {
		r.Queue.MAC = q.lend.mac
	}
	if why := unfit(path.route, q.lend); why != nil {
		r.Queue.State, r.Queue.Why = experiment.QueueNotApplicable, why.Error()
		return
	}
	done, err := p.turns.take(ctx, addr.Addr())
	if err != nil {
		r.Err, r.Queue = &EnvironmentError{Target: r.Target, Err: fmt.Errorf("another measurement of the same neighbour queue is under way: %w", err)}, nil
		return
	}
	defer done()
	left, err := p.lanes.take(ctx, lane(addr.Addr()))
	if err != nil {
		r.Err, r.Queue = &EnvironmentError{Target: r.Target, Err: fmt.Errorf("other measurements of neighbour queues are under way: %w", err)}, nil
		return
	}
	defer left()
	if !path.route.OnLink {
		r.Queue.Router = path.route.NextHop()
	}
	(&queueRun{p: p, q: q, m: m, route: path.route, r: r}).run(ctx, addr)
}

// queuesAtOnce is how many neighbour queues are measured at a time: each wants some ten ARP requests and answers of ours within seconds, and
// they all share Limits.ARPRate.
const queuesAtOnce = 3

// lane is which of them a target waits for.
func lane(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom4([4]byte{0, 0, 0, b[15] % queuesAtOnce})
}

// randomMAC is an individual, locally administered address (IEEE 802-2014 §8.4).
func randomMAC() (m wire.MAC) {
	for i := range m {
		m[i] = byte(rand.Uint32())
	}
	m[0] = m[0]&^1 | 2
	return m
}

// unfit says why no borrowed address can measure anything on a route; nil: it can.
func unfit(route rawsock.Route, l *lending) error {
	hop := hopKey{route.IfIndex, route.NextHop()}
	switch {
	case route.Local:
		return errLocal
	case route.SrcMAC == wire.MAC{}:
		return fmt.Errorf("%s has no neighbours: it is no Ethernet", route.IfName)
	case !route.OnLink && !l.router:
		return fmt.Errorf("%w (%s)", errRouted, route.NextHop())
	case l.mac == wire.MAC{} && forwards(hop):
		return errForward
	}
	return nil
}

// queueRun is one measurement.
type queueRun struct {
	p     *Prober
	q     request
	m     Module
	route rawsock.Route
	r     *Round
	asked map[netip.Addr]bool // addresses that were asked for
}

func (x *queueRun) run(ctx context.Context, dst netip.AddrPort) {
	opts := &x.m.NeighborQueue
	exp := &experiment.Queue{Dst: dst, Size: x.m.Burst, HalfOpen: x.p.engine.opts.Limits.HalfOpen, Delay: opts.Delay, MSS: mss(dst),
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	if exp.Delay == 0 {
		exp.Delay = experiment.QueueDelay
	}
	var why error
	for {
		b, more := exp.Next(x.r.Observations)
		if !more {
			var found []netip.Addr
			if found, why = x.more(ctx, exp.Wants(x.r.Observations)); len(found) == 0 {
				break
			}
			exp.Addrs = append(exp.Addrs, found...)
			continue
		}
		q := x.q
		q.burst = &b
		obs, err := x.p.engine.run(ctx, q)
		if err == nil && len(x.r.Observations) > 0 {
			err = context.Cause(ctx) // of a burst that was cut short nothing can be counted
		}
		if err != nil {
			why = err
			break
		}
		x.r.Observations = append(x.r.Observations, obs)
	}
	x.end(exp, why)
}

// end judges what there is. A measurement that could not even begin is no measurement.
func (x *queueRun) end(exp *experiment.Queue, why error) {
	if why != nil && len(x.r.Observations) == 0 {
		x.r.Err, x.r.Queue = why, nil
		return
	}
	x.r.Queue.QueueResult = exp.Result(x.r.Observations)
	late := errors.Is(why, context.DeadlineExceeded)
	if len(x.r.Queue.Contacts) == 0 && why != nil && !late {
		x.r.Err, x.r.Queue = why, nil
		return
	}
	switch {
	case why == nil || x.r.Queue.Confirmed:
	case late:
		x.r.Queue.Why = "the time of the round was over before the measurement was"
	default:
		x.r.Queue.Why = why.Error()
	}
}

// more finds n more free addresses, or fewer. The error says why there are none.
func (x *queueRun) more(ctx context.Context, n int) ([]netip.Addr, error) {
	if n == 0 || ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	candidates, err := x.candidates(n)
	if err != nil {
		return nil, &EnvironmentError{Target: x.r.Target, Err: err}
	}
	if x.asked == nil {
		x.asked = map[netip.Addr]bool{}
	}
	var found []netip.Addr
	for len(found) < n && len(candidates) > 0 {
		some := candidates[:min(n-len(found), len(candidates))]
		candidates = candidates[len(some):]
		free, err := x.ask(ctx, some)
		if err != nil {
			return nil, &EnvironmentError{Target: x.r.Target, Err: err}
		}
		found = append(found, free...)
	}
	if len(found) == 0 {
		return nil, x.none()
	}
	return found, nil
}

// none says why no address could be borrowed.
func (x *queueRun) none() error {
	var errs []error
	for _, t := range x.r.Queue.Taken {
		errs = append(errs, fmt.Errorf("%s belongs to %s", t.Addr, t.By))
	}
	if len(errs) == 0 && len(x.asked) > 0 {
		return nil // those there were have been used
	}
	return &EnvironmentError{Target: x.r.Target, Err: fmt.Errorf("no free address to borrow: %w", errors.Join(errs...))}
}

// spare is how many candidates are looked at beyond those that are wanted.
const spare = 4

// candidates are addresses that have not been asked for yet.
func (x *queueRun) candidates(n int) ([]netip.Addr, error) {
	near := x.route.NextHop()
	given := x.m.NeighborQueue.Addresses
	if len(given) == 0 {
		list, err := neigh.Vacant(x.route.IfIndex, near, n+spare, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
		return x.unasked(list), err
	}
	var list []netip.Addr
	for _, a := range given {
		if a.Is4() != near.Is4() {
			continue
		}
		if err := neigh.Borrowable(x.route.IfIndex, near, a); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no address to borrow is of the family of %s", near)
	}
	return x.unasked(list), nil
}

func (x *queueRun) unasked(list []netip.Addr) (out []netip.Addr) {
	for _, a := range list {
		if !x.asked[a] {
			out = append(out, a)
		}
	}
	return out
}

// ask asks the link for all of the addresses at once and returns those that nobody has.
func (x *queueRun) ask(ctx context.Context, list []netip.Addr) ([]netip.Addr, error) {
	claims := make([]neigh.Claim, len(list))
	g, ctx := errgroup.WithContext(ctx)
	for i, a := range list {
		x.asked[a] = true
		g.Go(func() (err error) {
			claims[i], err = neigh.ProbeFree(ctx, x.p.engine.hops.limiter(x.route.IfIndex), x.route.IfIndex, a, neigh.Quick())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var free []netip.Addr
	for i, c := range claims {
		if c.Free {
			free = append(free, list[i])
			continue
		}
		x.r.Queue.Taken = append(x.r.Queue.Taken, TakenAddress{list[i], c.By})
	}
	return free, nil
}

// judgeQueue decides the success of a neighbor-queue module: the queue was measured.
func judgeQueue(q *NeighborQueue) (bool, string) {
	switch q.State {
	case experiment.QueueMeasured, experiment.QueueAtLeast:
		return true, q.Why
	case experiment.QueueRange, experiment.QueueInconclusive, experiment.QueueNotApplicable:
	}
	return false, q.Why
}
