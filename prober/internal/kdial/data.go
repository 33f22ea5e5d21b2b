package kdial

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// Data shapes a socket for a data phase; the zero value leaves it as it is.
type Data struct {
	// Congestion is TCP_CONGESTION.
	Congestion string
	// Pace is SO_MAX_PACING_RATE in octets a second: TCP keeps to it by itself, whatever the queueing discipline (Linux ≥ 4.13).
	Pace int64
	// Buffer is SO_RCVBUF in octets, which bounds the window that is offered; the kernel doubles it for its own needs (net/core/sock.c).
	Buffer int
	// MSS is TCP_MAXSEG, 88 to 32,767 octets (net/ipv4/tcp.c do_tcp_setsockopt, 6.18).
	MSS int
}

func dataOptions(fd int, d *Data) error {
	if d.Congestion != "" {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, d.Congestion); err != nil {
			return setup("set congestion control "+d.Congestion, err)
		}
	}
	if d.Pace > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, int(min(d.Pace, math.MaxUint32))); err != nil {
			return setup("set SO_MAX_PACING_RATE", err)
		}
	}
	if d.Buffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, d.Buffer); err != nil {
			return setup("set SO_RCVBUF", err)
		}
	}
	if d.MSS > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, d.MSS); err != nil {
			return setup(fmt.Sprintf("set TCP_MAXSEG to %d", d.MSS), err)
		}
	}
	return nil
}

// Congestion finds out whether this process may use a congestion control; nil: it may. A kernel with CAP_NET_ADMIN loads the module by itself
// (net/ipv4/tcp_cong.c tcp_set_congestion_control, 6.18).
func Congestion(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("this kernel has no congestion control %q; it has: %s", name, available())
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("congestion control %q is for those with CAP_NET_ADMIN: add it to net.ipv4.tcp_allowed_congestion_control", name)
	}
	return fmt.Errorf("set congestion control %q: %w", name, err)
}

func available() string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return "not known"
	}
	return strings.Join(strings.Fields(string(b)), ", ")
}

// Offsets in struct tcp_info beyond those of a handshake (include/uapi/linux/tcp.h, 6.18), and how long the struct must be to hold the
// last of them.
const (
	infoBackoff      = 4
	infoUnacked      = 24
	infoReordering   = 88
	infoBytesAcked   = 120
	infoBytesIn      = 128
	infoNotSent      = 144
	infoMinRTT       = 148
	infoDataSegsOut  = 156
	infoDSACKDups    = 216
	infoReordSeen    = 220
	infoRcvOOOPack   = 224
	infoTotalRTO     = 240
	dataInfoLength   = 256
	maxCongestionLen = 16 // TCP_CA_NAME_MAX
)

// take makes a connection of a burst's socket, which leaves the epoll set: a copy of its descriptor lives on, so closing it would not take it out
// (epoll(7)).
func (p *poller) take(fd int) (net.Conn, error) {
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("take the socket out of the epoll set: %w", err)
	}
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("copy the socket's descriptor: %w", err)
	}
	f := os.NewFile(uintptr(again), "connection")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("keep the connection: %w", err)
	}
	return c, nil
}

// ReadData reads what the kernel tells of a connection's data phase, and its congestion control. It is false where the connection is closed.
func ReadData(c net.Conn) (observe.DataInfo, string, bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return observe.DataInfo{}, "", false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return observe.DataInfo{}, "", false
	}
	var info observe.DataInfo
	var name string
	good := false
	err = raw.Control(func(fd uintptr) {
		var b [dataInfoLength]byte
		n := uint32(len(b))
		if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&n)), 0); errno != 0 {
			return
		}
		info, good = parseData(b[:min(int(n), len(b))])
		name, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	})
	if len(name) > maxCongestionLen {
		name = name[:maxCongestionLen]
	}
	return info, strings.TrimRight(name, "\x00"), good && err == nil
}

// parseData decodes a struct tcp_info in host byte order; what it is too short for stays 0.
func parseData(b []byte) (observe.DataInfo, bool) {
	if len(b) < infoLength {
		return observe.DataInfo{}, false
	}
	var all [dataInfoLength]byte
	copy(all[:], b)
	u16 := func(at int) uint16 { return binary.NativeEndian.Uint16(all[at:]) }
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(all[at:]) }
	u64 := func(at int) uint64 { return binary.NativeEndian.Uint64(all[at:]) }
	µs := func(at int) time.Duration { return time.Duration(u32(at)) * time.Microsecond }
	return observe.DataInfo{
		Length: len(b), SndMSS: u32(infoSndMSS), Unacked: u32(infoUnacked), RTT: µs(infoRTT), RTO: µs(infoRTO), Backoff: all[infoBackoff],
		Reordering: u32(infoReordering), TotalRetrans: u32(infoTotalRetrans), BytesAcked: u64(infoBytesAcked), BytesIn: u64(infoBytesIn),
		NotSent: u32(infoNotSent), MinRTT: µs(infoMinRTT), DataSegsOut: u32(infoDataSegsOut), DSACKDups: u32(infoDSACKDups),
		ReordSeen: u32(infoReordSeen), RcvOOOPack: u32(infoRcvOOOPack), TotalRTO: u16(infoTotalRTO),
	}, true
}
