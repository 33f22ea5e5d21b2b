package topo

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// StampArrivals has the kernel say of each frame that a packet socket reads when it arrived at its device. On a busy machine a program reads frames late, and many
// at once: what counts time by its own reads makes another fault then.
func StampArrivals(c *socket.Conn) error {
	if err := c.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("set SO_TIMESTAMPNS: %w", err)
	}
	return nil
}

// ReceiveArrival reads one frame and when it arrived (StampArrivals). The time carries a monotonic reading, and is never after now.
func ReceiveArrival(ctx context.Context, c *socket.Conn, b []byte) (n int, at time.Time, err error) {
	var oob [64]byte // a header of 16 octets and a timespec of as many
	n, got, _, _, err := c.Recvmsg(ctx, b, oob[:], 0)
	if err != nil {
		return 0, time.Time{}, err
	}
	return n, arrival(time.Now(), oob[:got]), nil
}

// arrival is the moment that control messages tell (netif_rx stamps what comes through a veth when it is queued: net/core/dev.c, 6.18, net.core.netdev_tstamp_prequeue);
// now where they tell none, or one in the future, as they do when the wall clock was set back meanwhile.
func arrival(now time.Time, oob []byte) time.Time {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return now
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS {
			if stamped, ok := timespec(data); ok {
				return now.Add(-max(now.Round(0).Sub(stamped), 0))
			}
		}
		oob = rest
	}
	return now
}

// timespec reads a struct timespec of this machine's word.
func timespec(b []byte) (time.Time, bool) {
	switch len(b) {
	case 16:
		return time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))), true
	case 8:
		return time.Unix(int64(int32(binary.NativeEndian.Uint32(b))), int64(int32(binary.NativeEndian.Uint32(b[4:])))), true
	}
	return time.Time{}, false
}
