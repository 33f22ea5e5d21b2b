package rawsock

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Method is how a Hold keeps the kernel silent.
type Method uint8

// The methods. HoldMD5: the listener wants an RFC 2385 signature from every peer, and a segment without one is dropped
// before any state is looked at (net/ipv4/tcp_ipv4.c tcp_v4_rcv → tcp_inbound_hash, 6.18). HoldMinTTL, where the kernel
// has no TCP_MD5SIG for whole prefixes (before 4.13, or built without it): segments that arrive with a TTL or hop limit
// below 255 are dropped; those that arrive with 255 are answered.
const (
	HoldUnknown Method = iota
	HoldMD5
	HoldMinTTL
)

func (m Method) String() string {
	switch m {
	case HoldMD5:
		return "tcp-md5"
	case HoldMinTTL:
		return "min-ttl"
	case HoldUnknown:
	}
	return "unknown"
}

// Hold is a source port that belongs to us: no other socket of this host can take it, and the kernel answers nothing that arrives
// on it, neither our peers' SYN-ACKs (which would draw an RST) nor anybody's SYN.
type Hold struct {
	Method Method
	fd     atomic.Int64 // −1 when closed
}

// HoldPort takes TCP port port of src, an address of this host, on device iface ("": all). It needs no capability. The
// kernel's MIB counts what it drops for us (TcpExtTCPMD5NotFound, TcpExtTCPMinTTLDrop). Errors: ErrPortInUse when any
// socket, even one in TIME_WAIT, has the port; ErrForeignSource when src is not this host's.
func HoldPort(src netip.Addr, port uint16, iface string) (*Hold, error) {
	return holdPort(src, port, iface, silenceMD5, silenceMinTTL)
}

// PortFree reports whether a socket could be bound to TCP port port of src now: nil, or the errors of HoldPort. A moment
// later it may be otherwise: whoever wants the port binds it.
func PortFree(src netip.Addr, port uint16) error {
	fd, err := bindTCP(src.Unmap(), port, "")
	if err != nil {
		return holdError("try", src, port, err)
	}
	return unix.Close(fd)
}

// silencer makes the socket drop what arrives, or says why this kernel cannot.
type silencer func(fd int, v6 bool) (Method, error)

// holdPort binds first, so that a port in use is told as such, and silences before it listens, so that no segment slips between.
func holdPort(src netip.Addr, port uint16, iface string, ways ...silencer) (*Hold, error) {
	src = src.Unmap()
	fd, err := bindTCP(src, port, iface)
	if err != nil {
		return nil, holdError("hold", src, port, err)
	}
	h := &Hold{}
	h.fd.Store(int64(fd))
	h.Method, err = silence(fd, src.Is6(), ways)
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		return nil, holdError("hold", src, port, errors.Join(err, h.Close()))
	}
	return h, nil
}

func silence(fd int, v6 bool, ways []silencer) (Method, error) {
	all := errors.New("this kernel offers no way to keep silent")
	for _, way := range ways {
		method, err := way(fd, v6)
		if err == nil {
			return method, nil
		}
		all = fmt.Errorf("%w; %w", all, err)
	}
	return HoldUnknown, all
}

func holdError(verb string, src netip.Addr, port uint16, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		err = fmt.Errorf("%w: %w", ErrPortInUse, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		err = fmt.Errorf("%w: %w", ErrForeignSource, err)
	}
	return fmt.Errorf("%s port %s: %w", verb, netip.AddrPortFrom(src, port), err)
}

// bindTCP returns a TCP socket bound to src and port. An address that is in a VRF is bound to on that VRF's device: elsewhere it is not this host's
// (net/ipv4/af_inet.c __inet_bind: l3mdev_fib_table_by_index, 6.18; not seen, for want of a kernel with VRFs). It sets no SO_REUSEADDR: the port must
// be wholly ours.
func bindTCP(src netip.Addr, port uint16, iface string) (int, error) {
	fd, err := bindTCPOn(src, port, iface)
	if iface != "" || !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fd, err
	}
	if vrf := vrfOf(src); vrf != "" {
		return bindTCPOn(src, port, vrf)
	}
	return fd, err
}

func bindTCPOn(src netip.Addr, port uint16, iface string) (int, error) {
	if !src.IsValid() || port == 0 {
		return -1, errors.New("want an address and a port")
	}
	family, sa, err := socketAddress(src, port, iface)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("open TCP socket: %w", err)
	}
	if err := bindOn(fd, family, iface, sa); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func bindOn(fd, family int, iface string, sa unix.Sockaddr) error {
	if iface != "" {
		if err := unix.BindToDevice(fd, iface); err != nil {
			return fmt.Errorf("bind to device %s: %w", iface, err)
		}
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("set IPV6_V6ONLY: %w", err)
		}
	}
	return unix.Bind(fd, sa)
}

func socketAddress(src netip.Addr, port uint16, iface string) (int, unix.Sockaddr, error) {
	if src.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: src.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(port), Addr: src.As16()}
	if !src.IsLinkLocalUnicast() {
		return unix.AF_INET6, sa, nil
	}
	if src.Zone() != "" {
		iface = src.Zone()
	}
	if iface == "" {
		return 0, nil, fmt.Errorf("%w: a link-local address needs one", ErrInterfaceUnknown)
	}
	d, err := new(Router).device(iface, 0)
	sa.ZoneId = uint32(d.index)
	return unix.AF_INET6, sa, err
}

// silenceMD5 demands a signature from every peer of the family: TCP_MD5SIG_EXT with a prefix of length 0 (net/ipv4/tcp_ipv4.c
// tcp_v4_parse_md5_keys, net/ipv6/tcp_ipv6.c tcp_v6_parse_md5_keys; since 4.13). Nobody is told the key, and nobody needs it.
func silenceMD5(fd int, v6 bool) (Method, error) {
	sig := unix.TCPMD5Sig{Flags: unix.TCP_MD5SIG_FLAG_PREFIX, Keylen: 8, Key: [80]uint8{'v', 'i', 'p', 'p', 'r', 'o', 'b', 'e'}}
	sig.Addr.Family = unix.AF_INET
	if v6 {
		sig.Addr.Family = unix.AF_INET6
	}
	if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, &sig); err != nil {
		return HoldUnknown, fmt.Errorf("TCP_MD5SIG_EXT: %w", err)
	}
	return HoldMD5, nil
}

func silenceMinTTL(fd int, v6 bool) (Method, error) {
	level, opt, name := unix.IPPROTO_IP, unix.IP_MINTTL, "IP_MINTTL"
	if v6 {
		level, opt, name = unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT"
	}
	if err := unix.SetsockoptInt(fd, level, opt, 255); err != nil {
		return HoldUnknown, fmt.Errorf("%s: %w", name, err)
	}
	return HoldMinTTL, nil
}

// Close gives the port back. Closing twice does nothing.
func (h *Hold) Close() error {
	fd := h.fd.Swap(-1)
	if fd < 0 {
		return nil
	}
	return unix.Close(int(fd))
}
