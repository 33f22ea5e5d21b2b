package rawsock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TapConfig says what a Tap captures. The zero value of every field but Ports stands for its default.
type TapConfig struct {
	Ports     []Ports       // our source ports, 1 to 4 ranges
	RingBytes int           // of kernel memory; default 32 MiB, rounded down to blocks of 128 KiB, at least two
	Retire    time.Duration // the longest a frame waits for its block to be handed over, whole ms; default 2 ms
	SnapLen   int           // octets kept of a frame, link header included; default 2,048
	IfIndex   int           // only this device; default all
	Neighbor  bool          // also ARP and IPv6 neighbour discovery
}

func (c TapConfig) withDefaults() TapConfig {
	if c.RingBytes <= 0 {
		c.RingBytes = 32 << 20
	}
	if c.Retire <= 0 {
		c.Retire = 2 * time.Millisecond
	}
	if c.SnapLen <= 0 {
		c.SnapLen = 2048
	}
	return c
}

// Tap is one capture ring on one packet socket. Run reads it, in one goroutine at a time; Stats and Close may be called from
// any. The socket is watched by the Go runtime's poller: a reader that waits holds no thread, which would cost a wake-up and a look by the runtime's
// monitor for each block.
type Tap struct {
	fd     int
	file   *os.File // owns fd; nil: not yet
	raw    syscall.RawConn
	ring   *ring
	bad    atomic.Uint64
	closed atomic.Bool

	run    sync.Mutex         // held by Run: guards the reader's place in the ring, and what follows
	down   bool               // the one device that this tap is bound to went down, and no frame has come since
	looked bool               // peek has found nothing once
	peek   func(uintptr) bool // made once, so that waiting allocates nothing

	sum sync.Mutex // guards total and fd against Close
	// total is what earlier reads of PACKET_STATISTICS took from the kernel's counters.
	total Stats
}

// Stats counts since OpenTap.
type Stats struct {
	Frames  uint64 // passed the filter, dropped ones included
	Drops   uint64 // of these, lost because the ring was full: nothing may be concluded from a segment not seen
	Freezes uint64 // how often the ring filled up
	Bad     uint64 // frames that the kernel described wrongly; never delivered
}

// Delivered is how many frames reached, or will reach, the reader.
func (s Stats) Delivered() uint64 { return s.Frames - s.Drops - s.Bad }

// OpenTap opens a packet socket that captures what cfg says and no other frame, not even the first ones: the socket is of no
// protocol until its filter and ring are in place. A permission error is os.ErrPermission and names the capability.
func OpenTap(cfg TapConfig) (*Tap, error) {
	cfg = cfg.withDefaults()
	prog, err := filter{ports: cfg.Ports, neighbor: cfg.Neighbor, snapLen: uint32(cfg.SnapLen)}.assemble()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, socketError("open packet socket", err)
	}
	t := &Tap{fd: fd}
	t.peek = t.look
	if err := t.setup(cfg, prog); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Run delivers every frame to fn, in the order the kernel saw them, until ctx is done; then it returns nil and leaves what
// it has not delivered in the ring. After each block it calls fn(nil), so that the caller can act on what has gathered. fn
// must not keep the frame or its slices, and must not block: a full ring loses frames. Run allocates nothing per frame.
// Errors: os.ErrClosed after Close; the device of TapConfig.IfIndex has gone.
func (t *Tap) Run(ctx context.Context, fn func(*Frame)) error {
	t.run.Lock()
	defer t.run.Unlock()
	if t.closed.Load() {
		return os.ErrClosed
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		t.wake()
	})
	defer func() {
		if !stop() {
			<-woken
		}
		t.rearm()
	}()
	frame := new(Frame)
	for {
		if t.closed.Load() {
			return os.ErrClosed
		}
		if ctx.Err() != nil {
			return nil
		}
		if !t.ring.ready() {
			if err := t.wait(); err != nil {
				return err
			}
			continue
		}
		t.down = false
		if bad := t.ring.each(frame, fn); bad > 0 {
			t.bad.Add(bad)
		}
		t.ring.release()
		fn(nil)
	}
}

// wait sleeps until a block is ready, it is woken or a device goes down. It returns an error only where nothing more can ever come.
func (t *Tap) wait() error {
	if t.down {
		again := time.AfterFunc(downCheck, t.wake)
		defer again.Stop()
	}
	t.looked = false
	err := t.raw.Read(t.peek)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.rearm() // before Run looks at what it was woken for, so that nothing is missed
		if !t.down {
			return nil
		}
	case err != nil:
		return fmt.Errorf("wait for capture ring: %w", err)
	case t.ring.ready():
		return nil
	}
	return t.checkDevice()
}

// look ends a wait when a block is ready, and when something woke it for which there is none: an error of the socket's, or a block that was taken
// already.
func (t *Tap) look(uintptr) bool {
	if t.looked || t.ring.ready() {
		return true
	}
	t.looked = true
	return false
}

// downCheck is how often a capture on one device looks, while that device is down, whether it is still there.
const downCheck = time.Second

// checkDevice finds out about the one device of this capture. One that only went down (ENETDOWN) comes back by itself,
// unannounced; one that was removed never does: the socket is then bound to index −1, and was told no more than that it went down
// (net/packet/af_packet.c packet_notifier, 6.18).
func (t *Tap) checkDevice() error {
	code, err := unix.GetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_ERROR) // takes the error away, so that poll sleeps again
	if err != nil {
		return fmt.Errorf("read error of capture socket: %w", err)
	}
	t.down = t.down || code != 0
	name, err := unix.Getsockname(t.fd)
	if err != nil {
		return fmt.Errorf("read binding of capture socket: %w", err)
	}
	if ll, ok := name.(*unix.SockaddrLinklayer); ok && ll.Ifindex < 0 {
		return fmt.Errorf("capture: %w: it was removed", ErrInterfaceUnknown)
	}
	return nil
}

// Stats returns the counts since OpenTap.
func (t *Tap) Stats() (Stats, error) {
	t.sum.Lock()
	defer t.sum.Unlock()
	if t.closed.Load() {
		return t.total, os.ErrClosed
	}
	// Reading PACKET_STATISTICS sets the kernel's counters to 0, and tp_packets already includes tp_drops (net/packet/af_packet.c
	// packet_getsockopt, 6.18).
	st, err := unix.GetsockoptTpacketStatsV3(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return t.total, fmt.Errorf("read capture statistics: %w", err)
	}
	t.total.Frames += uint64(st.Packets)
	t.total.Drops += uint64(st.Drops)
	t.total.Freezes += uint64(st.Freeze_q_cnt)
	t.total.Bad = t.bad.Load()
	return t.total, nil
}

// Close makes a running Run return os.ErrClosed, waits for it, and frees the ring. Closing twice does nothing.
func (t *Tap) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.wake()
	t.run.Lock()
	defer t.run.Unlock()
	t.sum.Lock()
	defer t.sum.Unlock()
	var errs []error
	if t.ring != nil {
		errs = append(errs, t.ring.close())
	}
	if t.file != nil {
		return errors.Join(append(errs, t.file.Close())...)
	}
	return errors.Join(append(errs, unix.Close(t.fd))...)
}

// wake ends a wait, and the one that begins next; rearm takes that back.
func (t *Tap) wake() {
	if t.file != nil {
		_ = t.file.SetReadDeadline(time.Unix(1, 0)) // an error says that it is closed
	}
}

func (t *Tap) rearm() { _ = t.file.SetReadDeadline(time.Time{}) }
