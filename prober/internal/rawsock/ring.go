package rawsock

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blockSize is one block of the ring: large enough that a burst of thousands of small frames costs few wake-ups, and small enough that a reader which sleeps
// does not lose frames where few come: a block is handed over when its time is up, however little is in it, so 32 MiB last for 256 such times.
const blockSize = 128 << 10

// frameSize is only what the kernel's consistency check wants for a V3 ring, whose frames are of any size
// (net/packet/af_packet.c packet_set_ring, 6.18).
const frameSize = 2048

// A block of a TPACKET_V3 ring (include/uapi/linux/if_packet.h, 6.18):
//
//	0 version u32 │ 4 offset_to_priv u32 │ 8 block_status u32 │ 12 num_pkts u32 │ 16 offset_to_first_pkt u32 │ 20 blk_len u32
//
// and in it frames, each a struct tpacket3_hdr (48 octets), a struct sockaddr_ll, and the octets at tp_mac and tp_net.
const (
	blockHeader = 48
	frameHeader = unix.SizeofTpacket3Hdr
)

type blockDesc struct {
	version, offsetToPriv  uint32
	status, packets, first uint32
}

// ring is the receive ring of one packet socket, walked block by block by one reader.
type ring struct {
	mem   []byte
	next  int // index of the block that the kernel closes next
	count int
}

// newRing asks for a V3 ring of about size octets in fd, whose blocks are handed over at the latest retire after their first
// frame (kernels before 6.18 count that in jiffies, up to 4 ms), and maps it.
func newRing(fd, size int, retire time.Duration) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("set TPACKET_V3: %w", err)
	}
	blocks := max(size/blockSize, 2)
	req := unix.TpacketReq3{
		Block_size:     blockSize,
		Block_nr:       uint32(blocks),
		Frame_size:     frameSize,
		Frame_nr:       uint32(blocks * (blockSize / frameSize)),
		Retire_blk_tov: uint32(max(retire.Milliseconds(), 1)),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("allocate capture ring of %d KiB: %w", blocks*blockSize>>10, err)
	}
	mem, err := unix.Mmap(fd, 0, blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map capture ring of %d KiB: %w", blocks*blockSize>>10, err)
	}
	return &ring{mem: mem, count: blocks}, nil
}

func (r *ring) block() []byte { return r.mem[r.next*blockSize:][:blockSize] }

// ready reports whether the next block is the reader's. The atomic load orders it before every read of the block.
func (r *ring) ready() bool {
	d := (*blockDesc)(unsafe.Pointer(&r.block()[0]))
	return atomic.LoadUint32(&d.status)&unix.TP_STATUS_USER != 0
}

// release gives the block back to the kernel and moves on.
func (r *ring) release() {
	d := (*blockDesc)(unsafe.Pointer(&r.block()[0]))
	atomic.StoreUint32(&d.status, unix.TP_STATUS_KERNEL)
	if r.next++; r.next == r.count {
		r.next = 0
	}
}

// each decodes the frames of the ready block into f one after the other. It returns how many lay outside their block: never in a
// sound kernel, and never read.
func (r *ring) each(f *Frame, fn func(*Frame)) (bad uint64) {
	b := r.block()
	d := (*blockDesc)(unsafe.Pointer(&b[0]))
	off := uint64(d.first)
	for i := range d.packets {
		if off%8 != 0 || off < blockHeader || off+frameHeader+unix.SizeofSockaddrLinklayer > blockSize {
			return uint64(d.packets - i)
		}
		h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&b[off]))
		if f.decode(b[off:], h) {
			fn(f)
		} else {
			bad++
		}
		off += uint64(h.Next_offset)
	}
	return bad
}

func (r *ring) close() error { return unix.Munmap(r.mem) }

// Frame is one captured frame. Its slices point into the ring and are valid only during the call that delivers it.
//
// A frame on the loopback device is delivered twice, outgoing and incoming, and where both ends are on this host so are all
// others. The rule that counts each segment once: what we sent counts only when Outgoing, what they sent only when not.
type Frame struct {
	At        int64  // kernel's wall clock, ns since 1970: after the queueing discipline going out, before the stack coming in
	IfIndex   int    // of the device it was seen on; a stacked device (VLAN, bond, bridge) shows it again under its own index
	Outgoing  bool   // sll_pkttype PACKET_OUTGOING: leaving this host
	Loopback  bool   // seen on a device of type ARPHRD_LOOPBACK
	Unsummed  bool   // the TCP checksum is left to the device (TP_STATUS_CSUMNOTREADY): its field says nothing
	EtherType uint16 // of the network header
	VLAN      uint16 // tag control information taken off by the kernel; 0: none
	Link      []byte // link header; empty on devices without one (tun, WireGuard)
	Net       []byte // network header and on, as captured
	Len       int    // length of the packet from the network header on, as it was before the capture cut it
}

// Cut reports whether the capture holds less than the whole packet.
func (f *Frame) Cut() bool { return len(f.Net) < f.Len }

// decode fills f from the frame at the start of b, and reports false where its offsets point outside of b.
func (f *Frame) decode(b []byte, h *unix.Tpacket3Hdr) bool {
	mac, net, snap := int(h.Mac), int(h.Net), int(h.Snaplen)
	end := mac + snap
	if mac < frameHeader || net < mac || end > len(b) {
		return false
	}
	ll := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&b[frameHeader]))
	net = min(net, end)
	f.At = int64(h.Sec)*1e9 + int64(h.Nsec)
	f.IfIndex = int(ll.Ifindex)
	f.Outgoing = ll.Pkttype == unix.PACKET_OUTGOING
	f.Loopback = ll.Hatype == unix.ARPHRD_LOOPBACK
	f.EtherType = binary.BigEndian.Uint16(b[frameHeader+2:])
	f.Unsummed = h.Status&unix.TP_STATUS_CSUMNOTREADY != 0
	f.VLAN = 0
	if h.Status&unix.TP_STATUS_VLAN_VALID != 0 {
		f.VLAN = uint16(h.Hv1.Vlan_tci)
	}
	f.Link = b[mac:net:net]
	f.Net = b[net:end:end]
	f.Len = int(h.Len) - (net - mac)
	return true
}
