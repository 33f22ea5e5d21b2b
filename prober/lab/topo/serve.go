package topo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Behaviour is what a Service does with its connections.
type Behaviour uint8

// Echo sends back what comes until the client closes; CloseFirst answers the first data, or after Patience without any, and
// closes before the client does; Hang accepts and never answers or closes; Stuck never accepts, so that the queue fills;
// Bulk sends Size octets and waits for the client to close; CloseIdle closes first where nothing comes within Patience (0: never), and else
// sends back what comes; Sink reads what comes and says nothing.
const (
	BehaviourUnknown Behaviour = iota
	Echo
	CloseFirst
	Hang
	Stuck
	Bulk
	CloseIdle
	Sink
)

// Service is a TCP listener of a host, on all its addresses and both families.
type Service struct {
	Port uint16
	Then Behaviour
	// Backlog of listen(2): the accept queue holds one more. 0 means net.core.somaxconn.
	Backlog int
	// Pause is the least time between two connections that it accepts.
	Pause time.Duration
	// Patience is how long CloseFirst waits for data before it closes; 0 means 50 ms.
	Patience time.Duration
	// Size is how much Bulk sends.
	Size int
	// DeferAccept is TCP_DEFER_ACCEPT in whole seconds: wake the listener only for data.
	DeferAccept time.Duration
	// LeastTTL is the hop limit below which the listener drops segments (IP_MINTTL, IPV6_MINHOPCOUNT); 0: any will do.
	LeastTTL int
	// Signed are the peers whose segments the listener drops that are not signed with a key which they do not have (TCP_MD5SIG).
	Signed []netip.Addr
}

// Serve starts a service that lives as long as the network.
func (h *Host) Serve(s Service) {
	h.Build(fmt.Sprintf("serve port %d", s.Port), func() error {
		l, err := h.listen(s)
		if err != nil {
			return err
		}
		h.net.OnClose(func() { l.Close() })
		if s.Then != Stuck {
			h.net.Go(func(ctx context.Context) {
				accept(ctx, l, s.Pause, func(ctx context.Context, c *net.TCPConn) { s.handle(ctx, h.net, c) })
			})
		}
		return nil
	})
}

// listen opens the socket; it runs on the host's thread.
func (h *Host) listen(s Service) (*net.TCPListener, error) {
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, s.choosy)
	}}
	cfg.SetMultipathTCP(false)
	l, err := cfg.Listen(h.net.ctx, "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), s.Port).String())
	if err != nil {
		return nil, err
	}
	tcp, _ := l.(*net.TCPListener)
	if s.Backlog == 0 {
		return tcp, nil
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		// A second listen(2) only changes the backlog (net/ipv4/af_inet.c __inet_listen_sk, 6.18).
		err = control(raw, func(fd int) error { return unix.Listen(fd, s.Backlog) })
	}
	if err != nil {
		tcp.Close()
		return nil, fmt.Errorf("set backlog %d: %w", s.Backlog, err)
	}
	return tcp, nil
}

// choosy sets what a listener asks of those who come.
func (s *Service) choosy(fd int) error {
	if s.DeferAccept > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, int(s.DeferAccept/time.Second)); err != nil {
			return fmt.Errorf("set TCP_DEFER_ACCEPT: %w", err)
		}
	}
	if s.LeastTTL > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, s.LeastTTL); err != nil {
			return fmt.Errorf("set IP_MINTTL: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, s.LeastTTL); err != nil {
			return fmt.Errorf("set IPV6_MINHOPCOUNT: %w", err)
		}
	}
	for _, peer := range s.Signed {
		if err := signed(fd, peer); err != nil {
			return fmt.Errorf("set TCP_MD5SIG for %s: %w", peer, err)
		}
	}
	return nil
}

// signed asks for RFC 2385's signatures from a peer: struct tcp_md5sig (include/uapi/linux/tcp.h, 6.18) is a sockaddr_storage of 128 octets, flags and prefix length, the key's
// length as 16 bits of the machine's order, an interface index, and 80 octets for the key. A listener of both families takes IPv4 peers in their mapped form.
func signed(fd int, peer netip.Addr) error {
	const key = "not known to the peer"
	var sig [216]byte
	binary.NativeEndian.PutUint16(sig[:], unix.AF_INET6)
	addr := peer.As16()
	copy(sig[8:], addr[:])
	binary.NativeEndian.PutUint16(sig[130:], uint16(len(key)))
	copy(sig[136:], key)
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, string(sig[:]))
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// accept serves connections until the listener is closed, with a pause behind each, then closes those still open and waits for their handlers.
func accept(ctx context.Context, l *net.TCPListener, pause time.Duration, handle func(context.Context, *net.TCPConn)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client took its connection back: accept(2)
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			handle(ctx, c)
		})
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

func (s Service) handle(ctx context.Context, n *Net, c *net.TCPConn) {
	switch s.Then {
	case Echo:
		_, _ = io.Copy(c, c)
	case CloseFirst:
		s.answerAndClose(c)
	case CloseIdle:
		s.closeIdle(c)
	case Hang:
		<-ctx.Done()
	case Bulk:
		n.Pin()
		if _, err := c.Write(make([]byte, s.Size)); err == nil {
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}
	case Sink:
		_, _ = io.Copy(io.Discard, c)
	case Stuck, BehaviourUnknown:
	}
}

// answerAndClose is an HTTP/1.0 server in small: whoever has answered, closes.
func (s Service) answerAndClose(c *net.TCPConn) {
	patience := s.Patience
	if patience == 0 {
		patience = 50 * time.Millisecond
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, _ := c.Read(make([]byte, 4096)); n > 0 {
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
	// FIN, and keep reading: a close with unread data would send RST (RFC 9293 §3.10.4, tcp_close) and leave no TIME_WAIT.
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, c)
}

// closeIdle loses patience with a connection that says nothing, and serves any other.
func (s Service) closeIdle(c *net.TCPConn) {
	if s.Patience > 0 {
		_ = c.SetReadDeadline(time.Now().Add(s.Patience))
	}
	first := make([]byte, 4096)
	n, err := c.Read(first)
	_ = c.SetReadDeadline(time.Time{})
	if err == nil {
		if _, err = c.Write(first[:n]); err == nil {
			_, _ = io.Copy(c, c)
		}
		return
	}
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c)
}

// Dial connects from the host; the connection may be used anywhere.
func (h *Host) Dial(ctx context.Context, d *net.Dialer, to string) (*net.TCPConn, error) {
	var c net.Conn
	err := h.Do(func() error {
		fd, err := dialer(d).DialContext(ctx, "tcp", to)
		c = fd
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	tcp, _ := c.(*net.TCPConn)
	return tcp, nil
}

func dialer(d *net.Dialer) *net.Dialer {
	if d == nil {
		d = &net.Dialer{}
	}
	d.SetMultipathTCP(false)
	return d
}
