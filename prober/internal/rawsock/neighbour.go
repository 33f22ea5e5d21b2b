package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Resolution by our own requests: as often, and as long for each, as the kernel (mcast_solicit 3, retrans_time_ms 1000,
// net/ipv4/arp.c arp_tbl and net/ipv6/ndisc.c nd_tbl, 6.18; RFC 4861 §10).
const (
	solicitTries = 3
	solicitWait  = time.Second
)

// NextHopMAC is NextHopMAC of the zero Router.
func NextHopMAC(ctx context.Context, r Route) (wire.MAC, error) {
	return new(Router).NextHopMAC(ctx, r)
}

// NextHopMAC returns the link address of r's next hop: the kernel's, where its neighbour table has one it would use
// itself, else the answer to our own ARP or neighbour solicitations, three at most, 1 s each. It changes no table here. A
// local route and a device without link addresses have the zero MAC. Errors: ErrNoNeighbor when nobody answers,
// ErrUnsupportedDevice, ctx's. The caller's thread must be in the Router's namespace.
func (rt *Router) NextHopMAC(ctx context.Context, r Route) (wire.MAC, error) {
	if r.Local || r.HWType == unix.ARPHRD_NONE || r.HWType == unix.ARPHRD_LOOPBACK {
		return wire.MAC{}, nil
	}
	hop := r.NextHop()
	if r.HWType != unix.ARPHRD_ETHER {
		return wire.MAC{}, fmt.Errorf("resolve %s on %s: %w: %d", hop, r.IfName, ErrUnsupportedDevice, r.HWType)
	}
	mac, known, err := rt.kernelNeighbor(hop, r.IfIndex)
	if err == nil && !known {
		mac, err = rt.solicit(ctx, r)
	}
	if err != nil {
		return wire.MAC{}, fmt.Errorf("resolve %s on %s: %w", hop, r.IfName, err)
	}
	return mac, nil
}

// Ask asks the wire for r's next hop, whatever the kernel's table says, and returns who answers first. It sends one request a second, three
// at most. Errors as of NextHopMAC.
func Ask(ctx context.Context, r Route) (wire.MAC, error) {
	if r.Local || r.HWType != unix.ARPHRD_ETHER {
		return wire.MAC{}, fmt.Errorf("ask for %s on %s: %w: %d", r.NextHop(), r.IfName, ErrUnsupportedDevice, r.HWType)
	}
	mac, err := new(Router).solicit(ctx, r)
	if err != nil {
		return wire.MAC{}, fmt.Errorf("ask for %s on %s: %w", r.NextHop(), r.IfName, err)
	}
	return mac, nil
}

// usableNeighbor are the states in which the kernel sends at once: NUD_VALID less NUD_NOARP, whose entries hold no
// resolved address (include/net/neighbour.h, 6.18).
const usableNeighbor = netlink.NUD_PERMANENT | netlink.NUD_REACHABLE | netlink.NUD_PROBE | netlink.NUD_STALE | netlink.NUD_DELAY

// kernelNeighbor reads one entry of the kernel's neighbour table.
func (rt *Router) kernelNeighbor(hop netip.Addr, ifIndex int) (mac wire.MAC, known bool, err error) {
	n, err := rt.getNeighbor(hop, ifIndex)
	if errors.Is(err, unix.ENOENT) {
		return wire.MAC{}, false, nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		n, err = rt.listNeighbor(hop, ifIndex) // kernels before 5.0 only dump
	}
	if err != nil {
		return wire.MAC{}, false, fmt.Errorf("read neighbour table: %w", err)
	}
	if n.State&usableNeighbor == 0 || len(n.HardwareAddr) != len(mac) {
		return wire.MAC{}, false, nil
	}
	return wire.MAC(n.HardwareAddr), true, nil
}

func (rt *Router) getNeighbor(hop netip.Addr, ifIndex int) (netlink.Neigh, error) {
	family := uint8(unix.AF_INET6)
	if hop.Is4() {
		family = unix.AF_INET
	}
	req := rt.request(unix.RTM_GETNEIGH, &netlink.Ndmsg{Family: family, Index: uint32(ifIndex)},
		nl.NewRtAttr(netlink.NDA_DST, hop.WithZone("").AsSlice()))
	answer, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return netlink.Neigh{}, err
	}
	if len(answer) == 0 {
		return netlink.Neigh{}, unix.ENOENT
	}
	n, err := netlink.NeighDeserialize(answer[0])
	if err != nil {
		return netlink.Neigh{}, err
	}
	return *n, nil
}

func (rt *Router) listNeighbor(hop netip.Addr, ifIndex int) (netlink.Neigh, error) {
	family := netlink.FAMILY_V6
	if hop.Is4() {
		family = netlink.FAMILY_V4
	}
	all, err := rt.handle.NeighList(ifIndex, family)
	if err != nil {
		return netlink.Neigh{}, err
	}
	for _, n := range all {
		if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == hop.WithZone("") {
			return n, nil
		}
	}
	return netlink.Neigh{}, nil
}

// question is one address asked for on one link.
type question struct {
	conn    *packet.Conn
	request []byte // the whole frame
	// answer returns the link address that a frame gives for the address, or why it is not the answer.
	answer func(frame []byte) (wire.MAC, error)
}

// solicit asks the link for the next hop of r.
func (rt *Router) solicit(ctx context.Context, r Route) (wire.MAC, error) {
	ifi := &net.Interface{Index: r.IfIndex, Name: r.IfName, HardwareAddr: r.SrcMAC[:], MTU: r.MTU}
	sender, err := rt.solicitSource(r)
	if err != nil {
		return wire.MAC{}, err
	}
	open := openND
	if r.NextHop().Is4() {
		open = openARP
	}
	q, err := open(ifi, sender, r.NextHop().WithZone(""))
	if err != nil {
		return wire.MAC{}, err
	}
	mac, err := q.put(ctx)
	return mac, errors.Join(err, q.conn.Close())
}

// put asks up to solicitTries times and waits for the answer.
func (q *question) put(ctx context.Context) (wire.MAC, error) {
	cancelled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cancelled)
		_ = q.conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection, which nobody reads
	})
	defer func() {
		if !stop() {
			<-cancelled
		}
	}()
	for range solicitTries {
		if err := q.conn.SetReadDeadline(time.Now().Add(solicitWait)); err != nil {
			return wire.MAC{}, err
		}
		if ctx.Err() != nil { // checked after the deadline was set: the two never miss each other
			return wire.MAC{}, context.Cause(ctx)
		}
		if _, err := q.conn.WriteTo(q.request, &packet.Addr{HardwareAddr: q.request[:6]}); err != nil {
			return wire.MAC{}, err
		}
		mac, err := q.read()
		switch {
		case err == nil:
			return mac, nil
		case ctx.Err() != nil:
			return wire.MAC{}, context.Cause(ctx)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return wire.MAC{}, err
		}
	}
	return wire.MAC{}, fmt.Errorf("%w: %d requests, %v each", ErrNoNeighbor, solicitTries, solicitWait)
}

// read waits for the answer and passes over everything else; only an error of the socket ends it.
func (q *question) read() (wire.MAC, error) {
	buf := make([]byte, 512)
	for {
		n, _, err := q.conn.ReadFrom(buf)
		if err != nil {
			return wire.MAC{}, err
		}
		if mac, err := q.answer(buf[:n]); err == nil {
			return mac, nil
		}
	}
}

// solicitSource is the address we ask from: Src where the next hop is of its family and it is ours, else one of the
// device's own, as the kernel chooses (net/ipv4/arp.c arp_solicit, 6.18). Without any, it is unspecified (an RFC 5227
// probe); IPv6 devices have at least a link-local one.
func (rt *Router) solicitSource(r Route) (netip.Addr, error) {
	hop := r.NextHop()
	if r.Src.Is4() == hop.Is4() {
		if own, err := rt.isOwn(r.Src, r.IfIndex); err != nil || own {
			return r.Src, err
		}
	}
	got, err := rt.ask(hop, netip.Addr{}, r.IfIndex)
	if err != nil {
		return netip.Addr{}, err
	}
	if src, ok := netip.AddrFromSlice(got.Src); ok {
		return src.Unmap(), nil
	}
	if hop.Is4() {
		return netip.IPv4Unspecified(), nil
	}
	return netip.IPv6Unspecified(), nil
}
