package rawsock

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TxRing sends like a Volley, from a ring of frames shared with the kernel (PACKET_TX_RING), and costs a quarter less a packet: one system call for
// all that waits, and no message header to copy for each. Every frame begins with a virtio_net_hdr that calls all of it header, so that the kernel
// copies it to a linear buffer; without one it would hand the pages of the ring to the device and all who follow, which costs more than a copy of
// so small a packet (net/packet/af_packet.c tpacket_fill_skb: copylen, 6.18). A TxRing is not for concurrent use and allocates nothing once made.
type TxRing struct {
	fd     int
	name   string
	to     unix.RawSockaddrLinklayer
	memory []byte
	head   int // of frames: the one that the kernel takes next, and the first of the volley in the making
	count  int
	bad    [VolleySize]int
}

// A frame of the ring (TPACKET_V2; Documentation/networking/packet_mmap.rst):
//
//	0 struct tpacket2_hdr (status u32, length u32, …) │ 32 struct virtio_net_hdr (10) │ 42 link header (14) │ 56 packet
const (
	txFrame   = 256
	txFrames  = 4 * VolleySize
	txBlock   = VolleySize * txFrame
	txVnet    = 32 // TPACKET2_HDRLEN − sizeof(struct sockaddr_ll)
	txVnetLen = 10 // struct virtio_net_hdr without num_buffers (include/uapi/linux/virtio_net.h)
	txHdrLen  = 2  // its field hdr_len, u16 in host byte order (vio_le of af_packet.c)
)

// NewTxRing opens one on the device of r, for the family of r.Dst. Errors are those of NewVolley, and errors.ErrUnsupported where only a Volley
// will do: on a device without link header, and on kernels before 4.6, whose ring knows no virtio_net_hdr (they refuse the two together).
func NewTxRing(r Route) (*TxRing, error) {
	if r.Local {
		return nil, fmt.Errorf("send to %s: %w: an address of this host", r.Dst, ErrUnsupportedDevice)
	}
	s, err := NewLinkSender(r)
	if err != nil {
		return nil, err
	}
	t := &TxRing{fd: s.fd, name: s.name, to: s.to[1]}
	if r.Dst.Unmap().Is4() {
		t.to = s.to[0]
	}
	if !s.link {
		err = fmt.Errorf("it has no link header: %w", errors.ErrUnsupported) // PACKET_VNET_HDR is for SOCK_RAW alone
	} else {
		err = t.setup()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("send on %s from a ring: %w", r.IfName, err), t.Close())
	}
	return t, nil
}

func (t *TxRing) setup() error {
	for _, o := range []struct{ name, value int }{{unix.PACKET_VERSION, unix.TPACKET_V2}, {unix.PACKET_VNET_HDR, 1}} {
		if err := unix.SetsockoptInt(t.fd, unix.SOL_PACKET, o.name, o.value); err != nil {
			return fmt.Errorf("%w: option %d: %w", errors.ErrUnsupported, o.name, err)
		}
	}
	req := unix.TpacketReq{Block_size: txBlock, Block_nr: txFrames * txFrame / txBlock, Frame_size: txFrame, Frame_nr: txFrames}
	switch err := unix.SetsockoptTpacketReq(t.fd, unix.SOL_PACKET, unix.PACKET_TX_RING, &req); {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: PACKET_TX_RING with virtio_net_hdr: %w", errors.ErrUnsupported, err)
	case err != nil:
		return fmt.Errorf("make a ring of %d KiB: %w", txFrames*txFrame>>10, err)
	}
	var err error
	if t.memory, err = unix.Mmap(t.fd, 0, txFrames*txFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return fmt.Errorf("map a ring of %d KiB: %w", txFrames*txFrame>>10, err)
	}
	return nil
}

// frame is the i-th of the volley.
func (t *TxRing) frame(i int) []byte {
	return t.memory[(t.head+i)%txFrames*txFrame:][:txFrame]
}

func header(frame []byte) *unix.Tpacket2Hdr { return (*unix.Tpacket2Hdr)(unsafe.Pointer(&frame[0])) }

func status(frame []byte) uint32 { return atomic.LoadUint32(&header(frame).Status) }

func setStatus(frame []byte, s uint32) { atomic.StoreUint32(&header(frame).Status, s) }

// Slot is where the next packet goes; see Volley.
func (t *TxRing) Slot() []byte { return t.frame(t.count)[txVnet+txVnetLen:][:SlotSize] }

// Add takes the packet in Slot, of n octets from LinkRoom on, and returns its number among those not flushed yet.
func (t *TxRing) Add(n int) int {
	f := t.frame(t.count)
	n += LinkRoom
	*(*uint16)(unsafe.Pointer(&f[txVnet+txHdrLen])) = uint16(n) // all else of the virtio_net_hdr stays 0
	header(f).Len = uint32(txVnetLen + n)
	setStatus(f, unix.TP_STATUS_SEND_REQUEST)
	t.count++
	return t.count - 1
}

// Full reports whether there is no slot left before the next Flush.
func (t *TxRing) Full() bool { return t.count == VolleySize }

// Len is how many packets Flush would send.
func (t *TxRing) Len() int { return t.count }

// Flush hands the packets to the device, each exactly once; see Volley.Flush.
func (t *TxRing) Flush() (bad []int, err error) {
	n := t.count
	t.count = 0
	bad = t.bad[:0]
	for next := 0; next < n && err == nil; {
		errno := t.send()
		var refused bool
		for ; n > 0 && next < n; next++ {
			s := status(t.frame(0))
			if refused = s == unix.TP_STATUS_WRONG_FORMAT; refused || s == unix.TP_STATUS_SEND_REQUEST {
				break
			}
			t.head = (t.head + 1) % txFrames
		}
		switch {
		case next == n || errno == unix.EINTR:
		case refused, NoRoom(errno), errno == unix.EMSGSIZE, errno == unix.EINVAL:
			// The frame waits to be sent again; the packet may have passed the taps (see LinkSender.Send).
			bad = append(bad, next)
			next++
			t.closeUp(n - next)
		case errno == 0, errno == unix.EAGAIN: // the socket's buffer is full
			err = t.await()
		default:
			err = fmt.Errorf("send on %s: %w", t.name, outOfOrder(errno))
		}
		if err != nil {
			bad = t.abandon(bad, next, n)
		}
	}
	if err != nil {
		return bad, err
	}
	return bad, t.settle()
}

// send makes the kernel take frames from head on, up to the first that does not wait to be sent. It never sleeps (MSG_DONTWAIT), so the call is raw:
// Go's scheduler would take the processor away from a call of more than 20 µs, and its monitor wake as often to look.
func (t *TxRing) send() unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(t.fd), 0, 0, unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&t.to)), unix.SizeofSockaddrLinklayer)
	return errno
}

// closeUp gives the frame at head, which the kernel comes back to whatever becomes of it, to the next of the left packets behind it, and so on.
func (t *TxRing) closeUp(left int) {
	for i := range left {
		to, from := t.frame(i), t.frame(i+1)
		copy(to[txVnet:], from[txVnet:])
		header(to).Len = header(from).Len
		setStatus(to, unix.TP_STATUS_SEND_REQUEST)
	}
	setStatus(t.frame(left), unix.TP_STATUS_AVAILABLE)
}

// abandon takes back the packets from next on, of n.
func (t *TxRing) abandon(bad []int, next, n int) []int {
	for i := range n - next {
		setStatus(t.frame(i), unix.TP_STATUS_AVAILABLE)
		bad = append(bad, next+i)
	}
	return bad
}

// await sleeps until the socket has room again.
func (t *TxRing) await() error {
	fds := [1]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds[:], int(sendTimeout.Milliseconds()))
	switch {
	case err != nil && err != unix.EINTR:
		return fmt.Errorf("wait for room to send on %s: %w", t.name, err)
	case err == nil && n == 0:
		return fmt.Errorf("send on %s: %w", t.name, outOfOrder(unix.EAGAIN))
	}
	return nil
}

// settle waits until there are frames for another volley: those sent are the device's until it is through with them.
func (t *TxRing) settle() error {
	last := t.frame(VolleySize - 1)
	for tries := 0; status(last) != unix.TP_STATUS_AVAILABLE || status(t.frame(0)) != unix.TP_STATUS_AVAILABLE; tries++ {
		if tries >= settleTries {
			return fmt.Errorf("send on %s: %w", t.name, outOfOrder(unix.EAGAIN))
		}
		_, _ = unix.Poll(nil, 1) // a millisecond for the device
	}
	return nil
}

// settleTries is sendTimeout in milliseconds.
const settleTries = int(sendTimeout / 1e6)

// Bypass makes the packets pass no tap, queueing discipline or egress hook of this host from now on; see Volley.Bypass.
func (t *TxRing) Bypass() error {
	if err := unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fmt.Errorf("send on %s past its queue: %w", t.name, err)
	}
	return nil
}

// Close frees the socket and its memory.
func (t *TxRing) Close() error {
	if t.fd < 0 {
		return errors.New("send ring: closed twice")
	}
	errs := []error{unix.Close(t.fd)}
	t.fd = -1
	if t.memory != nil {
		errs = append(errs, unix.Munmap(t.memory))
	}
	return errors.Join(errs...)
}
