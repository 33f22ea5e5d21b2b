package wires

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// vnetHeader is the length of struct virtio_net_hdr (include/uapi/linux/virtio_net.h, 6.18), which PACKET_VNET_HDR puts
// before every frame: without it a frame whose checksum is left to the device would arrive broken.
const vnetHeader = 10

// Attach joins h to the switch b by a wire with the stages, outermost first, and returns h's device.
func Attach(n *topo.Net, h *topo.Host, b *topo.Bridge, stages []Stage, prefixes ...string) *topo.Link {
	w := between(n, h.Name)
	l, inner := n.Cable(h, w)
	outer := w.Attach(b)
	insert(n, w, inner, outer, stages)
	for _, p := range prefixes {
		l.Addr(p)
	}
	return l
}

// Cable joins two hosts by a wire that belongs to a: In is towards a.
func Cable(n *topo.Net, a, b *topo.Host, stages []Stage) (*topo.Link, *topo.Link) {
	w := between(n, a.Name)
	la, inner := n.Cable(a, w)
	lb, outer := n.Cable(b, w)
	insert(n, w, inner, outer, stages)
	return la, lb
}

// Between runs a wire between the two loose ends of topo's Interpose: In is towards near.
func Between(n *topo.Net, near, beyond *topo.Link, stages []Stage) {
	insert(n, near.Host, near, beyond, stages)
}

// between is the host that a wire runs in: it has no address and says nothing itself.
func between(n *topo.Net, name string) *topo.Host {
	w := n.Host("wire-" + name)
	w.Relay = true
	w.Sysctl("net.ipv6.conf.all.disable_ipv6", "1")
	w.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
	return w
}

// end is one side's socket.
type end struct {
	conn *socket.Conn
	to   unix.Sockaddr
	dir  Direction // of what is read here
}

func insert(n *topo.Net, w *topo.Host, inner, outer *topo.Link, stages []Stage) {
	var a, b *end
	// One frame a segment on the wire: rules are about segments.
	inner.SingleSegments()
	outer.SingleSegments()
	w.Build("wire", func() (err error) {
		if a, err = open(inner, Out); err != nil {
			return err
		}
		b, err = open(outer, In)
		return err
	})
	if n.Err() != nil {
		return
	}
	frames := make(chan arrived, 256)
	for _, e := range []*end{a, b} {
		n.OnClose(func() { e.conn.Close() })
		n.Go(func(ctx context.Context) {
			n.Pin() // freeing a frame here lets its sender go on, from here (tcp_wfree in net/ipv4/tcp_output.c, 6.18)
			e.read(ctx, frames)
		})
	}
	n.Go(func(ctx context.Context) {
		n.Pin()
		run(ctx, NewLine(stages...), frames, a, b)
	})
}

func open(l *topo.Link, dir Direction) (*end, error) {
	all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
	c, err := socket.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0, "wire", nil)
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", l.Name, err)
	}
	for _, o := range []struct {
		name  string
		level int
		opt   int
		value int
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 4 << 20},
	} {
		if err := c.SetsockoptInt(o.level, o.opt, o.value); err != nil {
			c.Close()
			return nil, fmt.Errorf("set %s on %s: %w", o.name, l.Name, err)
		}
	}
	if err := topo.StampArrivals(c); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	if err := c.Bind(&unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: l.Index}); err != nil {
		c.Close()
		return nil, fmt.Errorf("bind packet socket to %s: %w", l.Name, err)
	}
	return &end{c, &unix.SockaddrLinklayer{Ifindex: l.Index}, dir}, nil
}

// arrived is a packet and when the kernel had it.
type arrived struct {
	Packet
	at time.Time
}

// read hands on every frame that arrives at one end.
func (e *end) read(ctx context.Context, frames chan<- arrived) {
	b := make([]byte, vnetHeader+1<<16)
	for {
		n, at, err := topo.ReceiveArrival(ctx, e.conn, b)
		if err != nil {
			return
		}
		if n <= vnetHeader {
			continue
		}
		p := Read(e.dir, append([]byte(nil), b[vnetHeader:n]...))
		p.offload = [vnetHeader]byte(b[:vnetHeader])
		select {
		case frames <- arrived{p, at}:
		case <-ctx.Done():
			return
		}
	}
}

// run owns the line: it alone moves packets along it, and writes those that leave. What happens on the line counts from when the kernel had a frame, however
// late this program comes to it.
func run(ctx context.Context, line *Line, frames <-chan arrived, inner, outer *end) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	b := make([]byte, 0, vnetHeader+1<<16)
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-frames:
			line.Push(p.at, p.Packet)
			drain(line, frames)
		case <-timer.C:
			drain(line, frames)
		}
		for _, p := range line.Advance(time.Now()) {
			e := inner
			if p.Dir == Out {
				e = outer
			}
			b = append(append(b[:0], p.offload[:]...), p.Frame...)
			// A full queue of the device loses the frame, as on any wire.
			_ = e.conn.Sendto(ctx, b, 0, e.to)
		}
		if at, ok := line.Next(); ok {
			timer.Reset(time.Until(at))
		}
	}
}

// drain puts all that waits on the line before time goes on there.
func drain(line *Line, frames <-chan arrived) {
	for range len(frames) {
		p := <-frames
		line.Push(p.at, p.Packet)
	}
}
