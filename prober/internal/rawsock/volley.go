package rawsock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// SlotSize is the room of one packet in a Volley, link header included: any SYN or RST of ours fits.
const SlotSize = 128

// LinkRoom is what a packet in a slot leaves free in front for the link header; devices without one do not send it.
const LinkRoom = 14

// Volley sends many small packets of one address family on one device. They are written straight into its own memory, so
// that a packet costs the kernel's work and next to nothing besides: write up to SlotSize octets into Slot, the packet from
// LinkRoom on, then Add its length; Flush hands over what was added. A Volley is not for concurrent use and allocates nothing
// once made.
type Volley struct {
	fd    int
	name  string
	skip  int // of a slot: what the device has no use for
	count int
	to    unix.RawSockaddrLinklayer
	slots []byte
	iov   [batchSize]unix.Iovec
	msgs  [batchSize]unix.Mmsghdr
	bad   [batchSize]int
}

// NewVolley opens one on the device of r, for the family of r.Dst. Errors as of NewLinkSender, and ErrUnsupportedDevice where r
// is local.
func NewVolley(r Route) (*Volley, error) {
	if r.Local {
		return nil, fmt.Errorf("send to %s: %w: an address of this host", r.Dst, ErrUnsupportedDevice)
	}
	s, err := NewLinkSender(r)
	if err != nil {
		return nil, err
	}
	v := &Volley{fd: s.fd, name: s.name, to: s.to[1], slots: make([]byte, batchSize*SlotSize)}
	if r.Dst.Unmap().Is4() {
		v.to = s.to[0]
	}
	if !s.link {
		v.skip = LinkRoom
	}
	for i := range v.msgs {
		v.iov[i].Base = &v.slots[i*SlotSize+v.skip]
		h := &v.msgs[i].Hdr
		h.Iov = &v.iov[i]
		h.SetIovlen(1)
		h.Name, h.Namelen = rawName(&v.to), unix.SizeofSockaddrLinklayer
	}
	return v, nil
}

// Slot is where the next packet goes; the Volley must not be full.
func (v *Volley) Slot() []byte { return v.slots[v.count*SlotSize:][:SlotSize] }

// Add takes the packet in Slot, of n octets from LinkRoom on, and returns its number among those not flushed yet.
func (v *Volley) Add(n int) int {
	v.iov[v.count].SetLen(LinkRoom + n - v.skip)
	v.count++
	return v.count - 1
}

// Full reports whether there is no slot left before the next Flush.
func (v *Volley) Full() bool { return v.count == batchSize }

// Len is how many packets Flush would send.
func (v *Volley) Len() int { return v.count }

// Flush hands the packets to the device, each exactly once. bad are the numbers of those that were not taken, valid until the next
// Flush. An error means that the device is out of order; what was not sent then is among the bad.
func (v *Volley) Flush() (bad []int, err error) {
	n := v.count
	v.count = 0
	bad = v.bad[:0]
	for next := 0; next < n; {
		done, errno := v.sendmmsg(next, n)
		next += done
		switch {
		case next == n || errno == unix.EINTR:
		case errno == 0, NoRoom(errno), errno == unix.EMSGSIZE, errno == unix.EINVAL:
			// What stopped sendmmsg(2) in mid-batch it does not say; the packet may have passed the taps (see LinkSender.Send).
			bad = append(bad, next)
			next++
		default:
			for ; next < n; next++ {
				bad = append(bad, next)
			}
			return bad, fmt.Errorf("send on %s: %w", v.name, outOfOrder(errno))
		}
	}
	return bad, nil
}

// Bypass makes the packets pass no tap, queueing discipline or egress hook of this host from now on (PACKET_QDISC_BYPASS, net/packet/af_packet.c
// packet_direct_xmit, 6.18), and so cost less. The device's own queue may then drop what it has no room for.
func (v *Volley) Bypass() error {
	if err := unix.SetsockoptInt(v.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fmt.Errorf("send on %s past its queue: %w", v.name, err)
	}
	if v.skip > 0 {
		return nil // without link header the EtherType has to be told
	}
	for i := range v.msgs {
		v.msgs[i].Hdr.Name, v.msgs[i].Hdr.Namelen = nil, 0 // the socket is bound to the device
	}
	return nil
}

// Close frees the socket.
func (v *Volley) Close() error {
	if v.fd < 0 {
		return errors.New("volley: closed twice")
	}
	fd := v.fd
	v.fd = -1
	return unix.Close(fd)
}
