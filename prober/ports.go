package prober

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// ports hands out our source ports: fresh towards their destination, used by no other program, and for raw shots held by a silent
// socket so that this host's own TCP keeps off them.
type ports struct {
	all     plan.PortRange
	foreign bool // raw ports of addresses that are not this host's are used unheld

	mu     sync.Mutex
	left   plan.PortRange // ports that the light path has for itself
	kernel *plan.PortBook
	raw    *plan.PortBook
	bound  map[uint16]bool // kernel ports of connects under way
	holds  map[holdKey]*hold
	freed  chan struct{}         // nil, or closed when a port of bound comes back
	vacant map[holdKey]time.Time // ports for the kernel's use: when they were last found free of others
	method string
	swept  time.Time
}

// vacantFor is how long a port is believed to be free of other programs: trying it costs as much as a tenth of a connect. One that took it
// meanwhile makes a connect fail to bind, which then says so.
const vacantFor = time.Second

type holdKey struct {
	src  netip.Addr
	port uint16
}

type hold struct {
	h    *rawsock.Hold
	uses int
	idle time.Time // since when uses is 0
	// sweep says that the port's flows may go to any destination.
	sweep bool
}

// minPorts is the fewest ports that an engine can work with: one for a kernel connect, one for a raw shot.
const minPorts = 2

func newPorts(r plan.PortRange, shift uint16, foreign bool) (*ports, error) {
	if r.Size() < minPorts {
		return nil, fmt.Errorf("source ports %s: at least %d are needed", r, minPorts)
	}
	k, raw := r.Split()
	return &ports{all: r, foreign: foreign, kernel: plan.NewPortBook(k, shift), raw: plan.NewPortBook(raw, shift),
		bound: map[uint16]bool{}, vacant: map[holdKey]time.Time{}, holds: map[holdKey]*hold{}, swept: time.Now()}, nil
}

// want is what a group of shots of one burst asks for: n ports from src to dst, raw or for the kernel.
type want struct {
	src     netip.Addr
	dst     netip.AddrPort
	n       int
	raw     bool
	lent    bool                   // src is borrowed: no socket of this host can have it
	sweep   bool                   // for flows to any destination: no other raw shot may have the port until its quarantine is over
	unheld  bool                   // the kernel may answer on a raw port
	bindAny bool                   // the kernel binds the connect to no address
	busy    func(port uint16) bool // the flow is still known under this port
}

// take hands out w.n ports, or none; each must be given back with done. While connects under way have what is missing it waits for them.
func (ps *ports) take(ctx context.Context, w want) ([]uint16, error) {
	for {
		list, freed, err := ps.tryTake(w)
		if err == nil || freed == nil {
			return list, err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// tryTake is one attempt of take. freed is closed when a port of ours comes back, and nil where that would not help.
func (ps *ports) tryTake(w want) (list []uint16, freed chan struct{}, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	book := ps.kernel
	if w.raw {
		book = ps.raw
	}
	now := time.Now()
	ps.sweep(now)
	var (
		got          []uint16
		ours, others int
		fault        error
	)
	list, err = book.TakeIf(w.src, w.dst, w.n, now, func(p uint16) bool {
		if fault != nil {
			return false
		}
		switch err := ps.claim(w, p); {
		case err == nil:
			got = append(got, p)
			return true
		case errors.Is(err, errOurs):
			ours++
		case errors.Is(err, rawsock.ErrPortInUse):
			others++
		default:
			fault = err
		}
		return false
	})
	switch {
	case err == nil:
		return list, nil, nil
	case fault != nil:
		err = fault
	case others > 0:
		err = fmt.Errorf("%w; %d are used by others on this host", err, others)
	}
	ps.giveBack(w, got, now)
	if fault != nil || ours == 0 || w.raw {
		return nil, nil, err
	}
	if ps.freed == nil {
		ps.freed = make(chan struct{})
	}
	return nil, ps.freed, err
}

// ask claims one port that the plan names.
func (ps *ports) ask(w want, port uint16) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.all.Contains(port) {
		return fmt.Errorf("source port %d is outside of %s, which the capture sees", port, ps.all)
	}
	if err := ps.claim(w, port); err != nil {
		return err
	}
	now := time.Now()
	ps.kernel.Use(w.src, w.dst, port, now)
	ps.raw.Use(w.src, w.dst, port, now)
	return nil
}

// errOurs is a port that another flow of ours has.
var errOurs = fmt.Errorf("%w: by another flow of ours", rawsock.ErrPortInUse)

// claim makes sure that a port is ours alone for as long as the shot lives.
func (ps *ports) claim(w want, port uint16) error {
	if w.busy != nil && w.busy(port) {
		return errOurs
	}
	if ps.left.Contains(port) {
		return errOurs
	}
	if w.raw && w.lent {
		return nil
	}
	if w.raw {
		return ps.hold(w, port)
	}
	if ps.bound[port] {
		return errOurs
	}
	addr := w.src
	if w.bindAny {
		addr = netip.IPv6Unspecified()
		if w.src.Is4() {
			addr = netip.IPv4Unspecified()
		}
	}
	key, now := holdKey{addr, port}, time.Now()
	if now.Sub(ps.vacant[key]) > vacantFor {
		if err := rawsock.PortFree(addr, port); err != nil {
			return err
		}
		ps.vacant[key] = now
	}
	ps.bound[port] = true
	return nil
}

// rawRange are the ports of raw shots.
func (ps *ports) rawRange() plan.PortRange {
	_, raw := ps.all.Split()
	return raw
}

// leave takes ports out of use here: the light path hands them out.
func (ps *ports) leave(r plan.PortRange) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.left = r
}

// keep holds one of the ports that were left to the light path, until the engine is closed.
func (ps *ports) keep(src netip.Addr, port uint16) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.hold(want{src: src, raw: true}, port)
}

// hold keeps a raw port out of the kernel's hands.
func (ps *ports) hold(w want, port uint16) error {
	src := w.src
	key := holdKey{src, port}
	h := ps.holds[key]
	if h != nil && (w.sweep || h.sweep) && (h.uses > 0 || time.Since(h.idle) < plan.PortQuarantine) {
		return errOurs
	}
	if w.unheld {
		return rawsock.PortFree(src, port)
	}
	if h == nil {
		x, err := rawsock.HoldPort(src, port, "")
		if ps.foreign && errors.Is(err, rawsock.ErrForeignSource) {
			return nil // nothing of this host answers for that address
		}
		if err != nil {
			return err
		}
		ps.method = x.Method.String()
		h = &hold{h: x}
		ps.holds[key] = h
	}
	h.uses++
	h.sweep = w.sweep
	return nil
}

// done gives a port back. A raw one stays held through its quarantine: a late SYN-ACK must not draw an RST from the kernel.
func (ps *ports) done(w want, port uint16) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.giveBack(w, []uint16{port}, time.Now())
	if !w.raw && ps.freed != nil {
		close(ps.freed)
		ps.freed = nil
	}
}

func (ps *ports) giveBack(w want, list []uint16, now time.Time) {
	for _, p := range list {
		if !w.raw {
			delete(ps.bound, p)
			continue
		}
		if h := ps.holds[holdKey{w.src, p}]; h != nil {
			h.uses--
			h.idle = now
		}
	}
}

// sweepEvery is how often books and holds are gone through.
const sweepEvery = 10 * time.Second

func (ps *ports) sweep(now time.Time) {
	if now.Sub(ps.swept) < sweepEvery {
		return
	}
	ps.swept = now
	ps.kernel.Sweep(now)
	maps.DeleteFunc(ps.vacant, func(_ holdKey, at time.Time) bool { return now.Sub(at) > vacantFor })
	ps.raw.Sweep(now)
	for k, h := range ps.holds {
		if h.uses == 0 && now.Sub(h.idle) > 2*plan.PortQuarantine {
			_ = h.h.Close() // frees the descriptor whatever it returns (close(2))
			delete(ps.holds, k)
		}
	}
}

// holdMethod is how raw ports are kept silent; empty until one is held.
func (ps *ports) holdMethod() string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.method
}

func (ps *ports) close() error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var errs []error
	for k, h := range ps.holds {
		errs = append(errs, h.h.Close())
		delete(ps.holds, k)
	}
	return errors.Join(errs...)
}
