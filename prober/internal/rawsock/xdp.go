package rawsock

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// XDP sends like a Volley, by AF_XDP in copy mode (net/xdp/xsk.c xsk_generic_xmit, 6.18): some 30 % less CPU a packet. What it sends passes
// no tap, no queueing discipline and no netfilter hook of this host (net/core/dev.c __dev_direct_xmit), so nobody can time it here; it needs a
// device with a link header. It needs no XDP program, since it never receives. An XDP is not for concurrent use and allocates nothing once made.
type XDP struct {
	fd     int
	name   string
	memory []byte
	tx     xdpRing // struct xdp_desc
	done   xdpRing // of the kernel: addresses of frames that it is through with
	maps   [][]byte
	free   []uint64 // frames that are ours, by offset in memory; the volley in the making are the last ones
	count  int
	at     [xdpVolley]uint32 // lengths
	bad    [xdpVolley]int
}

const (
	xdpFrame  = 2048 // XDP_UMEM_MIN_CHUNK_SIZE (include/net/xdp_sock.h, 6.18)
	xdpFrames = 1024
	// xdpVolley is how many packets it holds, and one sendto(2) takes where that can be set (6.17 and later), else 32: older kernels
	// take more calls.
	xdpVolley = 256
	// xdpStagger moves what is written to a frame behind what is written to the one before: at the same place of every 2,048 octets
	// all frames would share a few sets of the processor's caches.
	xdpStagger = 128
)

// xdpRing is one ring shared with the kernel. head is the producer's counter, tail the consumer's.
type xdpRing struct {
	head, tail *uint32
	mask       uint32
	base       unsafe.Pointer
}

// NewXDP opens one on the first queue of the device of r. Errors: ErrUnsupportedDevice; a kernel without AF_XDP (EAFNOSUPPORT); another
// socket holds the queue (EBUSY); no CAP_NET_RAW (os.ErrPermission).
func NewXDP(r Route) (*XDP, error) {
	if r.Local || r.HWType != unix.ARPHRD_ETHER {
		return nil, fmt.Errorf("send by AF_XDP on %s: %w: %d (Ethernet alone is)", r.IfName, ErrUnsupportedDevice, r.HWType)
	}
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, socketError("open AF_XDP socket to send on "+r.IfName, err)
	}
	x := &XDP{fd: fd, name: r.IfName}
	if err := x.setup(r.IfIndex); err != nil {
		return nil, errors.Join(fmt.Errorf("send by AF_XDP on %s: %w", r.IfName, err), x.Close())
	}
	return x, nil
}

func (x *XDP) setup(ifIndex int) error {
	var err error
	if x.memory, err = unix.Mmap(-1, 0, xdpFrames*xdpFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return fmt.Errorf("map packet memory: %w", err)
	}
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&x.memory[0]))), Len: uint64(len(x.memory)), Size: xdpFrame}
	if err := x.option(unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg)); err != nil {
		return fmt.Errorf("register packet memory: %w", err)
	}
	// A fill ring is asked for even of a socket that only sends (net/xdp/xsk.c xsk_validate_queues).
	for _, o := range []struct{ name, size int }{{unix.XDP_TX_RING, xdpFrames}, {unix.XDP_UMEM_COMPLETION_RING, xdpFrames}, {unix.XDP_UMEM_FILL_RING, 1}} {
		if err := unix.SetsockoptInt(x.fd, unix.SOL_XDP, o.name, o.size); err != nil {
			return fmt.Errorf("make ring %d: %w", o.name, err)
		}
	}
	_ = unix.SetsockoptInt(x.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, xdpVolley)
	if err := x.mapRings(); err != nil {
		return err
	}
	for i := range uint64(xdpFrames) {
		x.free = append(x.free, i*xdpFrame+i*xdpStagger%(xdpFrame-SlotSize))
	}
	if err := unix.Bind(x.fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(ifIndex)}); err != nil {
		return fmt.Errorf("bind to queue 0: %w", err)
	}
	return nil
}

func (x *XDP) mapRings() error {
	var off unix.XDPMmapOffsets
	size := uint32(unsafe.Sizeof(off))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&off)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return fmt.Errorf("read ring offsets: %w", errno)
	}
	var err error
	if x.tx, err = x.mapRing(off.Tx, unix.XDP_PGOFF_TX_RING, unsafe.Sizeof(unix.XDPDesc{})); err != nil {
		return err
	}
	x.done, err = x.mapRing(off.Cr, unix.XDP_UMEM_PGOFF_COMPLETION_RING, 8)
	return err
}

func (x *XDP) mapRing(off unix.XDPRingOffset, page int64, each uintptr) (xdpRing, error) {
	mem, err := unix.Mmap(x.fd, page, int(uintptr(off.Desc)+xdpFrames*each), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return xdpRing{}, fmt.Errorf("map ring: %w", err)
	}
	x.maps = append(x.maps, mem)
	return xdpRing{head: (*uint32)(unsafe.Pointer(&mem[off.Producer])), tail: (*uint32)(unsafe.Pointer(&mem[off.Consumer])),
		mask: xdpFrames - 1, base: unsafe.Pointer(&mem[off.Desc])}, nil
}

func (x *XDP) option(name int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, uintptr(name), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Slot is where the next packet goes; see Volley.
func (x *XDP) Slot() []byte {
	return x.memory[x.free[len(x.free)-1-x.count]:][:SlotSize]
}

// Add takes the packet in Slot, of n octets from LinkRoom on, and returns its number among those not flushed yet.
func (x *XDP) Add(n int) int {
	x.at[x.count] = uint32(LinkRoom + n)
	x.count++
	return x.count - 1
}

// Full reports whether there is no slot left before the next Flush.
func (x *XDP) Full() bool { return x.count == xdpVolley }

// Len is how many packets Flush would send.
func (x *XDP) Len() int { return x.count }

// Flush hands the packets to the device, each exactly once; see Volley.Flush.
func (x *XDP) Flush() (bad []int, err error) {
	n := x.count
	x.count = 0
	head := atomic.LoadUint32(x.tx.head)
	for i := range n {
		d := (*unix.XDPDesc)(unsafe.Add(x.tx.base, uintptr((head+uint32(i))&x.tx.mask)*unsafe.Sizeof(unix.XDPDesc{})))
		*d = unix.XDPDesc{Addr: x.free[len(x.free)-1-i], Len: x.at[i]}
	}
	x.free = x.free[:len(x.free)-n]
	atomic.StoreUint32(x.tx.head, head+uint32(n))
	bad, err = x.kick(head, uint32(n))
	if err == nil {
		err = x.await()
	}
	return bad, err
}

// kick makes the kernel take the n packets that begin at head; see TxRing.send.
func (x *XDP) kick(head, n uint32) (bad []int, err error) {
	bad = x.bad[:0]
	began := time.Time{}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(x.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		taken := atomic.LoadUint32(x.tx.tail) - head
		switch errno {
		case 0, unix.EAGAIN, unix.EINTR:
		case unix.EBUSY, unix.ENOBUFS:
			if taken > 0 { // the device dropped the last one that was taken
				bad = append(bad, int(taken)-1)
			}
		default:
			return bad, fmt.Errorf("send by AF_XDP on %s: %w", x.name, outOfOrder(errno))
		}
		if taken >= n {
			return bad, nil
		}
		if began.IsZero() {
			began = time.Now()
		} else if time.Since(began) > sendTimeout {
			return bad, fmt.Errorf("send by AF_XDP on %s: %w", x.name, outOfOrder(unix.EAGAIN))
		}
	}
}

// await takes back the frames that the kernel is through with, until there are enough for another volley.
func (x *XDP) await() error {
	for tries := 0; ; tries++ {
		head, tail := atomic.LoadUint32(x.done.head), atomic.LoadUint32(x.done.tail)
		for ; tail != head; tail++ {
			x.free = append(x.free, *(*uint64)(unsafe.Add(x.done.base, uintptr(tail&x.done.mask)*8)))
		}
		atomic.StoreUint32(x.done.tail, tail)
		if len(x.free) >= xdpVolley {
			return nil
		}
		if tries >= int(sendTimeout/time.Millisecond) {
			return fmt.Errorf("send by AF_XDP on %s: %w", x.name, outOfOrder(unix.EAGAIN))
		}
		_, _ = unix.Poll(nil, 1) // a millisecond for the device
	}
}

// Close frees the socket and its memory.
func (x *XDP) Close() error {
	if x.fd < 0 {
		return nil
	}
	errs := []error{unix.Close(x.fd)}
	x.fd = -1
	for _, m := range x.maps {
		errs = append(errs, unix.Munmap(m))
	}
	if x.memory != nil {
		errs = append(errs, unix.Munmap(x.memory))
	}
	return errors.Join(errs...)
}
