package neigh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// link asks and answers on one interface: by ARP or by Neighbor Discovery. Its socket, bound to one EtherType, sees what
// comes in and nothing of what this host sends.
type link interface {
	// read returns the next message that is in order. Hostile ones are counted and passed over: the only errors are those of
	// the socket, its deadline among them.
	read() (message, error)
	// probe asks who has addr without saying who asks, so that nobody learns us from it.
	probe(addr netip.Addr) error
	// answer tells to, at toMAC, that addr is at mac.
	answer(addr netip.Addr, mac wire.MAC, to netip.Addr, toMAC wire.MAC) error
	port() *port
	close() error
}

// message is what ARP and Neighbor Discovery have in common.
type message struct {
	request bool
	sender  netip.Addr // who speaks; the zero value where it has no address yet
	target  netip.Addr // who is asked for
	mac     wire.MAC   // the sender's
}

// port is the interface and socket of a link.
type port struct {
	conn    *packet.Conn
	ifi     *net.Interface
	mac     wire.MAC // the interface's own
	ignored map[string]int
}

// past is a deadline that wakes a blocked read.
func past() time.Time { return time.Unix(1, 0) }

// dial opens the link that speaks for addr's family. It needs CAP_NET_RAW and an Ethernet interface that is up.
func dial(ifindex int, addr netip.Addr) (link, error) {
	ifi, err := interfaceNamed(ifindex)
	if err != nil {
		return nil, err
	}
	if len(ifi.HardwareAddr) != 6 || ifi.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("%s has no neighbours: not Ethernet, or down", ifi.Name)
	}
	if addr.Is4() {
		return dialARP(ifi)
	}
	return dialND(ifi, addr)
}

func openPort(ifi *net.Interface, etherType wire.EtherType, cfg *packet.Config) (*port, error) {
	conn, err := packet.Listen(ifi, packet.Raw, int(etherType), cfg)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on %s (needs CAP_NET_RAW): %w", ifi.Name, err)
	}
	return &port{conn: conn, ifi: ifi, mac: wire.MAC(ifi.HardwareAddr), ignored: make(map[string]int)}, nil
}

// hostAddr reports whether a host can have addr, and so be asked for or spoken for.
func hostAddr(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLoopback() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// socketFault reports whether an error of a read is the socket's, and not that of one frame.
func socketFault(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}
