package wire_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// What we encode, gopacket decodes to the same fields, and its own serialiser gives the same octets, checksums included.
func TestGopacketReadsWhatWeEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := segment(t)
		s.Options = padded(s.Options)
		ours := encode(t, &s)
		first := layers.LayerTypeIPv4
		if s.Src.Addr().Is6() {
			first = layers.LayerTypeIPv6
		}
		p := gopacket.NewPacket(ours, first, gopacket.NoCopy)
		if e := p.ErrorLayer(); e != nil {
			t.Fatalf("%s: %v", &s, e.Error())
		}
		tcp, ok := p.TransportLayer().(*layers.TCP)
		if !ok {
			t.Fatalf("%s: no TCP layer in %s", &s, p)
		}
		compareTCP(t, &s, tcp)
		compareIP(t, &s, p.NetworkLayer())

		theirs := serialize(t, network(&s), transport(&s), gopacket.Payload(s.Payload))
		if !bytes.Equal(ours, theirs) {
			t.Fatalf("%s:\nours   %x\ntheirs %x", &s, ours, theirs)
		}
	})
}

// What gopacket serialises, we decode to the same fields, with a good checksum.
func TestWeReadWhatGopacketSerializes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := segment(t)
		want.Options = padded(want.Options)
		b := serialize(t, network(&want), transport(&want), gopacket.Payload(want.Payload))
		var got wire.Segment
		if r := wire.Parse(b, &got); r != wire.ReasonNone {
			t.Fatalf("%s: %s", &want, r)
		}
		if got.String() != want.String() || !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("\ngot  %s\nwant %s", &got, &want)
		}
	})
}

func serialize(t rapid.TB, ls ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	if n, ok := ls[0].(gopacket.NetworkLayer); ok {
		switch l := ls[1].(type) {
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(n) // only fails for a layer that is no network layer
		case *layers.ICMPv6:
			_ = l.SetNetworkLayerForChecksum(n)
		}
	}
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func network(s *wire.Segment) gopacket.SerializableLayer {
	src, dst := net.IP(s.Src.Addr().AsSlice()), net.IP(s.Dst.Addr().AsSlice())
	if s.Src.Addr().Is6() {
		return &layers.IPv6{
			Version: 6, TrafficClass: s.ToS, FlowLabel: s.FlowLabel, NextHeader: layers.IPProtocolTCP, HopLimit: s.HopLimit,
			SrcIP: src, DstIP: dst,
		}
	}
	ip := &layers.IPv4{
		Version: 4, IHL: 5, TOS: s.ToS, Id: s.ID, TTL: s.HopLimit, Protocol: layers.IPProtocolTCP, SrcIP: src, DstIP: dst,
	}
	if s.DF {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

func transport(s *wire.Segment) *layers.TCP {
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(s.Src.Port()), DstPort: layers.TCPPort(s.Dst.Port()), Seq: uint32(s.Seq), Ack: uint32(s.Ack),
		Window: s.Window, Urgent: s.Urgent,
		FIN: s.Flags.Has(wire.FIN), SYN: s.Flags.Has(wire.SYN), RST: s.Flags.Has(wire.RST), PSH: s.Flags.Has(wire.PSH),
		ACK: s.Flags.Has(wire.ACK), URG: s.Flags.Has(wire.URG), ECE: s.Flags.Has(wire.ECE), CWR: s.Flags.Has(wire.CWR),
		NS: s.Flags.Has(wire.AE), // the bit's name before RFC 8311 freed it
	}
	for o := range s.Options.All() {
		tcp.Options = append(tcp.Options, layers.TCPOption{
			OptionType: layers.TCPOptionKind(o.Kind), OptionLength: uint8(2 + len(o.Data)), OptionData: o.Data,
		})
	}
	return tcp
}

func compareTCP(t *rapid.T, s *wire.Segment, got *layers.TCP) {
	want := transport(s)
	if got.SrcPort != want.SrcPort || got.DstPort != want.DstPort || got.Seq != want.Seq || got.Ack != want.Ack ||
		got.Window != want.Window || got.Urgent != want.Urgent || !bytes.Equal(got.Payload, s.Payload) {
		t.Fatalf("%s: gopacket reads %+v", s, got)
	}
	for i, pair := range [][2]bool{
		{got.FIN, want.FIN}, {got.SYN, want.SYN}, {got.RST, want.RST}, {got.PSH, want.PSH}, {got.ACK, want.ACK},
		{got.URG, want.URG}, {got.ECE, want.ECE}, {got.CWR, want.CWR}, {got.NS, want.NS},
	} {
		if pair[0] != pair[1] {
			t.Fatalf("%s: flag bit %d: gopacket reads %t", s, i, pair[0])
		}
	}
	options := got.Options
	for i, o := range want.Options {
		if i >= len(options) || options[i].OptionType != o.OptionType || !bytes.Equal(options[i].OptionData, o.OptionData) {
			t.Fatalf("%s: option %d: gopacket reads %v", s, i, options)
		}
	}
}

func compareIP(t *rapid.T, s *wire.Segment, l gopacket.NetworkLayer) {
	switch ip := l.(type) {
	case *layers.IPv4:
		if addr(ip.SrcIP) != s.Src.Addr() || addr(ip.DstIP) != s.Dst.Addr() || ip.TTL != s.HopLimit || ip.TOS != s.ToS ||
			ip.Id != s.ID || (ip.Flags == layers.IPv4DontFragment) != s.DF {
			t.Fatalf("%s: gopacket reads %+v", s, ip)
		}
	case *layers.IPv6:
		if addr(ip.SrcIP) != s.Src.Addr() || addr(ip.DstIP) != s.Dst.Addr() || ip.HopLimit != s.HopLimit ||
			ip.TrafficClass != s.ToS || ip.FlowLabel != s.FlowLabel {
			t.Fatalf("%s: gopacket reads %+v", s, ip)
		}
	}
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}

// ICMP errors of both versions as gopacket makes them.
func TestWeReadGopacketsICMP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := segment(t)
		quoted := gopacket.Payload(encode(t, &s))
		router := segment(t)
		router.Src = addrPort(s.Dst, 0)
		router.Dst = addrPort(s.Src, 0)
		router.Payload = nil
		code := rapid.Byte().Draw(t, "code")
		var b []byte
		switch ip := network(&router).(type) {
		case *layers.IPv4:
			ip.Protocol = layers.IPProtocolICMPv4
			b = serialize(t, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, code), Seq: 1400}, quoted)
		case *layers.IPv6:
			ip.NextHeader = layers.IPProtocolICMPv6
			mtu := gopacket.Payload(append(binary.BigEndian.AppendUint32(nil, 1400), quoted...))
			b = serialize(t, ip, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(2, code)}, mtu)
		}
		var e wire.ICMPError
		if r := wire.ParseICMP(b, &e); r != wire.ReasonNone {
			t.Fatal(r)
		}
		if e.Quoted != s.Flow() || e.QuotedSeq != s.Seq || e.From != s.Dst.Addr() || e.To != s.Src.Addr() || e.Code != code ||
			(e.MTU == 1400) != (e.V6 || code == 4) {
			t.Fatalf("%+v of %s", e, &s)
		}
	})
}

// Neighbor Discovery both ways.
func TestNDAgainstGopacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := nd(t)
		ours := encodeND(t, &want)
		ip := &layers.IPv6{
			Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255, SrcIP: want.Src.AsSlice(), DstIP: want.Dst.AsSlice(),
		}
		typ, opt := uint8(135), layers.ICMPv6OptSourceAddress
		var flags uint8
		if want.Kind == wire.NeighborAdvertisement {
			typ, opt = 136, layers.ICMPv6OptTargetAddress
			for bit, set := range map[uint8]bool{0x80: want.Router, 0x40: want.Solicited, 0x20: want.Override} {
				if set {
					flags |= bit
				}
			}
		}
		body := append([]byte{flags, 0, 0, 0}, want.Target.AsSlice()...)
		if want.HasLink {
			body = append(append(body, byte(opt), 1), want.Link[:]...)
		}
		theirs := serialize(t, ip, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}, gopacket.Payload(body))
		if !bytes.Equal(ours, theirs) {
			t.Fatalf("%+v:\nours   %x\ntheirs %x", want, ours, theirs)
		}
		p := gopacket.NewPacket(ours, layers.LayerTypeIPv6, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Fatal(e.Error())
		}
		switch l := p.Layers()[len(p.Layers())-1].(type) {
		case *layers.ICMPv6NeighborSolicitation:
			if want.Kind != wire.NeighborSolicitation || addr(l.TargetAddress) != want.Target || (len(l.Options) == 1) != want.HasLink {
				t.Fatalf("%+v: gopacket reads %+v", want, l)
			}
		case *layers.ICMPv6NeighborAdvertisement:
			if want.Kind != wire.NeighborAdvertisement || addr(l.TargetAddress) != want.Target || l.Flags != flags {
				t.Fatalf("%+v: gopacket reads %+v", want, l)
			}
		default:
			t.Fatalf("%+v: gopacket reads %s", want, p)
		}
	})
}

// Ethernet with up to two tags both ways.
func TestEthernetAgainstGopacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ethernet(t)
		types := []layers.EthernetType{layers.EthernetType(want.Type)}
		ls := []gopacket.SerializableLayer{}
		for i := int(want.Tagged) - 1; i >= 0; i-- {
			tag := want.Tags[i]
			ls = append([]gopacket.SerializableLayer{&layers.Dot1Q{
				Priority: tag.Priority(), DropEligible: tag.TCI&0x1000 != 0, VLANIdentifier: tag.VLAN(), Type: types[0],
			}}, ls...)
			types = append([]layers.EthernetType{layers.EthernetType(tag.Type)}, types...)
		}
		ls = append([]gopacket.SerializableLayer{&layers.Ethernet{DstMAC: want.Dst[:], SrcMAC: want.Src[:], EthernetType: types[0]}}, ls...)
		payload := bytes.Repeat([]byte{7}, 60) // no padding is added
		theirs := serialize(t, append(ls, gopacket.Payload(payload))...)
		ours := append(make([]byte, want.Size()), payload...)
		wire.PutEthernet(ours, &want)
		if !bytes.Equal(ours, theirs) {
			t.Fatalf("%+v:\nours   %x\ntheirs %x", want, ours, theirs)
		}
	})
}
