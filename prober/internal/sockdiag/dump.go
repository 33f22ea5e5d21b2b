package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/peers"
)

const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY, Linux ≥ 3.3 (include/uapi/linux/sock_diag.h)
	requestLength    = unix.SizeofNlMsghdr + 56
	bufferLength     = 64 << 10
	// sending is the states in which a connection has sent or may send data, as a mask: all but SYN_RECV, TIME_WAIT, CLOSE and LISTEN, of
	// which the kernel has no tcp_info or only a listener's (include/net/tcp_states.h).
	sending = 1<<1 | 1<<2 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11
)

// Conn asks the kernel about the namespace that the calling thread was in when it was opened. It is not safe for concurrent use.
type Conn struct {
	fd     int
	buffer []byte
	seq    uint32
}

// Dial opens a Conn. The error says that this kernel or container does not permit it.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", os.NewSyscallError("socket", err))
	}
	// an answer that never comes would hold the caller for ever
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return nil, errors.Join(fmt.Errorf("open sock_diag: %w", os.NewSyscallError("setsockopt", err)), unix.Close(fd))
	}
	return &Conn{fd: fd, buffer: make([]byte, bufferLength)}, nil
}

// Close closes the Conn.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Each calls f with every TCP connection of both families; the Socket is valid until f returns. Connections that open or close
// meanwhile may be left out or given twice. The error says which family could not be listed to its end.
func (c *Conn) Each(f func(*peers.Socket)) error {
	for _, family := range []struct {
		number byte
		name   string
	}{{unix.AF_INET, "IPv4"}, {unix.AF_INET6, "IPv6"}} {
		if err := c.list(family.number, f); err != nil {
			if family.number == unix.AF_INET6 && errors.Is(err, unix.ENOENT) {
				continue // a kernel without IPv6
			}
			return fmt.Errorf("list the TCP connections of %s by sock_diag: %w", family.name, err)
		}
	}
	return nil
}

func (c *Conn) list(family byte, f func(*peers.Socket)) error {
	c.seq++
	if err := unix.Sendto(c.fd, request(family, c.seq), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, _, flags, _, err := unix.Recvmsg(c.fd, c.buffer, nil, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return errors.New("no answer within 5 s")
		case err != nil:
			return os.NewSyscallError("recvmsg", err)
		case flags&unix.MSG_TRUNC != 0:
			return fmt.Errorf("an answer is longer than %d octets", len(c.buffer))
		}
		done, err := c.messages(c.buffer[:n], f)
		if done || err != nil {
			return err
		}
	}
}

// request is a nlmsghdr and an inet_diag_req_v2 (include/uapi/linux/inet_diag.h).
func request(family byte, seq uint32) []byte {
	b := make([]byte, requestLength)
	binary.NativeEndian.PutUint32(b, requestLength)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b[16], b[17], b[18] = family, unix.IPPROTO_TCP, 1<<(attrInfo-1)
	binary.NativeEndian.PutUint32(b[20:], sending)
	return b
}

// messages reads one datagram of answers; done: it was the last.
func (c *Conn) messages(b []byte, f func(*peers.Socket)) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return false, fmt.Errorf("a netlink message of %d octets where %d are left", n, len(b))
		}
		body := b[unix.SizeofNlMsghdr:n]
		kind, seq := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:])
		b = b[min(len(b), (n+3)&^3):]
		if seq != c.seq {
			continue // of a listing that was given up
		}
		switch kind {
		case unix.NLMSG_DONE:
			return true, verdict(body)
		case unix.NLMSG_ERROR:
			return true, verdict(body)
		case sockDiagByFamily:
			s, ok, err := parse(body)
			if err != nil {
				return false, err
			}
			if ok {
				f(&s)
			}
		}
	}
	return false, nil
}

// verdict is the error number that an error or the end of a listing begins with, 0 or absent: none.
func verdict(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(body)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}
