package topo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy serves a port as a full proxy does: it accepts first, then connects to the members ("ip:port") in turn from its own
// address, and copies both ways. A member that cannot be reached costs the client its connection.
func (h *Host) Proxy(port uint16, members []string) {
	h.Build(fmt.Sprintf("proxy port %d", port), func() error {
		l, err := h.listen(Service{Port: port})
		if err != nil {
			return err
		}
		var next atomic.Uint32
		h.net.OnClose(func() { l.Close() })
		h.net.Go(func(ctx context.Context) {
			accept(ctx, l, 0, func(ctx context.Context, c *net.TCPConn) {
				to := members[int(next.Add(1)-1)%len(members)]
				m, err := h.Dial(ctx, nil, to)
				if err != nil {
					return
				}
				defer m.Close()
				relay(ctx, c, m)
			})
		})
		return nil
	})
}

// relay copies both ways and hands on each side's end of data, until both have ended or ctx is done.
func relay(ctx context.Context, a, b *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() {
		a.Close()
		b.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	for _, d := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		wg.Go(func() {
			if _, err := io.Copy(d[0], d[1]); err != nil && !errors.Is(err, net.ErrClosed) {
				d[1].Close()
			}
			_ = d[0].CloseWrite()
		})
	}
	wg.Wait()
}
