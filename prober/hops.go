package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// hops finds the link addresses of next hops for raw shots: from the kernel's table, else by ARP or ND requests of our own, which are
// paced per interface. Callers who want the same hop at once share one answer.
type hops struct {
	rate rate.Limit

	mu    sync.Mutex
	known map[hopKey]*hop
	limit map[int]*rate.Limiter // by interface
	swept time.Time
}

type hopKey struct {
	ifindex int
	addr    netip.Addr
}

type hop struct {
	turn  chan struct{} // held by whoever asks
	mac   wire.MAC
	err   error
	until time.Time
}

func newHops(perSecond float64) *hops {
	return &hops{rate: rate.Limit(perSecond), known: map[hopKey]*hop{}, limit: map[int]*rate.Limiter{}}
}

// How often a next hop is asked for: as the kernel does (mcast_solicit 3, RFC 4861 §10). Each request waits a little less than the second
// after which NextHopMAC would repeat it unpaced.
const (
	hopTries = 3
	hopWait  = 900 * time.Millisecond
)

// hop returns what is known of a next hop, to be looked at only in one's turn.
func (h *hops) hop(key hopKey) *hop {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Sub(h.swept) >= time.Minute {
		for k, x := range h.known {
			select {
			case x.turn <- struct{}{}:
				if now.After(x.until) {
					delete(h.known, k) // one who still waits for its turn asks for himself
				}
				<-x.turn
			default:
			}
		}
		h.swept = now
	}
	x := h.known[key]
	if x == nil {
		x = &hop{turn: make(chan struct{}, 1)}
		h.known[key] = x
	}
	return x
}

// limiter paces the requests of one interface, evenly: no two within a tenth of a second at the default of 10.
func (h *hops) limiter(ifindex int) *rate.Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.limit[ifindex]
	if l == nil {
		l = rate.NewLimiter(h.rate, 1)
		h.limit[ifindex] = l
	}
	return l
}

// resolve returns the link address of r's next hop. Errors: rawsock.ErrNoNeighbor when nobody answers; *BudgetError when the request would
// not be due within the time that ctx leaves; ctx's.
func (h *hops) resolve(ctx context.Context, r rawsock.Route) (wire.MAC, error) {
	x := h.hop(hopKey{r.IfIndex, r.NextHop().WithZone("")})
	select {
	case x.turn <- struct{}{}:
		defer func() { <-x.turn }()
	case <-ctx.Done():
		return wire.MAC{}, context.Cause(ctx)
	}
	if time.Now().Before(x.until) {
		return x.mac, x.err
	}
	mac, err := h.ask(ctx, r)
	if ofCaller(ctx, err) {
		return wire.MAC{}, err
	}
	x.mac, x.err, x.until = mac, err, time.Now().Add(pathLife)
	if err != nil {
		x.until = time.Now().Add(failureLife)
	}
	return mac, err
}

// ofCaller reports whether an error is an accident of this caller's, who had too little time, and no news of the next hop.
func ofCaller(ctx context.Context, err error) bool {
	var paced *BudgetError
	return err != nil && (ctx.Err() != nil || errors.As(err, &paced))
}

func (h *hops) ask(ctx context.Context, r rawsock.Route) (wire.MAC, error) {
	if mac, ok := tabled(r); ok {
		return mac, nil
	}
	for range hopTries {
		if err := h.limiter(r.IfIndex).Wait(ctx); err != nil {
			return wire.MAC{}, &BudgetError{Limit: "arp_rate", Detail: fmt.Sprintf("ask for %s on %s: %.4g requests a second leave none within the time left",
				r.NextHop(), r.IfName, float64(h.rate))}
		}
		// One request a call: NextHopMAC repeats its own only after its wait.
		once, cancel := context.WithTimeout(ctx, hopWait)
		mac, err := rawsock.NextHopMAC(once, r)
		cancel()
		switch {
		case err == nil:
			return mac, nil
		case ctx.Err() != nil:
			return wire.MAC{}, context.Cause(ctx)
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, rawsock.ErrNoNeighbor):
			return wire.MAC{}, err
		}
	}
	return wire.MAC{}, fmt.Errorf("resolve %s on %s: %w: %d requests, %v each", r.NextHop(), r.IfName, rawsock.ErrNoNeighbor, hopTries, hopWait)
}

// tabled is the link address of a next hop that the kernel knows.
func tabled(r rawsock.Route) (wire.MAC, bool) {
	e, ok, err := neigh.Table(r.IfIndex, r.NextHop())
	return e.MAC, err == nil && ok && e.State.Resolved() && e.HasMAC
}

// errNeighborStep is a step that nobody has defined.
var errNeighborStep = errors.New("no such step")

// step prepares one neighbour entry of the kernel's: that of the next hop to the step's address.
func (e *engine) step(ctx context.Context, q request, r *run, s plan.NeighborStep) error {
	if err := q.check(s.Addr); err != nil {
		return err
	}
	p, err := e.paths.route(s.Addr, q.source, q.iface, e.opts.AllowForeignSource)
	if err != nil {
		return err
	}
	if p.route.Local {
		return nil
	}
	switch s.Action {
	case plan.Warm:
		_, err = neigh.Warm(ctx, e.hops.limiter(p.route.IfIndex), p.route.IfIndex, p.route.NextHop())
		return err
	case plan.Ask:
		return e.askWire(ctx, p.route)
	case plan.Unused:
		if !p.route.OnLink {
			return errElsewhere
		}
		e.mu.Lock()
		r.near[hopKey{p.route.IfIndex, s.Addr.WithZone("")}] = nextHop
		r.corr.Observation().Unused = s.Addr.WithZone("")
		e.mu.Unlock()
		return e.askWire(ctx, p.route)
	case plan.Forget:
		return neigh.Forget(p.route.IfIndex, p.route.NextHop())
	case plan.NeighborUnknown:
	}
	return errNeighborStep
}

// errElsewhere is why nobody can be asked for an address.
var errElsewhere = errors.New("it is not on this segment")

// askWire sends one request for a route's next hop, in its turn, and awaits the answer. That none comes is no error but what the frames
// show.
func (e *engine) askWire(ctx context.Context, r rawsock.Route) error {
	if err := e.hops.limiter(r.IfIndex).Wait(ctx); err != nil {
		return err
	}
	once, cancel := context.WithTimeout(ctx, hopWait)
	defer cancel()
	_, err := rawsock.Ask(once, r)
	if ctx.Err() == nil && (errors.Is(err, rawsock.ErrNoNeighbor) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}

// NoNeighbor reports whether an error says that a target, or the next hop to it, did not answer for its link address.
func NoNeighbor(err error) bool { return errors.Is(err, rawsock.ErrNoNeighbor) }
