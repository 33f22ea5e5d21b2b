package kdial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerEvent marks the timer's own readiness among the events; all others carry the index of a slot.
const timerEvent = -1

// poller is an epoll set with a timer in it. The set itself is watched by the Go runtime's poller, so that waiting holds no
// thread and a deadline in the past wakes it.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	epoll  int
	timer  int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil {
		return nil, errors.Join(fmt.Errorf("set the epoll set nonblocking: %w", err), unix.Close(ep))
	}
	p := &poller{file: os.NewFile(uintptr(ep), "epoll"), epoll: ep}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the epoll set: %w", err), p.file.Close())
	}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the epoll set: %w", err), p.file.Close())
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("make a timer: %w", err), p.file.Close())
	}
	if err := p.add(p.timer, timerEvent, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *poller) close() error {
	return errors.Join(unix.Close(p.timer), p.file.Close())
}

// add watches fd; its events carry index.
func (p *poller) add(fd, index int, events uint32) error {
	e := unix.EpollEvent{Events: events, Fd: int32(index)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("add socket to the epoll set: %w", err)
	}
	return nil
}

// arm makes the timer fire once after d; never when d is negative.
func (p *poller) arm(d time.Duration) error {
	var spec unix.ItimerSpec
	if d >= 0 {
		spec.Value = unix.NsecToTimespec(max(1, d.Nanoseconds())) // 0 would disarm it
	}
	if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
		return fmt.Errorf("set the timer: %w", err)
	}
	return nil
}

// wait blocks until something is ready and returns the events with the time just after they were fetched. The slice is
// reused by the next call. os.ErrDeadlineExceeded means that the wait was broken off.
func (p *poller) wait() ([]unix.EpollEvent, time.Time, error) {
	var (
		n    int
		fail error
	)
	err := p.raw.Read(func(fd uintptr) bool {
		for {
			n, fail = unix.EpollWait(int(fd), p.events[:], 0)
			if fail != unix.EINTR {
				return n != 0 || fail != nil
			}
		}
	})
	at := time.Now()
	if err == nil {
		err = fail
	}
	if err != nil {
		return nil, at, fmt.Errorf("wait for the epoll set: %w", err)
	}
	return p.events[:n], at, nil
}

// breakOff arranges that wait fails at once when ctx ends; the function returned undoes it and must be called before the
// poller is used for anything else.
func (p *poller) breakOff(ctx context.Context) (undo func() error) {
	if ctx.Done() == nil {
		return func() error { return nil }
	}
	ran := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ran <- p.file.SetReadDeadline(time.Unix(1, 0)) })
	return func() error {
		if stop() {
			return nil
		}
		return errors.Join(<-ran, p.file.SetReadDeadline(time.Time{}))
	}
}
