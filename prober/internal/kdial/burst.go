package kdial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// slot is one connect's state; fd is −1 before it has a socket and after it is closed.
type slot struct {
	fd      int32
	learned bool // the local address is the route's, not one that was bound
	local   netip.AddrPort
	started time.Time // just before connect(2); zero until then
	icmp    origin    // the last ICMP error read from the error queue
}

// burst is one Run.
type burst struct {
	poll     *poller
	conns    []Conn
	slots    []slot
	order    []int32 // indices by Offset: the order of connecting, and so the order of deadlines
	deadline time.Duration
	started  func(i int, local netip.AddrPort, at time.Time)
	done     func(Result)

	begun time.Time
	next  int // in order: the first not yet connected
	first int // in order: the first that may still be waiting
	live  int // connected and waiting

	sock   sockets
	locals localAddrs
	info   infoBuffer
}

func newBurst(p *poller, conns []Conn, deadline time.Duration, started func(int, netip.AddrPort, time.Time), done func(Result)) *burst {
	b := &burst{
		poll: p, conns: conns, slots: make([]slot, len(conns)), order: make([]int32, len(conns)),
		deadline: deadline, started: started, done: done,
	}
	for i := range b.order {
		b.slots[i].fd = -1
		b.order[i] = int32(i)
	}
	byOffset := func(x, y int32) int { return int(conns[x].Offset - conns[y].Offset) }
	if !slices.IsSortedFunc(b.order, byOffset) {
		slices.SortStableFunc(b.order, byOffset)
	}
	b.sock.needPort = started != nil
	return b
}

// run prepares every socket, then alternates between connecting what is due and handling what is ready.
func (b *burst) run(ctx context.Context) (err error) {
	undo := b.poll.breakOff(ctx)
	defer func() { err = errors.Join(err, undo(), b.sock.sources.close()) }()
	b.prepare(ctx)
	b.begun = time.Now()
	for {
		if ctx.Err() != nil {
			b.interrupt(context.Cause(ctx).Error())
			return fmt.Errorf("burst of %d connects: %w", len(b.conns), context.Cause(ctx))
		}
		b.fire()
		b.expire(time.Now())
		if b.live == 0 && b.next == len(b.order) {
			return nil
		}
		if err := b.await(); err != nil {
			b.interrupt(err.Error())
			return err
		}
	}
}

// prepare makes all sockets, so that the connects that follow are system calls back to back.
func (b *burst) prepare(ctx context.Context) {
	for i := range b.conns {
		if i&63 == 0 && ctx.Err() != nil {
			return
		}
		s := &b.slots[i]
		if why := b.sock.open(&b.conns[i], s); why != nil {
			b.finish(i, end{sync: true, err: why})
		}
	}
}

// fire connects everything that is due, and only then looks for answers.
func (b *burst) fire() {
	from := b.next
	for ; b.next < len(b.order); b.next++ {
		i := int(b.order[b.next])
		s := &b.slots[i]
		if s.fd < 0 {
			continue // ended while being prepared
		}
		c := &b.conns[i]
		at := time.Now()
		if at.Sub(b.begun) < c.Offset {
			break
		}
		if b.started != nil {
			b.started(c.Index, s.local, at)
		}
		s.started = at
		b.live++
		if err := b.sock.connect(int(s.fd), c); err != nil {
			b.finish(i, end{sync: true, err: err})
		}
	}
	b.watch(b.order[from:b.next])
}

// watch gives the sockets just connected to epoll. A peer on this host or behind a veth pair has answered before connect(2)
// returned; as long as the sockets turn out to be such, they are judged at once and spared the epoll set.
func (b *burst) watch(fired []int32) {
	answered := true
	for _, i := range fired {
		s := &b.slots[i]
		if s.fd < 0 {
			continue
		}
		if answered {
			at := time.Now()
			if info, ok := b.info.read(int(s.fd)); ok && info.State != stateSynSent {
				b.answered(int(i), at, info, ok)
				continue
			}
			answered = false
		}
		if err := b.poll.add(int(s.fd), int(i), unix.EPOLLOUT); err != nil {
			b.finish(int(i), end{interrupted: err.Error()})
		}
	}
}

// expire ends the connects whose deadline has passed. They began in order, so the first that has time left ends the search.
func (b *burst) expire(now time.Time) {
	for ; b.first < b.next; b.first++ {
		i := int(b.order[b.first])
		s := &b.slots[i]
		if s.fd < 0 {
			continue
		}
		if b.deadline <= 0 || now.Sub(s.started) < b.deadline {
			return
		}
		b.finish(i, end{deadline: true})
	}
}

// await sleeps until a socket is ready, a connect is due or a deadline passes.
func (b *burst) await() error {
	if err := b.poll.arm(b.sleep(time.Now())); err != nil {
		return err
	}
	events, at, err := b.poll.wait()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // the context ended; run sees it
	}
	if err != nil {
		return err
	}
	for i := range events {
		if e := &events[i]; e.Fd != timerEvent {
			b.ready(int(e.Fd), at)
		}
	}
	return nil
}

// sleep is the time until the next due connect or deadline; negative when there is neither.
func (b *burst) sleep(now time.Time) time.Duration {
	d := time.Duration(-1)
	if b.next < len(b.order) {
		d = max(0, b.conns[b.order[b.next]].Offset-now.Sub(b.begun))
	}
	if b.deadline > 0 && b.first < b.next {
		if left := max(0, b.deadline-now.Sub(b.slots[b.order[b.first]].started)); d < 0 || left < d {
			d = left
		}
	}
	return d
}

// ready handles one event of a socket. An ICMP error that the kernel does not take for the end (it is queued, SO_ERROR is 0
// and the state still SYN_SENT) is remembered and the wait goes on.
func (b *burst) ready(i int, at time.Time) {
	// a process forked in the middle of an earlier burst may keep a socket of that in the set for a moment
	if i >= len(b.slots) || b.slots[i].fd < 0 || b.slots[i].started.IsZero() {
		return
	}
	info, ok := b.info.read(int(b.slots[i].fd))
	b.answered(i, at, info, ok)
}

// answered is ready with the TCP_INFO that was just read.
func (b *burst) answered(i int, at time.Time, info observe.TCPInfo, ok bool) {
	s := &b.slots[i]
	if ok && info.State == stateEstablished {
		b.finishInfo(i, end{at: at}, info, ok)
		return
	}
	errno, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		b.finish(i, end{interrupted: "read SO_ERROR: " + err.Error()})
	case errno != 0:
		b.finishInfo(i, end{at: at, err: unix.Errno(errno)}, info, ok)
	case ok && (info.State == stateSynSent || info.State == stateSynRecv):
		s.icmp = b.sock.icmp(int(s.fd), s.icmp)
	default:
		b.finishInfo(i, end{at: at}, info, ok)
	}
}

// interrupt ends everything that has not ended yet.
func (b *burst) interrupt(why string) {
	for i := range b.slots {
		s := &b.slots[i]
		switch {
		case s.fd >= 0 && !s.started.IsZero():
			b.finish(i, end{interrupted: why})
		case s.fd >= 0 || b.waiting(i):
			b.finish(i, end{sync: true, err: errNotBegun{why}})
		}
	}
}

// waiting reports whether a connect without socket has never been reported: it was not prepared when the context ended.
func (b *burst) waiting(i int) bool { return b.slots[i].fd == -1 && b.slots[i].started.IsZero() }

func (b *burst) finish(i int, e end) {
	var info observe.TCPInfo
	ok := false
	if fd := b.slots[i].fd; fd >= 0 && !b.slots[i].started.IsZero() {
		info, ok = b.info.read(int(fd))
	}
	b.finishInfo(i, e, info, ok)
}

// finishInfo judges a connect, closes its socket and reports it.
func (b *burst) finishInfo(i int, e end, info observe.TCPInfo, hasInfo bool) {
	s, c := &b.slots[i], &b.conns[i]
	e.state, e.hasState = info.State, hasInfo
	if s.fd >= 0 && !s.started.IsZero() {
		if e.mayHaveICMP() {
			e.icmp = b.sock.icmp(int(s.fd), s.icmp)
			e.icmpLocal = e.icmp.from != c.Dst.Addr().Unmap().WithZone("") && b.locals.has(e.icmp.from)
		}
		if s.learned {
			if local, ok := b.sock.name(int(s.fd)); ok {
				s.local = local
			}
		}
	}
	r := Result{Index: c.Index, View: observe.KernelView{
		Started: s.started, Completed: e.at, Errno: e.errno(), Info: info, HasInfo: hasInfo, Local: s.local,
	}}
	r.Outcome, r.Reason = e.judge(c)
	if !s.started.IsZero() {
		b.live--
	}
	if c.Keep && r.Outcome == observe.Accepted {
		var err error
		if r.Conn, err = b.poll.take(int(s.fd)); err != nil {
			r.Outcome, r.Reason = observe.OutcomeUnknown, err.Error()
		}
	}
	if s.fd >= 0 {
		closeSocket(int(s.fd))
	}
	s.fd = closed
	if b.done != nil {
		b.done(r)
	}
}

// closed marks a slot whose connect has been reported.
const closed = -2
