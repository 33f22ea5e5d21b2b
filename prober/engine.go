package prober

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// EngineOptions shape an engine. The zero value is right for most uses.
type EngineOptions struct {
	// SourcePorts is where our source ports come from: outside ip_local_port_range. Zero: chosen outside of it.
	SourcePorts plan.PortRange
	// RingBytes of the capture ring; 0: 32 MiB.
	RingBytes int
	Limits    Limits
	// InFlight is how many SYNs of scheduled rounds may be without an answer at once, 32 octets each; 0: 262,144.
	InFlight int
	// NoCapture works without a tap even where one could be had.
	NoCapture bool
	// AllowForeignSource permits raw shots from a source address that is not this host's.
	AllowForeignSource bool
}

// engine executes bursts. It owns the tap's reader, the sender loop, the ports it holds and the flow table.
//
// Locks, in the order in which they are taken: cycle, ports, mu. The reader of the tap and the callbacks of the dialer take mu alone and
// never wait with it; nothing that calls the kernel runs under it.
type engine struct {
	opts    EngineOptions
	dialer  *kdial.Dialer
	tap     *rawsock.Tap
	budget  *budget
	paths   *paths
	hops    *hops
	ports   *ports
	cancel  context.CancelFunc
	workers sync.WaitGroup
	wake    chan struct{}
	began   time.Time
	rx      receiver
	sweeps  *sweeps
	seen    atomic.Uint64 // frames that the reader is done with
	drops   atomic.Uint64 // frames lost, as last read

	light atomic.Pointer[light] // scheduled rounds of raw SYNs; nil: there are none

	cycle sync.Mutex // held from taking due shots to handing them to the kernel

	mu      sync.Mutex
	host    Host
	noTap   error // why there is no capture; nil: there is one
	flows   *flowTable
	runs    []*run // by slot; slot 0 is never used
	free    []uint32
	timers  timerHeap
	pings   map[pingKey]pingRef
	strays  map[string]int // frames of no run, by disposition
	belated []observe.Belated
	closed  bool
	running sync.WaitGroup
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

// newEngine opens the tap and starts the engine's goroutines. Without the privilege for a tap it works with kernel connects alone,
// and says so in every observation.
func newEngine(opts EngineOptions) (*engine, error) {
	opts.Limits = opts.Limits.withDefaults()
	e := &engine{opts: opts, began: time.Now(), flows: newFlowTable(), runs: make([]*run, 1), wake: make(chan struct{}, 1),
		rx: receiver{out: newOutbox()}, strays: map[string]int{}, pings: map[pingKey]pingRef{}, budget: newBudget(opts.Limits), paths: newPaths(),
		hops: newHops(opts.Limits.ARPRate), sweeps: newSweeps()}
	if err := e.readHost(); err != nil {
		return nil, err
	}
	e.paths.room = newRoom(e.host.Sysctls)
	var err error
	if e.ports, err = newPorts(e.host.SourcePorts, uint16(rand.Uint32()), opts.AllowForeignSource); err != nil {
		return nil, err
	}
	if e.dialer, err = kdial.New(); err != nil {
		return nil, fmt.Errorf("start the connect loop: %w", err)
	}
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
	if e.opts.SourcePorts != (plan.PortRange{}) {
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
	e.noTap = errors.New("it was switched off")
	if !e.opts.NoCapture {
		p := e.host.SourcePorts
		e.tap, e.noTap = rawsock.OpenTap(rawsock.TapConfig{
			Ports: []rawsock.Ports{{Lo: p.Lo, Hi: p.Hi}}, RingBytes: e.opts.RingBytes, Neighbor: true,
		})
	}
	if e.noTap != nil {
		e.tap = nil
	}
	e.host.CaptureError = e.noTap
}

// tapFailed ends capture for good: bursts from now on say what they could not see. The raw shots under way end at once, since nobody
// would reset what answers them.
func (e *engine) tapFailed(err error) {
	err = fmt.Errorf("the capture ended: %w", err)
	e.mu.Lock()
	e.noTap, e.host.CaptureError = err, err
	e.strays["tap_failed"]++
	var hit []*run
	for _, r := range e.runs {
		if r != nil {
			r.blind = err
			hit = append(hit, r)
		}
	}
	e.mu.Unlock()
	for _, r := range hit {
		e.stop(r)
	}
}

// capturing returns why segments are not seen now; nil: they are.
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
			r.cancel(errClosed)
		}
	}
	e.mu.Unlock()
	e.running.Wait()
	e.cancel()
	e.workers.Wait()
	e.sweeps.close()
	errs := []error{e.ports.close(), e.paths.close(), e.dialer.Close()}
	if e.tap != nil {
		errs = append(errs, e.tap.Close())
	}
	return errors.Join(errs...)
}
