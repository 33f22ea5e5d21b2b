package topo

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Links are the host's devices, in the order in which they were made.
func (h *Host) Links() []*Link { return h.links }

// Interpose takes the link's port out of its switch and returns two loose ends: near, that port, at which the link's frames arrive, and beyond, which is on
// the switch in its place. Whoever carries the frames between them is a wire on the way. The link itself notices nothing: its carrier stays, and with it
// all that it has learned of its neighbours. ok is false where the link ends at no switch.
func (l *Link) Interpose() (near, beyond *Link, ok bool) {
	port := l.port()
	if port == nil || port.bridge == nil {
		return nil, nil, false
	}
	fabric := port.Host
	beyond = &Link{Name: port.Name + "w", Host: fabric}
	end := &Link{Name: port.Name + "b", Host: fabric, far: beyond, bridge: port.bridge}
	beyond.far = end
	fabric.Build("take "+port.Name+" from its bridge", func() error { return fabric.nl.LinkSetNoMaster(port.device()) })
	fabric.Build("cable in the place of "+port.Name, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: end.Name}
		v.Name = beyond.Name
		if err := fabric.addUp(v, &beyond.Index); err != nil {
			return err
		}
		if err := end.enslave(port.bridge.index); err != nil {
			return fmt.Errorf("in the place of %s: %w", port.Name, err)
		}
		return nil
	})
	beyond.carry()
	port.bridge, port.beyond = nil, end
	return port, beyond, true
}
