package prober

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// vrf puts the client's end of the cable into a VRF of its own, with 10.5.0.1/24; the server has 10.5.0.2/24 as it stands. It reports whether this
// kernel has VRFs.
func (r *rig) vrf(t *testing.T) bool {
	t.Helper()
	err := r.client.Do(func() error {
		lower, err := netlink.LinkByName(r.near.Name)
		if err != nil {
			return err
		}
		link := &netlink.Vrf{LinkAttrs: netlink.LinkAttrs{Name: "upper0"}, Table: 10}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		a, err := netlink.ParseAddr("10.5.0.1/24")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(link), netlink.LinkSetMaster(lower, link), netlink.AddrAdd(lower, a))
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false
	}
	must(t, err)
	r.far.Addr("10.5.0.2/24")
	return true
}

// wireguard joins both hosts by a WireGuard tunnel over the cable, 10.5.0.1/24 and 10.5.0.2/24. It reports whether this kernel has WireGuard.
func (r *rig) wireguard(t *testing.T) bool {
	t.Helper()
	ends := []struct {
		host             *topo.Host
		outer, inner     string
		peer, peersInner string
	}{{r.client, clientV4, "10.5.0.1/24", serverV4, "10.5.0.2"}, {r.server, serverV4, "10.5.0.2/24", clientV4, "10.5.0.1"}}
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		keys[i], err = ecdh.X25519().GenerateKey(rand.Reader)
		must(t, err)
	}
	for i, end := range ends {
		err := end.host.Do(func() error {
			link := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "upper0", MTU: 1420}}
			if err := netlink.LinkAdd(link); err != nil {
				return err
			}
			if err := wireguardPeer("upper0", keys[i].Bytes(), keys[1-i].PublicKey().Bytes(), addr(end.peer), addr(end.peersInner)); err != nil {
				return err
			}
			a, err := netlink.ParseAddr(end.inner)
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(link, a), netlink.LinkSetUp(link))
		})
		if errors.Is(err, unix.EOPNOTSUPP) {
			return false
		}
		must(t, err)
	}
	return true
}

// wireguardPort is where both ends listen.
const wireguardPort = 51820

// wireguardPeer gives a device its key and its one peer (WG_CMD_SET_DEVICE, include/uapi/linux/wireguard.h, 6.18).
func wireguardPeer(device string, private, public []byte, endpoint, inside netip.Addr) error {
	family, err := netlink.GenlFamilyGet("wireguard")
	if err != nil {
		return fmt.Errorf("find WireGuard's netlink family: %w", err)
	}
	outer, inner := endpoint.As4(), inside.As4()
	to := make([]byte, unix.SizeofSockaddrInet4)
	binary.NativeEndian.PutUint16(to, unix.AF_INET)
	binary.BigEndian.PutUint16(to[2:], wireguardPort)
	copy(to[4:], outer[:])

	peers := nl.NewRtAttr(unix.WGDEVICE_A_PEERS|unix.NLA_F_NESTED, nil)
	peer := peers.AddRtAttr(unix.NLA_F_NESTED, nil) // number 0 of the list
	peer.AddRtAttr(unix.WGPEER_A_PUBLIC_KEY, public)
	peer.AddRtAttr(unix.WGPEER_A_ENDPOINT, to)
	may := peer.AddRtAttr(unix.WGPEER_A_ALLOWEDIPS|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NLA_F_NESTED, nil)
	may.AddRtAttr(unix.WGALLOWEDIP_A_FAMILY, nl.Uint16Attr(unix.AF_INET))
	may.AddRtAttr(unix.WGALLOWEDIP_A_IPADDR, inner[:])
	may.AddRtAttr(unix.WGALLOWEDIP_A_CIDR_MASK, nl.Uint8Attr(32))

	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: unix.WG_CMD_SET_DEVICE, Version: uint8(family.Version)})
	req.AddData(nl.NewRtAttr(unix.WGDEVICE_A_IFNAME, nl.ZeroTerminated(device)))
	req.AddData(nl.NewRtAttr(unix.WGDEVICE_A_PRIVATE_KEY, private))
	req.AddData(nl.NewRtAttr(unix.WGDEVICE_A_LISTEN_PORT, nl.Uint16Attr(wireguardPort)))
	req.AddData(peers)
	if _, err := req.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("set up %s: %w", device, err)
	}
	return nil
}
