package topo

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// The kernel finishes links and addresses behind the back of whoever asked for them. A network is ready when it has; until then it drops in silence,
// which no scenario is about.

// readyWithin is how long a busy machine may take for that.
const readyWithin = 10 * time.Second

// carry waits until both ends of the cable pass packets. The end that came up first gets its carrier, and with it its queue or
// its place in the switch, from a work queue a moment later (net/core/link_watch.c, 6.18).
func (l *Link) carry() {
	for _, e := range []*Link{l, l.far} {
		e.Host.Build("carrier of "+e.Name, func() error {
			return e.Host.net.await("carrier on "+e.Name, func() (bool, error) {
				link, err := e.Host.nl.LinkByName(e.Name)
				if err != nil {
					return false, fmt.Errorf("find link %s: %w", e.Name, err)
				}
				return link.Attrs().OperState == netlink.OperUp, nil
			})
		})
	}
}

// heeds waits until solicitations for an IPv6 address of the link are heard: the address is there at once, but its solicited-node group is joined
// by a work queue, which waits its turn behind whatever else builds or removes networks (net/ipv6/addrconf.c addrconf_dad_begin, 6.18).
func (l *Link) heeds(a netip.Addr) error {
	if !a.Is6() {
		return nil
	}
	group := solicitedNode(a)
	return l.Host.net.await("membership of "+l.Name+" in "+group.String(), func() (bool, error) {
		b, err := os.ReadFile("/proc/thread-self/net/igmp6")
		if err != nil {
			return false, fmt.Errorf("read the groups of %s: %w", l.Name, err)
		}
		return joined(string(b), l.Name, group), nil
	})
}

// solicitedNode is the group that solicitations for an address are sent to (RFC 4291 §2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	g, b := [16]byte{0xff, 0x02, 11: 1, 12: 0xff}, a.As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g)
}

// joined looks a device's group up in /proc/net/igmp6: index, device, group in hex, users, flags, timer (net/ipv6/mcast.c igmp6_mc_seq_show, 6.18).
func joined(table, dev string, group netip.Addr) bool {
	b := group.As16()
	want := hex.EncodeToString(b[:])
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) >= 3 && f[1] == dev && f[2] == want {
			return true
		}
	}
	return false
}

// await asks every millisecond whether something is so, for readyWithin at most.
func (n *Net) await(what string, so func() (bool, error)) error {
	late := time.After(readyWithin)
	for {
		ok, err := so()
		if ok || err != nil {
			return err
		}
		select {
		case <-n.ctx.Done():
			return n.ctx.Err()
		case <-late:
			return fmt.Errorf("no %s after %s", what, readyWithin)
		case <-time.After(time.Millisecond):
		}
	}
}
