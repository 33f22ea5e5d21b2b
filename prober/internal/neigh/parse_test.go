package neigh

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// packet builds an ARP packet and lets a test bend it.
func arpPacket(op byte, senderMAC wire.MAC, sender string, target string, bend func([]byte)) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, op}
	s, t := netip.MustParseAddr(sender).As4(), netip.MustParseAddr(target).As4()
	b = append(append(append(b, senderMAC[:]...), s[:]...), 0, 0, 0, 0, 0, 0)
	b = append(b, t[:]...)
	if bend != nil {
		bend(b)
	}
	return b
}

func TestParseARP(t *testing.T) {
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	addr := netip.MustParseAddr
	event := func(k observe.NeighborKind, sender, target netip.Addr) observe.NeighborEvent {
		return observe.NeighborEvent{Kind: k, Sender: sender, Target: target, SenderMAC: "02:00:00:00:00:01"}
	}
	none := observe.NeighborEvent{}
	for _, c := range []struct {
		name string
		in   []byte
		want observe.NeighborEvent
		d    Disposition
	}{
		{"request", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", nil), event(observe.NeighborRequest, addr("10.0.0.1"), addr("10.0.0.2")), OK},
		{"reply", arpPacket(2, mac, "10.0.0.2", "10.0.0.1", nil), event(observe.NeighborReply, addr("10.0.0.2"), addr("10.0.0.1")), OK},
		{"announcement by request", arpPacket(1, mac, "10.0.0.2", "10.0.0.2", nil), event(observe.NeighborGratuitous, addr("10.0.0.2"), addr("10.0.0.2")), OK},
		{"announcement by reply", arpPacket(2, mac, "10.0.0.2", "10.0.0.2", nil), event(observe.NeighborGratuitous, addr("10.0.0.2"), addr("10.0.0.2")), OK},
		{"probe: the sender has no address", arpPacket(1, mac, "0.0.0.0", "10.0.0.2", nil), event(observe.NeighborRequest, netip.Addr{}, addr("10.0.0.2")), OK},
		{"Ethernet padding", append(arpPacket(1, mac, "10.0.0.1", "10.0.0.2", nil), make([]byte, 18)...), event(observe.NeighborRequest, addr("10.0.0.1"), addr("10.0.0.2")), OK},
		{"nothing", nil, none, Short},
		{"one octet short", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", nil)[:27], none, Short},
		{"hardware type of IEEE 802", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", func(b []byte) { b[1] = 6 }), none, HardwareType},
		{"protocol type IPv6", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", func(b []byte) { b[2], b[3] = 0x86, 0xdd }), none, ProtocolType},
		{"hardware addresses of 255 octets", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", func(b []byte) { b[4] = 255 }), none, AddressLength},
		{"protocol addresses of no octets", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", func(b []byte) { b[5] = 0 }), none, AddressLength},
		{"protocol addresses of 16 octets", arpPacket(1, mac, "10.0.0.1", "10.0.0.2", func(b []byte) { b[5] = 16 }), none, AddressLength},
		{"reverse ARP", arpPacket(3, mac, "10.0.0.1", "10.0.0.2", nil), none, Operation},
		{"operation 0", arpPacket(0, mac, "10.0.0.1", "10.0.0.2", nil), none, Operation},
		{"from a group address", arpPacket(2, wire.MAC{1, 0, 94, 0, 0, 1}, "10.0.0.1", "10.0.0.2", nil), none, SenderMAC},
		{"from the broadcast address", arpPacket(2, mac, "255.255.255.255", "10.0.0.2", nil), none, SenderAddress},
		{"from a multicast address", arpPacket(1, mac, "224.0.0.1", "10.0.0.2", nil), none, SenderAddress},
		{"a reply from nobody", arpPacket(2, mac, "0.0.0.0", "10.0.0.2", nil), none, SenderAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, d := ParseARP(c.in)
			if d != c.d {
				t.Errorf("disposition %s, want %s", d, c.d)
			}
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func ndPacket(t testing.TB, n wire.ND) []byte {
	t.Helper()
	b := make([]byte, n.Size())
	if _, err := n.Encode(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseND(t *testing.T) {
	a, b, all := netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2"), netip.MustParseAddr("ff02::1")
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	for _, c := range []struct {
		name string
		in   wire.ND
		want observe.NeighborEvent
	}{
		{
			"solicitation", wire.ND{Kind: wire.NeighborSolicitation, Src: a, Dst: wire.SolicitedNode(b), Target: b, Link: mac, HasLink: true},
			observe.NeighborEvent{Kind: observe.NeighborRequest, Sender: a, Target: b, SenderMAC: mac.String()},
		},
		{
			"duplicate address detection", wire.ND{Kind: wire.NeighborSolicitation, Src: netip.IPv6Unspecified(), Dst: wire.SolicitedNode(b), Target: b},
			observe.NeighborEvent{Kind: observe.NeighborRequest, Target: b},
		},
		{
			"answer", wire.ND{Kind: wire.NeighborAdvertisement, Src: b, Dst: a, Target: b, Link: mac, HasLink: true, Solicited: true},
			observe.NeighborEvent{Kind: observe.NeighborReply, Sender: b, Target: a, SenderMAC: mac.String()},
		},
		{
			"announcement", wire.ND{Kind: wire.NeighborAdvertisement, Src: b, Dst: all, Target: b, Link: mac, HasLink: true, Override: true},
			observe.NeighborEvent{Kind: observe.NeighborGratuitous, Sender: b, Target: b, SenderMAC: mac.String()},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, d := Parse(uint16(wire.EtherIPv6), ndPacket(t, c.in))
			if d != OK {
				t.Fatalf("disposition %s", d)
			}
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	in := ndPacket(t, wire.ND{Kind: wire.NeighborSolicitation, Src: a, Dst: b, Target: b})
	in[7] = 64 // the hop limit: it has come through a router
	if _, d := Parse(uint16(wire.EtherIPv6), in); d == OK || d.String() != "nd_"+wire.ReasonHopLimit.String() {
		t.Errorf("hop limit 64: %s", d)
	}
	if _, d := Parse(0x0800, in); d != NotNeighbor {
		t.Errorf("IPv4: %s", d)
	}
}

// Whatever comes in, an event is only made of addresses that a host can have.
func FuzzParse(f *testing.F) {
	f.Add(uint16(wire.EtherARP), arpPacket(1, wire.MAC{2}, "10.0.0.1", "10.0.0.2", nil))
	f.Add(uint16(wire.EtherARP), arpPacket(2, wire.MAC{2}, "10.0.0.1", "10.0.0.2", func(b []byte) { b[4], b[5] = 255, 255 })) // lengths that lie
	f.Add(uint16(wire.EtherARP), arpPacket(1, wire.MAC{2}, "0.0.0.0", "10.0.0.2", nil)[:20])
	f.Add(uint16(wire.EtherIPv6), ndPacket(f, wire.ND{
		Kind: wire.NeighborSolicitation, Src: netip.MustParseAddr("fd09::1"), Dst: netip.MustParseAddr("fd09::2"), Target: netip.MustParseAddr("fd09::2"),
	}))
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		e, d := Parse(etherType, b)
		if d.String() == "" {
			t.Errorf("disposition %d has no name", d)
		}
		if d != OK {
			if e != (observe.NeighborEvent{}) {
				t.Errorf("%s with an event: %+v", d, e)
			}
			return
		}
		if e.Kind == observe.NeighborUnknown || e.Sender.IsMulticast() || e.Sender.IsValid() && e.Sender.IsUnspecified() || !e.Target.IsValid() {
			t.Errorf("%+v", e)
		}
	})
}
