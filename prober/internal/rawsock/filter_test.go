package rawsock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// kind is a packet that a filter for ports 2000-2010 and 61000-61001 judges.
type kind struct {
	name   string
	ether  wire.EtherType
	packet []byte
	want   bool // accepted
	only   bool // ... only by a filter with neighbor
}

var testRanges = []Ports{{2000, 2010}, {61000, 61001}}

func kinds() []kind {
	v4, v6 := wire.EtherIPv4, wire.EtherIPv6
	tcp4 := func(sport, dport uint16) []byte { return segment(near4, far4, sport, dport) }
	tcp6 := func(sport, dport uint16) []byte { return segment(near6, far6, sport, dport) }
	at := func(b []byte, off int, v ...byte) []byte { copy(b[off:], v); return b }
	all := []kind{
		{name: "TCP/IPv4 from the first port", ether: v4, packet: tcp4(2000, 80), want: true},
		{name: "TCP/IPv4 from one port before", ether: v4, packet: tcp4(1999, 80)},
		{name: "TCP/IPv4 from the last port", ether: v4, packet: tcp4(2010, 80), want: true},
		{name: "TCP/IPv4 from one port after", ether: v4, packet: tcp4(2011, 80)},
		{name: "TCP/IPv4 to the second range", ether: v4, packet: tcp4(80, 61001), want: true},
		{name: "TCP/IPv4 to after the second range", ether: v4, packet: tcp4(80, 61002)},
		{name: "TCP/IPv4 with IP options", ether: v4, packet: withOptions(tcp4(80, 2000), 40), want: true},
		{name: "TCP/IPv4 with IP options, ports not ours", ether: v4, packet: withOptions(tcp4(80, 81), 40)},
		{name: "TCP/IPv4 first fragment", ether: v4, packet: at(tcp4(80, 2000), 6, 0x20, 0), want: true},
		{name: "TCP/IPv4 second fragment", ether: v4, packet: at(tcp4(80, 2000), 6, 0, 1)},
		{name: "TCP/IPv4 cut before the ports", ether: v4, packet: tcp4(80, 2000)[:22]},
		{name: "IPv4 header length 16", ether: v4, packet: at(tcp4(80, 2000), 0, 0x44)},
		{name: "UDP/IPv4 on our port", ether: v4, packet: at(tcp4(2000, 2000), 9, 17)},
		{name: "TCP/IPv6 from our port", ether: v6, packet: tcp6(61000, 80), want: true},
		{name: "TCP/IPv6 to our port", ether: v6, packet: tcp6(80, 2005), want: true},
		{name: "TCP/IPv6, ports not ours", ether: v6, packet: tcp6(80, 81)},
		{name: "UDP/IPv6 on our port", ether: v6, packet: at(tcp6(2000, 2000), 6, 17)},
		{name: "fragment header/IPv6", ether: v6, packet: at(tcp6(2000, 2000), 6, 44)},
		{name: "ARP", ether: wire.EtherARP, packet: make([]byte, 28), want: true, only: true},
		{name: "LLDP", ether: 0x88cc, packet: tcp4(2000, 2000)},
	}
	for typ := range 20 {
		quoting := typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12
		all = append(all, kind{name: "ICMP type", ether: v4, packet: icmp4(byte(typ), tcp4(2000, 80)), want: quoting})
	}
	all = append(all,
		kind{name: "ICMP with options", ether: v4, packet: withOptions(icmp4(3, tcp4(2000, 80)), 24), want: true},
		kind{name: "ICMP quoting options", ether: v4, packet: icmp4(3, withOptions(tcp4(80, 61000), 60)), want: true},
		kind{name: "ICMP quoting other ports", ether: v4, packet: icmp4(3, tcp4(80, 81))},
		kind{name: "ICMP quoting UDP", ether: v4, packet: icmp4(3, at(tcp4(2000, 80), 9, 17))},
		kind{name: "ICMP quoting a second fragment", ether: v4, packet: icmp4(3, at(tcp4(2000, 80), 6, 0, 9))},
		kind{name: "ICMP quoting 8 octets", ether: v4, packet: icmp4(3, tcp4(2000, 80)[:28]), want: true},
		kind{name: "ICMP quoting 2 octets", ether: v4, packet: icmp4(3, tcp4(80, 2000)[:22])},
		kind{name: "ICMP second fragment", ether: v4, packet: at(icmp4(3, tcp4(2000, 80)), 6, 0, 1)},
	)
	for _, typ := range []byte{0, 1, 2, 3, 4, 5, 127, 128, 129, 133, 134, 135, 136, 137, 255} {
		all = append(all, kind{
			name: "ICMPv6 type", ether: v6, packet: icmp6(typ, tcp6(2000, 80)),
			want: typ >= 1 && typ <= 4 || typ == 135 || typ == 136, only: typ == 135 || typ == 136,
		})
	}
	return append(all,
		kind{name: "echo reply of our identifier", ether: v4, packet: echo4(0, 2000, 80), want: true},
		kind{name: "echo request of our identifier", ether: v4, packet: echo4(8, 61001, 80), want: true},
		kind{name: "echo reply of our identifier, IP options", ether: v4, packet: withOptions(echo4(0, 2000, 80), 32), want: true},
		kind{name: "echo reply of others", ether: v4, packet: echo4(0, 1999, 80)},
		kind{name: "timestamp reply with our identifier", ether: v4, packet: echo4(14, 2000, 80)},
		kind{name: "ICMPv6 echo reply of our identifier", ether: v6, packet: echo6(129, 2000, 80), want: true},
		kind{name: "ICMPv6 echo request of our identifier", ether: v6, packet: echo6(128, 2000, 80), want: true},
		kind{name: "ICMPv6 echo reply of others", ether: v6, packet: echo6(129, 80, 81)},
		kind{name: "ICMPv6 quoting other ports", ether: v6, packet: icmp6(1, tcp6(80, 81))},
		kind{name: "ICMPv6 quoting UDP", ether: v6, packet: icmp6(1, at(tcp6(2000, 80), 6, 17))},
	)
}

func segment(src, dst netip.Addr, sport, dport uint16) []byte {
	s := wire.Segment{
		Src: netip.AddrPortFrom(src, sport), Dst: netip.AddrPortFrom(dst, dport), Flags: wire.ACK, HopLimit: 64,
		Payload: []byte("some octets so that quotes have something to cut"),
	}
	b := make([]byte, s.Size())
	n, err := s.Encode(b)
	if err != nil {
		panic(err)
	}
	return b[:n]
}

// withOptions lengthens the header of an IPv4 packet by NOP options to size octets; its checksum is then wrong.
func withOptions(p []byte, size int) []byte {
	out := make([]byte, 0, len(p)+size-20)
	out = append(out, p[:20]...)
	for range size - 20 {
		out = append(out, 1)
	}
	out = append(out, p[20:]...)
	out[0] = 0x40 | byte(size/4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return out
}

func icmp4(typ byte, quoted []byte) []byte {
	b := append(segment(far4, near4, 1, 1)[:20:20], typ, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, quoted...)
	b[9] = protoICMP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func icmp6(typ byte, quoted []byte) []byte {
	b := append(segment(far6, near6, 1, 1)[:40:40], typ, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, quoted...)
	b[6] = protoICMPv6
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func echo4(typ byte, id, seq uint16) []byte {
	b := icmp4(typ, make([]byte, 16))
	binary.BigEndian.PutUint16(b[24:], id)
	binary.BigEndian.PutUint16(b[26:], seq)
	return b
}

func echo6(typ byte, id, seq uint16) []byte {
	b := icmp6(typ, make([]byte, 16))
	binary.BigEndian.PutUint16(b[44:], id)
	binary.BigEndian.PutUint16(b[46:], seq)
	return b
}

func frame(k kind, dst wire.MAC) []byte {
	b := make([]byte, ethernetHeader, ethernetHeader+len(k.packet))
	wire.PutEthernet(b, &wire.Ethernet{Dst: dst, Src: injector, Type: k.ether})
	return append(b, k.packet...)
}

const ethernetHeader = 14

// injector is the sender's address of the frames that the tests make.
var injector = wire.MAC{2, 0, 0, 0, 0, 9}

func TestFilterInVM(t *testing.T) {
	for _, neighbor := range []bool{false, true} {
		vm := newVM(t, filter{ports: testRanges, neighbor: neighbor, snapLen: 96})
		for i, k := range kinds() {
			n, err := vm.Run(frame(k, wire.MAC{}))
			must(t, err)
			want := k.want && (neighbor || !k.only)
			if (n > 0) != want {
				t.Errorf("%d %s, neighbor %v: accepted %d octets, want accepted %v", i, k.name, neighbor, n, want)
			}
		}
	}
}

// newVM runs the filter with the header offset and the EtherType of Ethernet in place of the kernel's own, which x/net's
// machine lacks.
func newVM(t testing.TB, f filter) *bpf.VM {
	t.Helper()
	ins, err := f.instructions(ethernetHeader, bpf.LoadAbsolute{Off: 12, Size: 2})
	must(t, err)
	vm, err := bpf.NewVM(ins)
	must(t, err)
	return vm
}

func TestFilterFollowsTheRanges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		port := rapid.Uint16Range(1, 65535)
		ranges := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Ports {
			a, b := port.Draw(rt, "a"), port.Draw(rt, "b")
			return Ports{min(a, b), max(a, b)}
		}), 1, maxRanges).Draw(rt, "ranges")
		sport, dport := port.Draw(rt, "source"), port.Draw(rt, "destination")
		n, err := newVM(t, filter{ports: ranges, snapLen: 96}).Run(
			frame(kind{ether: wire.EtherIPv4, packet: segment(near4, far4, sport, dport)}, wire.MAC{}))
		if err != nil {
			rt.Fatal(err)
		}
		if want := containsAny(ranges, sport) || containsAny(ranges, dport); (n > 0) != want {
			rt.Fatalf("ranges %v, ports %d → %d: accepted %v, want %v", ranges, sport, dport, n > 0, want)
		}
	})
}

// TestFilterInKernel sends every kind from the peer and looks what its tap at our end is given: the program's loads
// relative to the network header and its protocol are then the kernel's own.
func TestFilterInKernel(t *testing.T) {
	for _, neighbor := range []bool{false, true} {
		t.Run(fmt.Sprintf("neighbor %v", neighbor), func(t *testing.T) {
			host := newPeer(t)
			c := openCapture(t, TapConfig{Ports: testRanges, Neighbor: neighbor, SnapLen: 60})
			all := kinds()
			for i := range all {
				all[i].want = all[i].want && (neighbor || !all[i].only)
			}
			all = append(all, kind{name: "end", ether: wire.EtherIPv4, packet: segment(far4, near4, 2000, 2001), want: true})
			host.inject(t, all)
			checkAccepted(t, c, all)
		})
	}
}

// checkAccepted compares what the tap is given with what of all it should accept, in order.
func checkAccepted(t *testing.T, c *capture, all []kind) {
	t.Helper()
	next := 0
	c.until(t, "end of the list", func(s *seen) bool {
		if s.Outgoing || len(s.Link) < 12 || wire.MAC(s.Link[6:12]) != injector {
			return false // the kernels' own neighbour discovery
		}
		for ; next < len(all); next++ {
			k := &all[next]
			same := s.EtherType == uint16(k.ether) && s.Len == len(k.packet) && bytes.HasPrefix(k.packet, s.Net)
			if same != k.want {
				t.Errorf("%d %s: accepted %v, want %v", next, k.name, same, k.want)
			}
			if same {
				if cut := min(s.Len, 60-ethernetHeader); len(s.Net) != cut || s.Cut() != (s.Len > cut) {
					t.Errorf("%d %s: %d of %d octets, cut %v", next, k.name, len(s.Net), s.Len, s.Cut())
				}
				next++
				return next == len(all)
			}
		}
		return true
	})
}
