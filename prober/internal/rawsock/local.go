package rawsock

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LocalSender sends to this host's own addresses through raw IP sockets, which take the kernel's output path: a frame put on the
// loopback device by a packet socket is a martian and vanishes. It receives nothing: IPPROTO_RAW is send-only (raw(7)).
//
// The kernel rewrites total length and header checksum of IPv4 packets, and an identification of 0 (net/ipv4/raw.c
// raw_send_hdrinc, 6.18); IPv6 packets leave as they are. Packet.Link is not used.
type LocalSender struct {
	fd4, fd6 int // fd6 is −1 on a host without IPv6
	to4      unix.RawSockaddrInet4
	to6      unix.RawSockaddrInet6
}

// NewLocalSender opens a sender to this host. A permission error is os.ErrPermission and names the capability.
func NewLocalSender() (*LocalSender, error) {
	s := &LocalSender{
		fd6: -1,
		to4: unix.RawSockaddrInet4{Family: unix.AF_INET},
		to6: unix.RawSockaddrInet6{Family: unix.AF_INET6},
	}
	var err error
	if s.fd4, err = rawIP(unix.AF_INET, unix.IPPROTO_IP, unix.IP_HDRINCL); err != nil {
		return nil, err
	}
	s.fd6, err = rawIP(unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_HDRINCL)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		s.fd6, err = -1, nil
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(s.fd4))
	}
	return s, nil
}

func rawIP(family, level, headerIncluded int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return -1, socketError("open raw IP socket", err)
	}
	if err := limitSend(fd); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if err := unix.SetsockoptInt(fd, level, headerIncluded, 1); err != nil {
		return -1, errors.Join(fmt.Errorf("raw IP socket: have headers included: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// Send hands the packets to the kernel one by one, so that each gets its own errno: EPERM from a local packet filter,
// ENETUNREACH, EMSGSIZE and the like never stop the others. It allocates nothing unless it returns an error.
func (s *LocalSender) Send(packets []Packet) (Sent, error) {
	var sent Sent
	for i := range packets {
		p := &packets[i]
		p.Err = s.send(p.Data)
		switch {
		case p.Err == 0:
			sent.Packets++
		case NoRoom(p.Err):
			sent.NoBuffer++
		case p.Err == unix.EAGAIN:
			mark(packets[i:], unix.EAGAIN)
			sent.Refused += len(packets) - i
			return sent, fmt.Errorf("send to this host: %w", outOfOrder(unix.EAGAIN))
		default:
			sent.Refused++
		}
	}
	return sent, nil
}

func (s *LocalSender) send(data []byte) unix.Errno {
	family, errno := check(data, 0)
	switch {
	case errno != 0:
		return errno
	case family == unix.AF_INET:
		copy(s.to4.Addr[:], data[16:20])
		return sendto(s.fd4, data, unsafe.Pointer(&s.to4), unix.SizeofSockaddrInet4)
	case s.fd6 < 0:
		return unix.EAFNOSUPPORT
	}
	copy(s.to6.Addr[:], data[24:40])
	return sendto(s.fd6, data, unsafe.Pointer(&s.to6), unix.SizeofSockaddrInet6)
}

// Close frees the sockets.
func (s *LocalSender) Close() error {
	err := unix.Close(s.fd4)
	if s.fd6 >= 0 {
		err = errors.Join(err, unix.Close(s.fd6))
	}
	return err
}
