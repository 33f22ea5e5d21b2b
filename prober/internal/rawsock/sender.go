package rawsock

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Packet is one IP packet to send.
type Packet struct {
	// Link is the Ethernet header, as LinkHeader makes it; read only by a sender to an Ethernet device. Packets of one
	// Send may have different ones, so that bursts to many next hops leave in the same system calls.
	Link [14]byte
	// Data is the IP packet, checksums finished. It is only read.
	Data []byte
	// Err is set by Send: 0 where the kernel took the packet, else why it did not. See Sender.
	Err unix.Errno
}

// Sent counts what one Send did.
type Sent struct {
	Packets  int // taken by the kernel: on a device they may still be dropped by its queue, and then no tap shows them
	NoBuffer int // refused for want of room (ENOBUFS, ENOMEM) and skipped
	Refused  int // not sent for another reason, in Packet.Err
}

// Sender hands packets to the kernel, each exactly once, in order, and marks each with its errno. An error means that the sender
// itself is out of order (the device is down or gone, its queue stays full): the packets not handed over carry that errno. A
// Sender is not for concurrent use.
type Sender interface {
	Send(packets []Packet) (Sent, error)
	Close() error
}

var (
	_ Sender = (*LinkSender)(nil)
	_ Sender = (*LocalSender)(nil)
)

// NewSender returns the sender for packets that take route r: a LocalSender where the destination is this host, else a LinkSender
// on r's device. One sender serves every destination with the same Local and IfIndex.
func NewSender(r Route) (Sender, error) {
	if r.Local {
		return NewLocalSender()
	}
	return NewLinkSender(r)
}

// LinkHeader returns the Ethernet header of a packet on route r to the next hop at mac, which NextHopMAC tells.
func (r Route) LinkHeader(mac wire.MAC) [14]byte {
	e := wire.Ethernet{Dst: mac, Src: r.SrcMAC, Type: wire.EtherIPv6}
	if r.Dst.Unmap().Is4() {
		e.Type = wire.EtherIPv4
	}
	var h [14]byte
	wire.PutEthernet(h[:], &e)
	return h
}

// NoRoom reports whether an errno of Send means that the kernel had no room for the packet then and there: it was dropped
// inside this host, and the next one may well go.
func NoRoom(errno unix.Errno) bool { return errno == unix.ENOBUFS || errno == unix.ENOMEM }

// batchSize is how many packets one sendmmsg(2) takes.
const batchSize = 64

// VolleySize is how many packets a Volley or a TxRing holds.
const VolleySize = batchSize

// LinkSender sends on one device through a packet socket that never receives. On an Ethernet device it sends Packet.Link and
// Packet.Data as they are; on a device without link header (tun, WireGuard) Packet.Data alone.
//
// It does not set PACKET_QDISC_BYPASS: that skips the taps (net/packet/af_packet.c packet_direct_xmit, 6.18), and our own
// tap must see and time what we send.
type LinkSender struct {
	fd   int
	name string
	mtu  int
	link bool // send Packet.Link
	// to[0] and to[1] name device and EtherType, IPv4 and IPv6: kernels before 5.1 do not read the latter from the frame
	// (net/packet af_packet.c packet_parse_headers), and would show our packets to no filter that asks for it.
	to   [2]unix.RawSockaddrLinklayer
	iov  [2 * batchSize]unix.Iovec
	msgs [batchSize]unix.Mmsghdr
}

// NewLinkSender opens a sender on the device of r. Errors: the device's type is none of Ethernet and header-less
// (ErrUnsupportedDevice); no CAP_NET_RAW (os.ErrPermission).
func NewLinkSender(r Route) (*LinkSender, error) {
	s := &LinkSender{name: r.IfName, mtu: r.MTU}
	kind := unix.SOCK_DGRAM
	switch r.HWType {
	case unix.ARPHRD_ETHER:
		kind, s.link = unix.SOCK_RAW, true
	case unix.ARPHRD_NONE:
	default:
		return nil, fmt.Errorf("send on %s: %w: %d (Ethernet, loopback and header-less tunnels are)",
			r.IfName, ErrUnsupportedDevice, r.HWType)
	}
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, socketError("open packet socket to send on "+r.IfName, err)
	}
	s.fd = fd
	if err := s.setup(r.IfIndex); err != nil {
		return nil, errors.Join(fmt.Errorf("send on %s: %w", r.IfName, err), unix.Close(fd))
	}
	return s, nil
}

// sendTimeout bounds how long the kernel may wait for room in the socket's buffer: a device that sends nothing for so long
// is out of order.
const sendTimeout = time.Second

// sendBuffer asks for room in flight, up to net.core.wmem_max: the default 208 KiB holds some 270 small packets.
const sendBuffer = 4 << 20

func (s *LinkSender) setup(ifIndex int) error {
	if err := limitSend(s.fd); err != nil {
		return err
	}
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: ifIndex}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	for i, proto := range []uint16{etherIPv4, etherIPv6} {
		s.to[i] = unix.RawSockaddrLinklayer{
			Family: unix.AF_PACKET, Protocol: networkOrder(proto), Ifindex: int32(ifIndex),
		}
	}
	for i := range s.msgs {
		h := &s.msgs[i].Hdr
		h.Iov = &s.iov[2*i]
		h.SetIovlen(2)
		if !s.link {
			h.Iov = &s.iov[2*i+1]
			h.SetIovlen(1)
		}
		h.Namelen = unix.SizeofSockaddrLinklayer
	}
	return nil
}

func limitSend(fd int) error {
	tv := unix.NsecToTimeval(int64(sendTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return fmt.Errorf("set send timeout: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
		return fmt.Errorf("set send buffer: %w", err)
	}
	return nil
}

// Send hands the packets to the device, 64 a system call. It allocates nothing unless it returns an error.
//
// sendmmsg(2) does not say why it stopped at a packet in mid-batch, and asking again would send that packet a second time
// where it was dropped after the taps saw it (veth with a full backlog): such a packet counts as ENOBUFS, unless the very
// next call shows that the device is out of order. Other reasons (too long, not IP) are found before the call.
func (s *LinkSender) Send(packets []Packet) (Sent, error) {
	var sent Sent
	unsure := -1 // packet that stopped the last call
	for next := 0; next < len(packets); {
		n, bad := s.load(packets[next:])
		if n == 0 {
			packets[next].Err = bad
			sent.Refused++
			next++
			continue
		}
		done, errno := s.sendmmsg(n)
		mark(packets[next:next+done], 0)
		sent.Packets += done
		next += done
		switch {
		case errno == 0 && done == n:
			unsure = -1
		case errno == 0:
			packets[next].Err = unix.ENOBUFS
			sent.NoBuffer++
			unsure = next
			next++
		case errno == unix.EINTR:
		case NoRoom(errno):
			packets[next].Err = errno
			sent.NoBuffer++
			unsure = -1
			next++
		case errno == unix.EMSGSIZE || errno == unix.EINVAL:
			packets[next].Err = errno
			sent.Refused++
			unsure = -1
			next++
		default:
			if unsure >= 0 {
				packets[unsure].Err = errno
				sent.NoBuffer--
				sent.Refused++
			}
			mark(packets[next:], errno)
			sent.Refused += len(packets) - next
			return sent, fmt.Errorf("send on %s: %w", s.name, outOfOrder(errno))
		}
	}
	return sent, nil
}

// load fills the message array from the front of packets and returns how many went in: up to the first that no device would take,
// and if that is the very first, why.
func (s *LinkSender) load(packets []Packet) (int, unix.Errno) {
	n := min(len(packets), batchSize)
	for i := range n {
		p := &packets[i]
		family, errno := check(p.Data, s.mtu)
		if errno != 0 {
			return i, errno
		}
		if s.link {
			s.iov[2*i].Base = &p.Link[0]
			s.iov[2*i].SetLen(len(p.Link))
		}
		s.iov[2*i+1].Base = &p.Data[0]
		s.iov[2*i+1].SetLen(len(p.Data))
		s.msgs[i].Hdr.Name = s.name4or6(family)
	}
	return n, 0
}

func (s *LinkSender) name4or6(family int) *byte {
	if family == unix.AF_INET {
		return rawName(&s.to[0])
	}
	return rawName(&s.to[1])
}

// Close frees the socket.
func (s *LinkSender) Close() error { return unix.Close(s.fd) }

// check finds what would make the kernel refuse the packet for its own sake; mtu 0 means no limit.
func check(data []byte, mtu int) (family int, errno unix.Errno) {
	switch {
	case len(data) < 20:
		return 0, unix.EINVAL
	case mtu > 0 && len(data) > mtu:
		return 0, unix.EMSGSIZE
	case data[0]>>4 == 4:
		return unix.AF_INET, 0
	case data[0]>>4 == 6 && len(data) >= 40:
		return unix.AF_INET6, 0
	}
	return 0, unix.EINVAL
}

func mark(packets []Packet, errno unix.Errno) {
	for i := range packets {
		packets[i].Err = errno
	}
}

// outOfOrder adds the meaning of an errno of send(2) on a packet socket.
func outOfOrder(errno unix.Errno) error {
	switch errno {
	case unix.ENETDOWN:
		return fmt.Errorf("%w: %w", ErrInterfaceDown, errno)
	case unix.ENXIO, unix.ENODEV:
		return fmt.Errorf("%w: %w", ErrInterfaceUnknown, errno)
	case unix.EAGAIN:
		return fmt.Errorf("the device has not taken a packet for %v: %w", sendTimeout, errno)
	}
	return errno
}
