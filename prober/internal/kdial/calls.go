package kdial

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls that each connect makes are raw: none of them waits for the network (the socket is nonblocking, and it lingers for no time or not
// at all), and to announce each of them to Go's scheduler and to look at what x/sys makes of its answer costs a twentieth of a connect.

// sockaddr is a struct sockaddr_in or sockaddr_in6 as the kernel reads and writes it (include/uapi/linux/in.h, in6.h).
//
//	0        2      4          8                        24        28
//	+--------+------+----------+------------------------+---------+
//	| family | port | IPv4     |                                  |
//	|        |      | flow     | IPv6                   | scope   |
//	+--------+------+----------+------------------------+---------+
type sockaddr struct {
	octets [28]byte
	length uint32
}

// What a sockaddr takes up.
const (
	inet4Length = 16
	inet6Length = 28
)

// set writes an address; scope is the interface of a link-local one.
func (a *sockaddr) set(to netip.AddrPort, scope uint32) {
	*a = sockaddr{length: inet6Length}
	family, addr := uint16(unix.AF_INET6), to.Addr()
	if addr.Is4() {
		family, a.length = unix.AF_INET, inet4Length
		ip := addr.As4()
		copy(a.octets[4:], ip[:])
	} else {
		ip := addr.As16()
		copy(a.octets[8:], ip[:])
		binary.NativeEndian.PutUint32(a.octets[24:], scope)
	}
	binary.NativeEndian.PutUint16(a.octets[0:], family)
	binary.BigEndian.PutUint16(a.octets[2:], to.Port())
}

// get reads what the kernel wrote.
func (a *sockaddr) get() (netip.AddrPort, bool) {
	port := binary.BigEndian.Uint16(a.octets[2:])
	switch family := binary.NativeEndian.Uint16(a.octets[0:]); {
	case family == unix.AF_INET && a.length >= inet4Length:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.octets[4:8])), port), true
	case family == unix.AF_INET6 && a.length >= inet6Length:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a.octets[8:24])), port), true
	}
	return netip.AddrPort{}, false
}

// streamSocket makes a nonblocking TCP socket.
func streamSocket(family int) (int, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	return int(fd), asError(errno)
}

// bindTo is bind(2).
func bindTo(fd int, a *sockaddr) error {
	_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(a)), uintptr(a.length))
	return asError(errno)
}

// connectTo is connect(2). An interrupted one goes on like one in progress.
func connectTo(fd int, a *sockaddr) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(a)), uintptr(a.length))
	if errno == unix.EINPROGRESS || errno == unix.EINTR {
		return nil
	}
	return asError(errno)
}

// nameOf is getsockname(2).
func nameOf(fd int, a *sockaddr) (netip.AddrPort, bool) {
	a.length = uint32(len(a.octets))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(&a.length)))
	if errno != 0 {
		return netip.AddrPort{}, false
	}
	return a.get()
}

// abort makes close(2) of the socket send an RST: SO_LINGER without time.
func abort(fd int) error {
	l := unix.Linger{Onoff: 1}
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
	return asError(errno)
}

// closeSocket frees the descriptor, which Linux does whatever it returns (close(2)).
func closeSocket(fd int) {
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
