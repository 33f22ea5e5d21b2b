package topo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
)

// Host is a network namespace with one thread that lives in it and is the parent of its child processes.
type Host struct {
	Name string
	// Relay marks a host that hands frames from one of its two devices to the other in user space: a packet rule at these devices comes
	// after it has read them.
	Relay bool

	net   *Net
	calls chan call
	ended chan struct{}
	nl    *netlink.Handle
	ns    *os.File
	links []*Link
}

type call struct {
	f    func() error
	done chan error
}

// errHostEnded is returned for a call to a host that is closed.
var errHostEnded = errors.New("the host has been closed")

// start makes the thread and its namespace. The thread is never unlocked: the runtime destroys it when the goroutine ends.
func (h *Host) start() error {
	h.calls, h.ended = make(chan call), make(chan struct{})
	ready := make(chan error)
	go h.live(ready)
	if err := <-ready; err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	return h.keep(h.prepare)
}

// live is the host's thread. It is not the process's first one, whose namespace is what /proc/self shows, and which does not end with its goroutine:
// where that comes, it waits here while another serves.
func (h *Host) live(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		go h.live(ready)
		<-h.ended
		runtime.UnlockOSThread()
		return
	}
	defer close(h.ended)
	err := unix.Unshare(unix.CLONE_NEWNET)
	ready <- err
	if err != nil {
		return
	}
	for c := range h.calls {
		c.done <- c.f()
	}
}

func (h *Host) prepare() error {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open its namespace: %w", err)
	}
	h.ns = ns
	if h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	for _, s := range pinned() {
		if err := writeSysctl(s.name, s.value); err != nil {
			return err
		}
	}
	for _, s := range optional() {
		if err := writeSysctl(s.name, s.value); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

func (h *Host) stop() {
	close(h.calls)
	<-h.ended
	if h.nl != nil {
		h.nl.Close()
	}
	if h.ns != nil {
		h.ns.Close()
	}
}

// keep runs f on the thread that lives as long as the host.
func (h *Host) keep(f func() error) error {
	c := call{f, make(chan error, 1)}
	select {
	case <-h.ended:
		return errHostEnded
	case h.calls <- c:
		return <-c.done
	}
}

// Do runs f on a thread inside the host's namespace and returns its error. Sockets that f opens stay in the namespace wherever
// they are used afterwards; goroutines that f starts are outside it. Any number of Do may run at once.
func (h *Host) Do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if h.ns == nil {
		return errHostEnded
	}
	if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace of host %s: %w", h.Name, err)
	}
	defer h.net.leave()
	return f()
}

// Build is Do as a building step of the network.
func (h *Host) Build(what string, f func() error) {
	h.net.Step("host "+h.Name+": "+what, func() error { return h.Do(f) })
}

// Namespace is an open handle of the host's network namespace, valid until the network is closed.
func (h *Host) Namespace() *os.File { return h.ns }

// Command prepares a program that will run inside the host's namespace: start it with Start, or Run. It is killed when ctx
// is done, when the network is closed, and when this process ends in any way.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	// Sent when the thread that forked it ends: the host's own, which lives as long as the host.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Start starts a command made by Command: a fork takes the namespace of the thread that makes it.
func (h *Host) Start(cmd *exec.Cmd) error { return h.keep(cmd.Start) }

// Run starts a command made by Command and waits for it.
func (h *Host) Run(cmd *exec.Cmd) error {
	if err := h.Start(cmd); err != nil {
		return fmt.Errorf("host %s: start %s: %w", h.Name, cmd.Path, err)
	}
	return cmd.Wait()
}

// Sysctl sets a sysctl of the host, by its dotted name.
func (h *Host) Sysctl(name, value string) {
	h.Build("sysctl", func() error { return writeSysctl(name, value) })
}

// Rules installs a table of packet rules, in place of any of the same family and name.
func (h *Host) Rules(t nft.Table) {
	h.Build("rules "+t.Name, func() error { return install(t) })
}

// SetRules is Rules for a network that is already running.
func (h *Host) SetRules(t nft.Table) error { return h.Do(func() error { return install(t) }) }

func install(t nft.Table) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nfnetlink: %w", err)
	}
	t.Install(c)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("install table %s: %w", t.Name, err)
	}
	return nil
}
