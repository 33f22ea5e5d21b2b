package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// device is what a route needs to know of a network device.
type device struct {
	index  int
	name   string
	hwType uint16 // ARPHRD_*, include/uapi/linux/if_arp.h
	flags  uint32 // IFF_*
	mtu    int
	mac    net.HardwareAddr
}

func (d device) up() bool { return d.flags&unix.IFF_UP != 0 }

// carrier reports whether the device has a link: IFF_LOWER_UP, the driver's carrier, which also tun without a reader lacks.
func (d device) carrier() bool { return d.flags&unix.IFF_LOWER_UP != 0 }

// skipStats is RTEXT_FILTER_SKIP_STATS (include/uapi/linux/rtnetlink.h, 6.18): an answer without the counters of every protocol.
const skipStats = 1 << 3

// device asks for one device by its name, or where that is empty by its index.
func (rt *Router) device(name string, index int) (device, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	place := fmt.Sprintf("interface %q", name)
	if name == "" {
		place = fmt.Sprintf("interface number %d", index)
		msg.Index = int32(index)
	}
	req := rt.request(unix.RTM_GETLINK, msg)
	if name != "" {
		if len(name) >= unix.IFNAMSIZ {
			return device{}, fmt.Errorf("%s: %w: a name has at most %d letters", place, ErrInterfaceUnknown, unix.IFNAMSIZ-1)
		}
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	answer, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if errors.Is(err, unix.ENODEV) {
		return device{}, fmt.Errorf("%s: %w", place, ErrInterfaceUnknown)
	}
	if err != nil {
		return device{}, fmt.Errorf("look up %s: %w", place, err)
	}
	if len(answer) == 0 || len(answer[0]) < unix.SizeofIfInfomsg {
		return device{}, fmt.Errorf("look up %s: empty answer", place)
	}
	link, err := netlink.LinkDeserialize(nil, answer[0])
	if err != nil {
		return device{}, fmt.Errorf("look up %s: %w", place, err)
	}
	a := link.Attrs()
	return device{
		index: a.Index, name: a.Name, flags: a.RawFlags, mtu: a.MTU, mac: a.HardwareAddr,
		hwType: binary.NativeEndian.Uint16(answer[0][2:]), // struct ifinfomsg: family, pad, type
	}, nil
}
