package prober

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// meeting is what asking a neighbour for its link address came to.
type meeting struct {
	mac wire.MAC
	err error
}

// meetAtOnce is how many neighbours are asked at the same time: more than the pace of ARP lets through while the silent ones are waited for.
const meetAtOnce = 64

// meet asks the neighbours among the targets of a watched sweep for their link addresses, many at a time: one after the other, those that are not
// there would take seconds each. How often this host may ask a second is a limit of its own.
func (f *wayfinder) meet(ctx context.Context) error {
	if f.s.q.Watch == nil {
		return nil
	}
	routes := f.neighbors()
	if len(routes) == 0 {
		return nil
	}
	f.met = make(map[netip.Addr]meeting, len(routes))
	for a, r := range routes {
		if mac, ok := tabled(r); ok {
			f.met[a] = meeting{mac: mac}
			delete(routes, a)
		}
	}
	stop := f.tellAsking(len(routes))
	defer stop()
	var mu sync.Mutex // guards f.met
	f.asking.Store(int64(len(routes)))
	var g errgroup.Group
	g.SetLimit(meetAtOnce)
	for a, r := range routes {
		g.Go(func() error {
			mac, err := f.s.engine.hops.resolve(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			f.met[a] = meeting{mac, err}
			f.asking.Add(-1)
			return context.Cause(ctx)
		})
	}
	return g.Wait()
}

// neighbors are the routes to those of the targets that are on a link of this host's, and permitted.
func (f *wayfinder) neighbors() map[netip.Addr]rawsock.Route {
	routes := map[netip.Addr]rawsock.Route{}
	far := map[rawsock.Span]bool{} // spans that are reached through others, or not at all
	var last rawsock.Span
	for dst := range f.s.q.Targets {
		a := dst.Addr().Unmap()
		if last.Contains(a) {
			continue
		}
		span, alike := f.prefixes.Span(a)
		if far[span] {
			last = span
			continue
		}
		if _, known := routes[a]; known || f.check(a) != nil {
			continue
		}
		p, err := f.route(a)
		switch {
		case err == nil && p.route.OnLink && !p.route.Local:
			routes[a] = p.route
		case alike && (err != nil || !p.route.Local):
			far[span], last = true, span
		}
	}
	return routes
}

// tellAsking tells how many neighbours are still asked for, until stop.
func (f *wayfinder) tellAsking(probes int) (stop func()) {
	tell := f.s.q.Watch.Progress
	if tell == nil {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(sweepTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tell(SweepProgress{Probes: probes, Asking: int(f.asking.Load())})
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// leaveOut tells of a target that is not probed; false: the sweep is not to begin.
func (s *sweeper) leaveOut(ctx context.Context, dst netip.AddrPort, why error) bool {
	if s.q.Watch == nil || ctx.Err() != nil {
		return false
	}
	if tell := s.q.Watch.LeftOut; tell != nil {
		tell(dst, why)
	}
	return true
}
