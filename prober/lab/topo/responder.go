package topo

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// Responder answers ARP requests in a link's stead, late if told so. The kernel's own answers are off while it works
// (arp_ignore 8), and so is what the kernel would learn from a request, but not what it learns from replies.
type Responder struct {
	// For are the addresses it answers for.
	For []netip.Addr
	// MAC it answers with; nil means the link's own.
	MAC net.HardwareAddr
	// Delay of each answer.
	Delay time.Duration
	// Copies is how many answers each request gets; 0 means one.
	Copies int
	// Beside leaves the kernel's own answers on: two voices for one address.
	Beside bool
}

// Respond starts a responder that lives as long as the network.
func (l *Link) Respond(r Responder) {
	if !r.Beside {
		l.Conf("ipv4", "arp_ignore", "8")
	}
	if r.MAC == nil {
		r.MAC = l.MAC
	}
	r.Copies = max(r.Copies, 1)
	l.arp("ARP responder", func(ctx context.Context, c *socket.Conn, to unix.Sockaddr) { r.serve(ctx, c, to) })
}

// Announce broadcasts gratuitous ARP for an address as this link's, first after a while and then every so often, for as long as
// the network lives.
func (l *Link) Announce(a netip.Addr, every, first time.Duration) {
	l.arp("announcements", func(ctx context.Context, c *socket.Conn, to unix.Sockaddr) {
		frame := l.announcement(a)
		timer := time.NewTimer(first)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				_ = c.Sendto(ctx, frame, 0, to)
				timer.Reset(every)
			}
		}
	})
}

// announcement is an ARP request for one's own address (RFC 5227 §2.3).
func (l *Link) announcement(a netip.Addr) []byte {
	b := make([]byte, arpFrame)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(b[6:], l.MAC)
	copy(b[12:], []byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1})
	copy(b[22:], l.MAC)
	copy(b[28:], a.AsSlice())
	copy(b[38:], a.AsSlice())
	return b
}

// arp runs f with a packet socket for ARP on the link.
func (l *Link) arp(what string, f func(context.Context, *socket.Conn, unix.Sockaddr)) {
	l.Host.Build(what+" on "+l.Name, func() error {
		c, err := socket.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0, "arp", nil)
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		if err := c.Bind(&unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ARP), Ifindex: l.Index}); err != nil {
			c.Close()
			return fmt.Errorf("bind packet socket: %w", err)
		}
		if err := StampArrivals(c); err != nil {
			c.Close()
			return err
		}
		l.Host.net.OnClose(func() { c.Close() })
		l.Host.net.Go(func(ctx context.Context) { f(ctx, c, &unix.SockaddrLinklayer{Ifindex: l.Index}) })
		return nil
	})
}

// htons is the network order that packet(7) wants of a protocol number.
func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

func (r Responder) serve(ctx context.Context, c *socket.Conn, to unix.Sockaddr) {
	b := make([]byte, 128)
	for {
		n, at, err := ReceiveArrival(ctx, c, b)
		if err != nil {
			return
		}
		answer, ok := r.answer(b[:n])
		if !ok {
			continue
		}
		time.AfterFunc(time.Until(at.Add(r.Delay)), func() {
			for range r.Copies {
				_ = c.Sendto(ctx, answer, 0, to)
			}
		})
	}
}

// arpFrame is the length of an Ethernet frame with an IPv4 ARP body (RFC 826).
const arpFrame = 14 + 28

// answer makes the reply to a request frame for one of our addresses.
//
//	 0        6        12    14          20 22        28    32        38    42
//	+--------+--------+-----+-----------+--+---------+-----+---------+-----+
//	| dst    | src    | 0806| hw,proto… |op| sender  |  IP | target  |  IP |
func (r Responder) answer(frame []byte) ([]byte, bool) {
	if len(frame) < arpFrame || binary.BigEndian.Uint16(frame[20:]) != 1 {
		return nil, false
	}
	target := netip.AddrFrom4([4]byte(frame[38:42]))
	sender := netip.AddrFrom4([4]byte(frame[28:32]))
	ours := false
	for _, a := range r.For {
		ours = ours || a == target
	}
	if !ours || sender == target {
		return nil, false
	}
	b := make([]byte, arpFrame)
	copy(b, frame[6:12]) // to the asker
	copy(b[6:], r.MAC)
	copy(b[12:], frame[12:20])
	b[21] = 2
	copy(b[22:], r.MAC)
	copy(b[28:], frame[38:42])
	copy(b[32:], frame[22:32])
	return b, true
}
