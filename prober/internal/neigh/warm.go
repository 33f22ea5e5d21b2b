package neigh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Limiter paces what is sent; *rate.Limiter is one. Wait returns early with an error when ctx ends or would end first.
type Limiter interface {
	Wait(ctx context.Context) error
}

// ErrUnresolved is a neighbour that did not answer the kernel's requests.
type ErrUnresolved struct {
	Addr  netip.Addr
	Name  string // of the interface
	State State  // the kernel's last word
}

func (e *ErrUnresolved) Error() string {
	return fmt.Sprintf("resolve %s on %s: no answer (%s)", e.Addr, e.Name, e.State)
}

// discard is the port of RFC 863, to which the datagram that makes the kernel resolve is sent.
const discard = 9

// Warm makes sure that the kernel knows addr, which must be on the link of the interface, and returns the entry. Where it
// does not, an empty datagram to port 9 with hop limit 1 makes it ask (three times, 1 s apart, unless the sysctls say
// otherwise), for one token of the limiter. A stale entry counts as known: no packet waits for it. It needs no
// capability. The error is *ErrUnresolved when the kernel gave up or ctx ended first.
func Warm(ctx context.Context, limit Limiter, ifindex int, addr netip.Addr) (Entry, error) {
	ifi, err := interfaceNamed(ifindex)
	if err != nil {
		return Entry{}, fmt.Errorf("resolve %s: %w", addr, err)
	}
	if ifi.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
		return Entry{IfIndex: ifindex, Addr: addr, State: NoARP}, nil // nothing is ever resolved here
	}
	if e, ok, err := Table(ifindex, addr); err != nil || ok && e.State.Resolved() {
		return e, err
	}
	if err := limit.Wait(ctx); err != nil {
		return Entry{}, fmt.Errorf("resolve %s on %s: %w", addr, ifi.Name, err)
	}
	return await(ctx, ifi, addr)
}

// await subscribes, makes the kernel ask, and waits for its word on addr.
func await(ctx context.Context, ifi *net.Interface, addr netip.Addr) (Entry, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		last  Entry
		fault error
	)
	look := func() bool { // true: the kernel has its answer
		last, _, fault = Table(ifi.Index, addr)
		return fault != nil || last.State.Resolved()
	}
	err := Subscribe(ctx, func(e Event) {
		switch {
		case e.Change == Subscribed, e.Change == Lost:
			if look() {
				stop()
			} else if fault = nudge(ifi, addr); fault != nil || look() { // a device without ARP has its entry at once
				stop()
			}
		case e.Entry.IfIndex == ifi.Index && e.Entry.Addr == addr.Unmap().WithZone(""):
			if last = e.Entry; last.State.Resolved() || last.State == Failed {
				stop()
			}
		}
	})
	if err = errors.Join(err, fault); err != nil {
		return Entry{}, fmt.Errorf("resolve %s on %s: %w", addr, ifi.Name, err)
	}
	if !last.State.Resolved() {
		return last, &ErrUnresolved{addr, ifi.Name, last.State}
	}
	return last, nil
}

// nudge sends the datagram. SO_DONTROUTE keeps to the link, whatever the routes say.
func nudge(ifi *net.Interface, addr netip.Addr) error {
	addr = addr.Unmap()
	domain, level, hops := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: discard, Addr: addr.As16(), ZoneId: uint32(ifi.Index)}
	if addr.Is4() {
		domain, level, hops = unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL
		to = &unix.SockaddrInet4{Port: discard, Addr: addr.As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, ifi.Name)
	if err != nil && !errors.Is(err, unix.EPERM) { // before Linux 5.7 for root only; the route to addr then decides alone
		return fmt.Errorf("bind to interface %s: %w", ifi.Name, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1); err != nil {
		return fmt.Errorf("set SO_DONTROUTE: %w", err)
	}
	if err := unix.SetsockoptInt(fd, level, hops, 1); err != nil {
		return fmt.Errorf("set the hop limit: %w", err)
	}
	if err := unix.Sendto(fd, nil, 0, to); err != nil {
		return fmt.Errorf("send a datagram to %s: %w", addr, err)
	}
	return nil
}
