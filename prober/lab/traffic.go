package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// exchange is what a background client does with a connection; the connection is closed after it.
type exchange func(context.Context, *net.TCPConn)

// request asks and reads to the end: the server closes first, as an HTTP/1.0 server does.
func request(_ context.Context, c *net.TCPConn) {
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// hangUp closes at once: what a TCP health check does.
func hangUp(context.Context, *net.TCPConn) {}

// dialTimeout bounds a background connection; buildTimeout one without which a scenario cannot stand.
const (
	dialTimeout  = 3 * time.Second
	buildTimeout = 10 * time.Second
)

// visit makes one connection from a host.
func visit(ctx context.Context, from *topo.Host, to string, do exchange) error {
	return visitWithin(ctx, dialTimeout, from, to, do)
}

func visitWithin(ctx context.Context, timeout time.Duration, from *topo.Host, to string, do exchange) error {
	c, err := from.Dial(ctx, &net.Dialer{Timeout: timeout}, to)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	do(ctx, c)
	return nil
}

// visits makes two connections to each of a number of servers now, as a building step, and goes on making one every so often. When the
// second has been accepted, all of the first has passed the wire in front of that server.
func (st *Stage) visits(from *topo.Host, to string, servers int, every time.Duration, do exchange) {
	for range 2 * servers {
		st.visitOnce(from, to, do)
	}
	st.goesOnVisiting(from, to, every, do)
}

// visitOnce makes one connection, as a building step.
func (st *Stage) visitOnce(from *topo.Host, to string, do exchange) {
	st.Step("visit of "+from.Name, func() error { return visitWithin(st.Context(), buildTimeout, from, to, do) })
}

// goesOnVisiting makes a connection every so often from now on.
func (st *Stage) goesOnVisiting(from *topo.Host, to string, every time.Duration, do exchange) {
	st.Go(func(ctx context.Context) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = visit(ctx, from, to, do) // a refused visit is the fault at work
			}
		}
	})
}

// holds opens n connections, as a building step, and keeps them. Those that fail are the fault at work, but the first must not.
func (st *Stage) holds(from *topo.Host, to string, n int) {
	st.Step("held connections of "+from.Name, func() error {
		for i := range n {
			timeout := 300 * time.Millisecond
			if i == 0 {
				timeout = buildTimeout
			}
			c, err := from.Dial(st.Context(), &net.Dialer{Timeout: timeout}, to)
			if err != nil {
				if i == 0 {
					return fmt.Errorf("first of %d: %w", n, err)
				}
				return nil
			}
			st.OnClose(func() { c.Close() })
		}
		return nil
	})
}

// flood sends SYNs to a listener from the 65,536 addresses after first in turn, a new port for each round: 200 at once, then
// at a rate a second. Nobody ever answers the SYN-ACKs.
func (st *Stage) flood(from, to *topo.Link, first netip.Addr, target netip.AddrPort, rate int) {
	base := first.As4()
	from.Send(200, rate, func(i int) []byte {
		src := netip.AddrFrom4([4]byte{base[0], base[1], byte(i >> 8), byte(i)})
		s := wire.Segment{Src: netip.AddrPortFrom(src, uint16(20000+i>>16)), Dst: target, Seq: wire.Seq(i * 7919), Flags: wire.SYN,
			Window: 64240, HopLimit: 64, DF: true, Options: wire.LinuxSYN(1460, wire.TSval(i), 7)}
		frame := append(append(append([]byte(nil), to.MAC...), from.MAC...), 0x08, 0x00)
		frame = append(frame, make([]byte, s.Size())...)
		if _, err := s.Encode(frame[14:]); err != nil {
			panic(err) // two IPv4 endpoints always encode
		}
		return frame
	})
}
