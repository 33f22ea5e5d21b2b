package rawsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendmmsg hands the first n messages to the kernel and returns how many it took; the errno is that of the first message and only
// given when none was taken (net/socket.c __sys_sendmmsg, 6.18).
func (s *LinkSender) sendmmsg(n int) (int, unix.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[0])), uintptr(n), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// sendto sends one packet to one address.
func sendto(fd int, data []byte, to unsafe.Pointer, size uintptr) unix.Errno {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), 0,
			uintptr(to), size)
		if errno != unix.EINTR {
			return errno
		}
	}
}

func rawName(a *unix.RawSockaddrLinklayer) *byte { return (*byte)(unsafe.Pointer(a)) }

// sendmmsg hands the messages of slots from … to−1 to the kernel; see LinkSender.sendmmsg.
func (v *Volley) sendmmsg(from, to int) (int, unix.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(v.fd), uintptr(unsafe.Pointer(&v.msgs[from])), uintptr(to-from), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}
