package wire_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestParseEthernet(t *testing.T) {
	const to, from = "\xff\xff\xff\xff\xff\xff", "\x02\x00\x00\x00\x0a\x01"
	frame := func(rest string) []byte { return []byte(to + from + rest) }
	for _, c := range []struct {
		name  string
		b     []byte
		want  wire.Reason
		typ   wire.EtherType
		vlans []uint16
		rest  string
	}{
		{"IPv4", frame("\x08\x00payload"), wire.ReasonNone, wire.EtherIPv4, nil, "payload"},
		{"ARP without payload", frame("\x08\x06"), wire.ReasonNone, wire.EtherARP, nil, ""},
		{"802.1Q, VLAN 42, priority 3", frame("\x81\x00\x60\x2a\x86\xddpayload"), wire.ReasonNone, wire.EtherIPv6, []uint16{42}, "payload"},
		{"QinQ", frame("\x88\xa8\x00\x64\x81\x00\x00\x2a\x08\x00x"), wire.ReasonNone, wire.EtherIPv4, []uint16{100, 42}, "x"},
		{"QinQ of old", frame("\x91\x00\x00\x64\x81\x00\x00\x2a\x08\x00x"), wire.ReasonNone, wire.EtherIPv4, []uint16{100, 42}, "x"},
		{"three tags", frame("\x81\x00\x00\x01\x81\x00\x00\x02\x81\x00\x00\x03\x08\x00"), wire.ReasonVLAN, 0, nil, ""},
		{"cut in the addresses", frame("")[:11], wire.ReasonShort, 0, nil, ""},
		{"cut in the type", frame("\x08"), wire.ReasonShort, 0, nil, ""},
		{"cut in the tag", frame("\x81\x00\x00"), wire.ReasonShort, 0, nil, ""},
		{"cut behind the tag", frame("\x81\x00\x00\x01\x08"), wire.ReasonShort, 0, nil, ""},
		{"802.3 with a length, spanning tree", frame("\x00\x26\x42\x42\x03"), wire.ReasonEtherType, 0, nil, ""},
		{"802.3 with a length behind a tag", frame("\x81\x00\x00\x01\x05\xff"), wire.ReasonEtherType, 0, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, rest, r := wire.ParseEthernet(c.b)
			if r != c.want {
				t.Fatalf("got %s, want %s", r, c.want)
			}
			if r != wire.ReasonNone {
				return
			}
			if e.Type != c.typ || string(rest) != c.rest || int(e.Tagged) != len(c.vlans) {
				t.Errorf("%+v, rest %q", e, rest)
			}
			for i, v := range c.vlans {
				if e.Tags[i].VLAN() != v {
					t.Errorf("tag %d: VLAN %d, want %d", i, e.Tags[i].VLAN(), v)
				}
			}
		})
	}
}

func TestCapturedFrame(t *testing.T) {
	e, rest, r := wire.ParseEthernet(packet(t, "frame-ethernet-ipv4"))
	if r != wire.ReasonNone || e.Src.String() != "02:00:00:00:0a:01" || e.Dst.String() != "02:00:00:00:0a:02" {
		t.Fatalf("%s: %s > %s", r, e.Src, e.Dst)
	}
	if !bytes.Equal(rest, packet(t, "syn-ipv4-veth")) {
		t.Error("payload is not the captured SYN")
	}
}

func ethernet(t *rapid.T) wire.Ethernet {
	mac := func(label string) wire.MAC { return wire.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, label)) }
	e := wire.Ethernet{Dst: mac("dst"), Src: mac("src"), Tagged: uint8(rapid.IntRange(0, 2).Draw(t, "tags"))}
	for i := range e.Tagged {
		e.Tags[i] = wire.Tag{
			Type: rapid.SampledFrom([]wire.EtherType{wire.TagC, wire.TagS, wire.TagOld}).Draw(t, "tag type"),
			TCI:  rapid.Uint16().Draw(t, "TCI"),
		}
	}
	e.Type = rapid.SampledFrom([]wire.EtherType{wire.EtherIPv4, wire.EtherIPv6, wire.EtherARP, 0x0600, 0xffff}).Draw(t, "type")
	return e
}

func TestEthernetRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ethernet(t)
		b := append(make([]byte, want.Size()), "payload"...)
		if n := wire.PutEthernet(b, &want); n != want.Size() {
			t.Fatalf("%d octets, want %d", n, want.Size())
		}
		got, rest, r := wire.ParseEthernet(b)
		if r != wire.ReasonNone || got != want || string(rest) != "payload" {
			t.Fatalf("%s: %+v, rest %q; want %+v", r, got, rest, want)
		}
		if n := wire.PutEthernet(b[:want.Size()-1], &want); n != 0 {
			t.Fatalf("%d octets in a buffer one short", n)
		}
		back, err := wire.ParseMAC(want.Src.String())
		if err != nil || back != want.Src {
			t.Fatalf("%s became %s, %v", want.Src, back, err)
		}
	})
}

func TestParseMAC(t *testing.T) {
	want := wire.MAC{0x02, 0xab, 0xcd, 0xef, 0x00, 0x19}
	for _, s := range []string{"02:ab:cd:ef:00:19", "02:AB:CD:EF:00:19", "02-ab-cd-ef-00-19"} {
		if m, err := wire.ParseMAC(s); err != nil || m != want {
			t.Errorf("%s: %s, %v", s, m, err)
		}
	}
	for _, s := range []string{
		"", "02:ab:cd:ef:00", "02:ab:cd:ef:00:19:20", "02:ab:cd:ef:00:1g", "02:ab-cd:ef:00:19", "02.ab.cd.ef.00.19", "02ab.cdef.0019",
		" 2:ab:cd:ef:00:19", "02:ab:cd:ef:00:19\n",
	} {
		if m, err := wire.ParseMAC(s); err == nil || m != (wire.MAC{}) {
			t.Errorf("%q was taken as %s", s, m)
		}
	}
}

func TestMACKinds(t *testing.T) {
	for _, c := range []struct {
		mac                  wire.MAC
		broadcast, multicast bool
	}{
		{wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true, true},
		{wire.MAC{0x33, 0x33, 0, 0, 0, 1}, false, true},
		{wire.MAC{0x02, 0xff, 0xff, 0xff, 0xff, 0xff}, false, false},
	} {
		if c.mac.IsBroadcast() != c.broadcast || c.mac.IsMulticast() != c.multicast {
			t.Errorf("%s: broadcast %t, multicast %t", c.mac, c.mac.IsBroadcast(), c.mac.IsMulticast())
		}
	}
}
