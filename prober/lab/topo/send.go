package topo

import (
	"context"
	"fmt"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// Send puts frames onto the link's cable: the first ones at once, as part of the building step, then perSecond of them a second for as
// long as the network lives; with 0, none at all. next makes the i-th frame.
func (l *Link) Send(first, perSecond int, next func(i int) []byte) {
	if perSecond <= 0 {
		return
	}
	l.Host.Build("sender on "+l.Name, func() error {
		c, err := socket.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0, "send", nil)
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		to := &unix.SockaddrLinklayer{Ifindex: l.Index}
		l.Host.net.OnClose(func() { c.Close() })
		for i := range first {
			if err := c.Sendto(l.Host.net.ctx, next(i), 0, to); err != nil {
				return fmt.Errorf("send frame %d: %w", i, err)
			}
		}
		l.Host.net.Go(func(ctx context.Context) {
			tick := time.NewTicker(time.Second / time.Duration(perSecond))
			defer tick.Stop()
			for i := first; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					_ = c.Sendto(ctx, next(i), 0, to)
				}
			}
		})
		return nil
	})
}
