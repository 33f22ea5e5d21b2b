package topo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Net is one private network under construction or running. Its building methods, and those of its hosts, keep the first
// error and do nothing after it: build all, then ask Err once. One goroutine builds; Close ends everything.
type Net struct {
	ctx    context.Context //nolint:containedctx // it is the network's lifetime, which outlives every call
	cancel context.CancelFunc
	wg     sync.WaitGroup
	home   *os.File // the namespace that threads return to
	hosts  []*Host
	fabric *Host // holds the bridges; made with the first
	stops  []func()
	macs   uint16
	cpu    int // of Pin
	err    error
}

// ErrOutside is kept by a Net that was made outside private namespaces.
var ErrOutside = errors.New("not inside private namespaces: start through topo.Reexec or topo.Enter")

// New starts an empty network. It ends when Close is called or ctx is done, whichever comes first; call Close in any case.
func New(ctx context.Context) *Net {
	n := &Net{cpu: rand.IntN(1024)}
	n.ctx, n.cancel = context.WithCancel(ctx)
	if !Inside() {
		n.err = ErrOutside
		return n
	}
	n.home, n.err = os.Open("/proc/thread-self/ns/net") // threads that leave it never come back to other goroutines
	return n
}

// Err is the first error of any building step, with the step and the host in its text.
func (n *Net) Err() error { return n.err }

// Context is done when the network ends.
func (n *Net) Context() context.Context { return n.ctx }

// fail keeps the first error.
func (n *Net) fail(err error) {
	if n.err == nil {
		n.err = err
	}
}

// Step runs one building step unless one has failed before.
func (n *Net) Step(what string, f func() error) {
	if n.err != nil {
		return
	}
	if err := f(); err != nil {
		n.fail(fmt.Errorf("%s: %w", what, err))
	}
}

// Host adds a host: a network namespace with loopback up and sysctls pinned.
func (n *Net) Host(name string) *Host {
	h := &Host{Name: name, net: n}
	n.Step("host "+name, h.start)
	if n.err == nil {
		n.hosts = append(n.hosts, h)
	}
	return h
}

// Go runs f as background traffic until the network ends; Close waits for it. f must return when its context is done.
func (n *Net) Go(f func(context.Context)) {
	if n.err == nil {
		n.wg.Go(func() { f(n.ctx) })
	}
}

// Pin binds the calling goroutine, until it ends, to a thread on the one processor that this network's senders share. A veth hands
// frames to the receiver by a queue for each processor (netif_rx in net/core/dev.c, 6.18), so a sender that moved between two
// would now and then put its own frames out of order.
func (n *Net) Pin() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var all, one unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil {
		return
	}
	for cpu, left := 0, n.cpu%max(all.Count(), 1); cpu < 1024; cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		if left == 0 {
			one.Set(cpu)
			_ = unix.SchedSetaffinity(0, &one) // unpinned it still works, only less orderly
			return
		}
		left--
	}
}

// OnClose registers what must be undone for a goroutine of Go to return, such as closing its socket.
func (n *Net) OnClose(f func()) { n.stops = append(n.stops, f) }

// Close ends all traffic, listeners, child processes and hosts and waits for them.
func (n *Net) Close() {
	n.cancel()
	for _, stop := range n.stops {
		stop()
	}
	n.stops = nil
	n.wg.Wait()
	for _, h := range n.hosts {
		h.stop()
	}
	n.hosts = nil
	if n.home != nil {
		n.home.Close()
	}
}

// leave brings the calling thread back. A thread that cannot return must not be used again; nothing known makes this fail.
func (n *Net) leave() {
	if err := unix.Setns(int(n.home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("topo: return from a namespace: %v", err))
	}
}

// nextMAC hands out locally administered addresses in order of construction, so that captures read alike on every run.
func (n *Net) nextMAC() [6]byte {
	n.macs++
	return [6]byte{0x02, 0x76, 0x70, 0x00, byte(n.macs >> 8), byte(n.macs)}
}
