package hostproc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// Listeners lists the sockets in LISTEN of the calling thread's network namespace that have one of the ports, with their queues. It needs no
// privilege. counted: requests in SYN_RECV are counted too, for which the kernel walks its whole table of connections; ask for that twice a second at
// most. Errors: sock_diag is not there (Linux < 3.3, or a kernel without INET_DIAG), or was refused.
func Listeners(ports []uint16, counted bool) ([]observe.ListenQueue, error) {
	s, err := openDiag()
	if err != nil {
		return nil, fmt.Errorf("ask sock_diag for listeners: %w", err)
	}
	defer s.close()
	var out []observe.ListenQueue
	for _, port := range ports {
		found, err := s.port(port, counted)
		if err != nil {
			return nil, fmt.Errorf("ask sock_diag for the listeners of port %d: %w", port, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// diag is a sock_diag(7) socket.
type diag struct {
	fd  int
	buf []byte
}

// diagTime bounds an answer of the kernel, seconds.
const diagTime = 2

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &diag{fd, make([]byte, 1<<15)}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagTime}); err != nil {
		s.close()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return s, nil
}

func (s *diag) close() { _ = unix.Close(s.fd) }

// The states as sock_diag's request has them, 1<<TCP_SYN_RECV and 1<<TCP_LISTEN (include/net/tcp_states.h). Requests of listeners count as SYN_RECV
// (net/ipv4/inet_diag.c inet_diag_dump_icsk, 6.18).
const (
	inSynRecv = 1 << 3
	inListen  = 1 << 10
)

// port lists the listeners of one port, both families.
func (s *diag) port(port uint16, counted bool) ([]observe.ListenQueue, error) {
	var out []observe.ListenQueue
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := s.dump(family, inListen, port, func(m diagMessage) {
			out = append(out, observe.ListenQueue{Addr: m.local, Queued: m.rqueue, Backlog: m.wqueue, Counted: counted})
		})
		if err != nil {
			return nil, err
		}
	}
	if !counted || len(out) == 0 {
		return out, nil
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := s.dump(family, inSynRecv, port, func(m diagMessage) { count(out, m.local.Addr().Unmap()) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// count adds a half-open connection to the listener of its address, or of all.
func count(all []observe.ListenQueue, local netip.Addr) {
	for _, exact := range []bool{true, false} {
		for i := range all {
			if a := all[i].Addr.Addr(); exact && a.Unmap() == local || !exact && a.IsUnspecified() {
				all[i].HalfOpen++
				return
			}
		}
	}
}

// diagMessage is what is kept of a struct inet_diag_msg.
type diagMessage struct {
	local          netip.AddrPort
	rqueue, wqueue uint32
}

// struct inet_diag_req_v2 and inet_diag_msg (include/uapi/linux/inet_diag.h, Linux ≥ 3.3), offsets in octets:
//
//	request  0 family  1 protocol  2 extensions  4 states  8 sport  10 dport  12 src[16]  28 dst[16]  44 interface  48 cookie[8]
//	message  0 family  1 state  4 sport  6 dport  8 src[16]  24 dst[16]  40 interface  44 cookie[8]  52 expires  56 rqueue  60 wqueue
const (
	diagRequestSize = 56
	diagMessageSize = 72
)

// dump calls f for every TCP socket of a family, in these states, with a local port.
func (s *diag) dump(family uint8, states uint32, port uint16, f func(diagMessage)) error {
	req := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
	ne := binary.NativeEndian
	ne.PutUint32(req[0:], uint32(len(req)))
	ne.PutUint16(req[4:], unix.SOCK_DIAG_BY_FAMILY)
	ne.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := req[unix.NLMSG_HDRLEN:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	ne.PutUint32(body[4:], states)
	binary.BigEndian.PutUint16(body[8:], port)
	if err := unix.Sendto(s.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		}
		msgs, err := syscall.ParseNetlinkMessage(s.buf[:n])
		if err != nil {
			return fmt.Errorf("read its answer of %d octets: %w", n, err)
		}
		for i := range msgs {
			done, err := answer(&msgs[i], f)
			if done || err != nil {
				return err
			}
		}
	}
}

// answer handles one netlink message; done after the last.
func answer(m *syscall.NetlinkMessage, f func(diagMessage)) (done bool, err error) {
	switch {
	case m.Header.Type == unix.NLMSG_DONE:
		return true, nil
	case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
		return true, unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	case m.Header.Type != unix.SOCK_DIAG_BY_FAMILY || len(m.Data) < diagMessageSize:
		return false, nil
	}
	b := m.Data
	addr, _ := netip.AddrFromSlice(b[8:12])
	if b[0] == unix.AF_INET6 {
		addr, _ = netip.AddrFromSlice(b[8:24])
	}
	f(diagMessage{netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[4:])), binary.NativeEndian.Uint32(b[56:]), binary.NativeEndian.Uint32(b[60:])})
	return false, nil
}
