package topo

import (
	"context"
	"fmt"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// Send puts frames onto the link's cable, perSecond of them a second, for as long as the network lives. next makes the i-th frame.
func (l *Link) Send(perSecond int, next func(i int) []byte) {
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
		l.Host.net.Go(func(ctx context.Context) {
			tick := time.NewTicker(time.Second / time.Duration(perSecond))
			defer tick.Stop()
			for i := 0; ; i++ {
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
