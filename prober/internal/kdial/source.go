package kdial

import (
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sources finds the address that the kernel would send from, by connecting a UDP socket, which sends nothing. Policy rules
// that look at ports or at the protocol may answer otherwise for the connect itself: a Result has the address of that.
type sources struct {
	known  map[routeKey]netip.Addr
	v4, v6 int // sockets kept for the look-ups of one burst; 0 until needed
}

type routeKey struct {
	dst   netip.Addr
	iface string
	tos   uint8
}

// of returns the source address for c, each route being asked for once.
func (r *sources) of(c *Conn, k *sockets) (netip.Addr, error) {
	key := routeKey{c.Dst.Addr().Unmap(), c.Interface, c.ToS}
	if a, ok := r.known[key]; ok {
		return a, nil
	}
	a, err := r.ask(c, k)
	if err != nil {
		return netip.Addr{}, err
	}
	if r.known == nil {
		r.known = make(map[routeKey]netip.Addr)
	}
	r.known[key] = a
	return a, nil
}

func (r *sources) ask(c *Conn, k *sockets) (netip.Addr, error) {
	fd, release, err := r.socket(c)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := k.aim(c.Dst, ""); err != nil {
		return netip.Addr{}, errors.Join(err, release())
	}
	if err := connectTo(fd, &k.address); err != nil {
		return netip.Addr{}, errors.Join(setup("find a route to "+c.Dst.Addr().String(), err), release())
	}
	local, ok := k.name(fd)
	if err := release(); err != nil {
		return netip.Addr{}, setup("release a socket", err)
	}
	if !ok {
		return netip.Addr{}, errRefuse{"the kernel names no source address for " + c.Dst.Addr().String()}
	}
	return local.Addr(), nil
}

// socket is a UDP socket without an address, and how to let go of it: the kept one is disconnected, since its source address
// would otherwise decide the next look-up; one that carries c's interface or type of service is closed.
func (r *sources) socket(c *Conn) (fd int, release func() error, err error) {
	family, kept := unix.AF_INET6, &r.v6
	if c.Dst.Addr().Unmap().Is4() {
		family, kept = unix.AF_INET, &r.v4
	}
	own := c.Interface != "" || c.ToS != 0
	if *kept != 0 && !own {
		return *kept, func() error { return disconnect(*kept) }, nil
	}
	if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, nil, setup("make a socket", err)
	}
	if !own {
		*kept = fd
		return fd, func() error { return disconnect(fd) }, nil
	}
	if err := routeOptions(fd, family, c); err != nil {
		return 0, nil, errors.Join(err, unix.Close(fd))
	}
	return fd, func() error { return unix.Close(fd) }, nil
}

// disconnect clears a UDP socket's peer and the source address that came with it (connect(2): AF_UNSPEC).
func disconnect(fd int) error {
	sa := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	if errno != 0 {
		return errno
	}
	return nil
}

func (r *sources) close() error {
	var err error
	for _, fd := range []int{r.v4, r.v6} {
		if fd != 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}
