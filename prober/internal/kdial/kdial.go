package kdial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Conn is one connect to make.
type Conn struct {
	// Index is the caller's name for the connect; it comes back in started and Result.
	Index int
	// Src is the local end. An invalid or unspecified address leaves the choice to the route; port 0 leaves it to the kernel.
	Src netip.AddrPort
	// Dst is the far end. An IPv4-mapped IPv6 address is connected as IPv4; a zone (index or interface name) is honoured.
	Dst netip.AddrPort
	// Offset is when to connect, counted from the moment all sockets of the burst stand ready; negative means 0.
	Offset time.Duration
	// Close is plan.Abort (RST; what plan.ClosingUnknown means as well) or plan.CloseFirst (our FIN first).
	Close plan.Closing
	// HopLimit and ToS of every segment; 0 leaves the host's default.
	HopLimit, ToS uint8
	// Interface binds the socket to a device (SO_BINDTODEVICE; without CAP_NET_RAW since Linux 5.7, net/core/sock.c
	// sock_setbindtodevice); "" does not.
	Interface string
	// Data shapes the socket for a data phase.
	Data Data
	// Keep hands an accepted connection over in the Result, for the caller to close; Run alone does.
	Keep bool
	// SynCount is TCP_SYNCNT, how often the SYN is repeated, 1 … 127; 0 leaves net.ipv4.tcp_syn_retries. Linux ≥ 6.5 adds
	// tcp_syn_linear_timeouts to it (net/ipv4/tcp_timer.c tcp_write_timeout, 6.18).
	SynCount int
}

// Result is how one connect ended.
type Result struct {
	Index int // of the Conn
	View  observe.KernelView
	// Outcome is what errno, error queue and TCP_INFO say; OutcomeUnknown where the context ended first.
	Outcome observe.Outcome
	// Reason is a clause for people that says more than the outcome: the errno, who sent the ICMP error, which limit was hit.
	// It is empty for an accepted connect.
	Reason string
	// Conn is the connection that was accepted, where it was to be kept; else nil.
	Conn net.Conn
}

// Dialer makes bursts. Several Runs may be under way at once: each has its own epoll set, which the Dialer keeps for the
// next one.
type Dialer struct {
	mu     sync.Mutex
	idle   []*poller
	closed bool
}

// maxIdle is how many epoll sets (two descriptors each) are kept between Runs.
const maxIdle = 8

// New returns a Dialer after raising this process's soft limit of open files to the hard one: every connect in flight
// holds a descriptor. The error says that no epoll set can be made.
func New() (*Dialer, error) {
	if err := raiseFileLimit(); err != nil {
		return nil, err
	}
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &Dialer{idle: []*poller{p}}, nil
}

// Close releases the epoll sets kept for reuse. Runs still under way finish undisturbed.
func (d *Dialer) Close() error {
	d.mu.Lock()
	idle := d.idle
	d.idle, d.closed = nil, true
	d.mu.Unlock()
	var first error
	for _, p := range idle {
		if err := p.close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (d *Dialer) take() (*poller, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.idle); n > 0 {
		p := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return p, nil
	}
	return newPoller()
}

func (d *Dialer) give(p *poller) error {
	d.mu.Lock()
	keep := !d.closed && len(d.idle) < maxIdle
	if keep {
		d.idle = append(d.idle, p)
	}
	d.mu.Unlock()
	if keep {
		return nil
	}
	return p.close()
}

// Run makes the connects and returns when every one has ended and every socket is closed. deadline is how long each
// connect may take from its own connect(2); 0 leaves the end to the kernel.
//
// started is called with the connect's Index, the local address it really has and the time, right before connect(2), so that
// a capture can know the flow first; done is called exactly once for every Conn, also for one that could not be sent (and
// then without started). Both run on the calling goroutine and must not block; either may be nil. Without started, sockets
// with a source address and port 0 are bound with IP_BIND_ADDRESS_NO_PORT, so that ports are shared between destinations;
// with it a port must be taken before connect(2), and then one address has no more connects at once than ephemeral ports.
//
// When ctx ends, connects under way are reported as OutcomeUnknown, those not begun as NotSent, and the error is
// context.Cause. Any other error means that nothing could be waited for; done has then been called for every Conn all the same.
func (d *Dialer) Run(ctx context.Context, conns []Conn, deadline time.Duration,
	started func(i int, local netip.AddrPort, at time.Time), done func(Result)) error {
	p, err := d.take()
	if err != nil {
		if done != nil {
			for i := range conns {
				done(Result{Index: conns[i].Index, Outcome: observe.NotSent, Reason: err.Error()})
			}
		}
		return err
	}
	b := newBurst(p, conns, deadline, started, done)
	err = b.run(ctx)
	if e := d.give(p); err == nil {
		err = e
	}
	return err
}

// raiseFileLimit lifts RLIMIT_NOFILE's soft limit to the hard one.
func raiseFileLimit() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if l.Cur >= l.Max {
		return nil
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", l.Max, err)
	}
	return nil
}
