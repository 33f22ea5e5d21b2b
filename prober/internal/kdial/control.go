package kdial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// single is one connect outside of any burst, whose socket lives on.
type single struct {
	conn   *Conn
	sock   sockets
	slot   slot
	info   infoBuffer
	last   observe.TCPInfo // as last read, where has
	has    bool
	locals localAddrs
}

// Dial makes one connect until ctx ends, and hands the connection over where it was accepted; else the connection is nil. Options,
// outcome and reason are those of Run, and the TCP_INFO is that of the handshake: no data has been sent. The connect's Offset has no meaning.
// A ctx whose time is over is TimedOut; one that was cancelled is OutcomeUnknown.
func Dial(ctx context.Context, c Conn) (net.Conn, Result) {
	d := single{conn: &c}
	if err := context.Cause(ctx); err != nil {
		return nil, d.result(end{sync: true, err: errNotBegun{err.Error()}})
	}
	if err := d.sock.open(&c, &d.slot); err != nil {
		return nil, d.result(end{sync: true, err: err})
	}
	fd := int(d.slot.fd)
	d.slot.started = time.Now()
	err := d.sock.connect(fd, &c)
	// Only now: a socket that is not connecting yet is ready for writing as epoll has it (net/ipv4/tcp.c tcp_poll, 6.18).
	f := os.NewFile(uintptr(fd), "connect to "+c.Dst.String())
	defer func() { _ = f.Close() }()
	if err != nil {
		return nil, d.result(end{sync: true, err: err})
	}
	r := d.result(d.await(ctx, f))
	if r.Outcome != observe.Accepted {
		return nil, r
	}
	conn, err := net.FileConn(f)
	if err != nil {
		r.Outcome, r.Reason = observe.OutcomeUnknown, fmt.Sprintf("keep the connection: %v", err)
		return nil, r
	}
	return conn, r
}

// await waits until the connect has ended or ctx has.
func (d *single) await(ctx context.Context, f *os.File) end {
	raw, err := f.SyscallConn()
	if err != nil {
		return end{interrupted: err.Error()}
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var e end
	ended := false
	err = raw.Write(func(fd uintptr) bool {
		e, ended = d.look(int(fd))
		return ended
	})
	switch cause := context.Cause(ctx); {
	case ended:
		return e
	case errors.Is(cause, context.DeadlineExceeded):
		return end{deadline: true}
	case cause != nil:
		return end{interrupted: cause.Error()}
	}
	return end{interrupted: fmt.Sprintf("wait for the connect: %v", err)}
}

// look reports how the connect ended, if it has. An ICMP error that the kernel does not take for the end is remembered.
func (d *single) look(fd int) (end, bool) {
	at := time.Now()
	d.last, d.has = d.info.read(fd)
	if d.has && d.last.State == stateEstablished {
		return end{at: at}, true
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return end{interrupted: "read SO_ERROR: " + err.Error()}, true
	case errno != 0:
		return end{at: at, err: unix.Errno(errno)}, true
	case d.has && (d.last.State == stateSynSent || d.last.State == stateSynRecv):
		d.slot.icmp = d.sock.icmp(fd, d.slot.icmp)
		return end{}, false
	}
	return end{at: at}, true
}

// result judges the connect. Its socket, if it has one, is still open.
func (d *single) result(e end) Result {
	s, c := &d.slot, d.conn
	if begun := !s.started.IsZero(); begun {
		fd := int(s.fd)
		if e.at.IsZero() {
			d.last, d.has = d.info.read(fd)
		}
		if e.mayHaveICMP() {
			e.icmp = d.sock.icmp(fd, s.icmp)
			e.icmpLocal = e.icmp.from != c.Dst.Addr().Unmap().WithZone("") && d.locals.has(e.icmp.from)
		}
		if local, ok := d.sock.name(fd); ok && s.learned {
			s.local = local
		}
	}
	e.state, e.hasState = d.last.State, d.has
	r := Result{Index: c.Index, View: observe.KernelView{
		Started: s.started, Completed: e.at, Errno: e.errno(), Info: d.last, HasInfo: d.has, Local: s.local,
	}}
	r.Outcome, r.Reason = e.judge(c)
	return r
}
