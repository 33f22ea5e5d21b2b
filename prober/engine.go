package prober

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// EngineOptions shape an engine. The zero value is right for most uses.
type EngineOptions struct {
	// SourcePorts is where our source ports come from: outside ip_local_port_range. Zero: chosen outside of it.
	SourcePorts plan.PortRange
	// RingBytes of the capture ring; 0: 32 MiB.
	RingBytes int
	Limits    Limits
	// NoCapture works without a tap even where one could be had.
	NoCapture bool
	// AllowForeignSource permits raw shots from a source address that is not this host's.
	AllowForeignSource bool
}

// engine executes bursts. It owns the tap's reader, the sender loop, the ports it holds and the flow table.
type engine struct {
	opts    EngineOptions
	host    Host
	dialer  *kdial.Dialer
	tap     *rawsock.Tap
	noTap   error // why there is no tap
	kernel  plan.PortRange
	raw     plan.PortRange
	budget  *budget
	paths   *paths
	cancel  context.CancelFunc
	workers sync.WaitGroup
	wake    chan struct{}

	mu      sync.Mutex
	flows   *flowTable
	runs    []*run // by slot; slot 0 is never used
	free    []uint32
	timers  timerHeap
	kports  *plan.PortBook
	rports  *plan.PortBook
	holds   map[hold]held
	strays  map[string]int
	closed  bool
	running sync.WaitGroup

	drops atomic.Uint32 // cumulative capture drops
	began time.Time
	rx    receiver
}

// Host is what was read of this machine when the engine started.
type Host struct {
	Kernel       string
	Ladder       plan.Ladder
	Sysctls      hostproc.Sysctls
	SourcePorts  plan.PortRange
	CaptureError error // nil: a tap is there
	HoldMethod   string
}

type hold struct {
	src  netip.Addr
	port uint16
}

type held struct {
	close func() error
	uses  int
}

// newEngine opens the tap and starts the engine's goroutines. Without the privilege for a tap it works with kernel connects alone,
// and says so in every observation.
func newEngine(opts EngineOptions) (*engine, error) {
	if opts.Limits == (Limits{}) {
		opts.Limits = DefaultLimits()
	}
	e := &engine{opts: opts, began: time.Now(), flows: newFlowTable(), runs: make([]*run, 1), wake: make(chan struct{}, 1),
		holds: map[hold]held{}, rx: receiver{out: newOutbox()}, strays: map[string]int{}, budget: newBudget(opts.Limits)}
	if err := e.readHost(); err != nil {
		return nil, err
	}
	e.kernel, e.raw = e.host.SourcePorts.Split()
	shift := uint16(rand.Uint32())
	e.kports, e.rports = plan.NewPortBook(e.kernel, shift), plan.NewPortBook(e.raw, shift)
	var err error
	if e.dialer, err = kdial.New(); err != nil {
		return nil, fmt.Errorf("start the connect loop: %w", err)
	}
	e.paths = newPaths()
	e.openTap()
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	if e.tap != nil {
		e.workers.Go(func() {
			if err := e.tap.Run(ctx, e.onFrame); err != nil {
				e.tapFailed(err)
			}
		})
	}
	e.workers.Go(func() { e.loop(ctx) })
	return e, nil
}

func (e *engine) readHost() error {
	sys := hostproc.ReadSysctls()
	release, version := hostproc.Kernel()
	e.host = Host{Kernel: release, Sysctls: sys, Ladder: hostproc.Ladder(sys, version), SourcePorts: e.opts.SourcePorts}
	if e.host.SourcePorts.Size() > 0 {
		return nil
	}
	r, err := rawsock.ReservedDefault()
	if err != nil {
		return fmt.Errorf("choose source ports outside ip_local_port_range: %w", err)
	}
	e.host.SourcePorts = plan.PortRange{Lo: r.Lo, Hi: r.Hi}
	return nil
}

func (e *engine) openTap() {
	if e.opts.NoCapture {
		e.noTap = errors.New("capture was switched off")
		e.host.CaptureError = e.noTap
		return
	}
	p := e.host.SourcePorts
	e.tap, e.noTap = rawsock.OpenTap(rawsock.TapConfig{
		Ports: []rawsock.Ports{{Lo: p.Lo, Hi: p.Hi}}, RingBytes: e.opts.RingBytes, Neighbor: true,
	})
	if e.noTap != nil {
		e.tap = nil
	}
	e.host.CaptureError = e.noTap
}

// tapFailed ends capture for good: rounds from now on say what they could not see.
func (e *engine) tapFailed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noTap = fmt.Errorf("the capture ended: %w", err)
	e.host.CaptureError = e.noTap
	e.strays["tap_failed"]++
}

// capturing reports whether segments are seen now.
func (e *engine) capturing() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.noTap
}

// Close ends all runs, resets what is open, and waits for every goroutine.
func (e *engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	for _, r := range e.runs {
		if r != nil {
			r.cancel()
		}
	}
	e.mu.Unlock()
	e.running.Wait()
	e.cancel()
	e.workers.Wait()
	var errs []error
	for _, h := range e.holds {
		errs = append(errs, h.close())
	}
	errs = append(errs, e.paths.close(), e.dialer.Close())
	if e.tap != nil {
		errs = append(errs, e.tap.Close())
	}
	return errors.Join(errs...)
}

// kick wakes the sender loop when a timer was set that may be earlier than the one it waits for.
func (e *engine) kick() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// settleTime is how long the ring may keep a frame back (its retire time, twice), so that a burst's last answers are in.
const settleTime = 6 * time.Millisecond
