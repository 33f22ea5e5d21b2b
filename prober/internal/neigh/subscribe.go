package neigh

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Change is what happened to the kernel's table.
type Change uint8

// The changes. Subscribed comes first and once: whatever happens after it is told. Lost means that the kernel dropped
// events (the socket's buffer was full): the table may have changed in any way, and is followed again from there.
const (
	ChangeUnknown Change = iota
	Subscribed
	Updated // an entry is new or in another state
	Deleted
	Lost
)

func (c Change) String() string {
	switch c {
	case Subscribed:
		return "subscribed"
	case Updated:
		return "updated"
	case Deleted:
		return "deleted"
	case Lost:
		return "lost"
	case ChangeUnknown:
	}
	return "unknown"
}

// Event is one change of the kernel's neighbour table. Entry is set for Updated and Deleted.
type Event struct {
	Change Change
	Entry  Entry
}

// eventBuffer is the socket's receive buffer in octets; the kernel caps it at net.core.rmem_max.
const eventBuffer = 1 << 20

// Subscribe calls f with every change of the IPv4 and IPv6 neighbours of the calling thread's network namespace, one at a
// time, until ctx ends; then it returns nil. f must not block for long: the kernel drops what does not fit the buffer.
// It needs no capability.
func Subscribe(ctx context.Context, f func(Event)) error {
	s, err := open()
	if err != nil {
		return err
	}
	return subscribe(ctx, s, f)
}

func subscribe(ctx context.Context, s *subscription, f func(Event)) error {
	f(Event{Change: Subscribed})
	for {
		lost, err := s.follow(ctx, f)
		if !lost || ctx.Err() != nil {
			return err
		}
		f(Event{Change: Lost})
		if s, err = open(); err != nil {
			return err
		}
	}
}

// subscription is one netlink socket that hears of neighbours.
type subscription struct {
	updates chan netlink.NeighUpdate
	done    chan struct{}
	why     fault
}

func open() (*subscription, error) {
	s := &subscription{updates: make(chan netlink.NeighUpdate), done: make(chan struct{})}
	err := netlink.NeighSubscribeWithOptions(s.updates, s.done, netlink.NeighSubscribeOptions{
		ReceiveBufferSize: eventBuffer, ErrorCallback: s.why.set,
	})
	if err != nil {
		return nil, fmt.Errorf("follow neighbours: %w", err)
	}
	return s, nil
}

// follow hears until ctx ends or the kernel has dropped events (lost).
func (s *subscription) follow(ctx context.Context, f func(Event)) (lost bool, err error) {
	defer func() {
		close(s.done)
		for range s.updates { // until its goroutine has ended
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case u, ok := <-s.updates:
			if !ok {
				return s.why.verdict()
			}
			if e, ok := entry(&u.Neigh); ok {
				f(Event{Change: change(u.Type), Entry: e})
			}
		}
	}
}

// fault is why a subscription ended; netlink tells it on a goroutine of its own.
type fault struct {
	mu  sync.Mutex
	err error
}

func (f *fault) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// verdict is lost where the socket's buffer was full (ENOBUFS, netlink(7)), and an error otherwise.
func (f *fault) verdict() (lost bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case errors.Is(f.err, unix.ENOBUFS):
		return true, nil
	case f.err == nil:
		return false, errors.New("follow neighbours: the subscription ended")
	}
	return false, fmt.Errorf("follow neighbours: %w", f.err)
}

func change(messageType uint16) Change {
	if messageType == unix.RTM_DELNEIGH {
		return Deleted
	}
	return Updated
}
