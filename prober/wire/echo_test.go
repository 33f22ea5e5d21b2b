package wire_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func echoOf(v6, reply bool, payload []byte) wire.Echo {
	e := wire.Echo{Src: netip.MustParseAddr("192.0.2.10"), Dst: netip.MustParseAddr("192.0.2.80"), Reply: reply, ID: 0xbeef, Seq: 7, HopLimit: 64, Payload: payload}
	if v6 {
		e.Src, e.Dst = netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("2001:db8::80")
	}
	return e
}

func encodeEcho(t testing.TB, e *wire.Echo) []byte {
	t.Helper()
	b := make([]byte, e.Size())
	if _, err := e.Encode(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// What is encoded reads back as it was, and another codec reads the same.
func TestEchoRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v6 := rapid.Bool().Draw(rt, "v6")
		want := echoOf(v6, rapid.Bool().Draw(rt, "reply"), rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(rt, "payload"))
		want.ID, want.Seq = rapid.Uint16().Draw(rt, "id"), rapid.Uint16().Draw(rt, "seq")
		b := encodeEcho(t, &want)
		var got wire.Echo
		if r := wire.ParseEcho(b, &got); r != wire.ReasonNone {
			rt.Fatalf("reason %s", r)
		}
		want.Checksum = wire.ChecksumGood
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })); d != "" {
			rt.Fatal(d)
		}
		if id, seq := oracleEcho(b, v6); id != want.ID || seq != want.Seq {
			rt.Fatalf("another codec reads id %d seq %d", id, seq)
		}
	})
}

func oracleEcho(b []byte, v6 bool) (id, seq uint16) {
	if v6 {
		p := gopacket.NewPacket(b, layers.LayerTypeIPv6, gopacket.Default)
		if l, ok := p.Layer(layers.LayerTypeICMPv6Echo).(*layers.ICMPv6Echo); ok {
			return l.Identifier, l.SeqNumber
		}
		return 0, 0
	}
	p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default)
	if l, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return l.Id, l.Seq
	}
	return 0, 0
}

func TestEchoRefused(t *testing.T) {
	four, six := echoOf(false, true, []byte("0123456789abcdef")), echoOf(true, true, []byte("0123456789abcdef"))
	for _, c := range []struct {
		name   string
		packet func() []byte
		want   wire.Reason
	}{
		{"an octet of the payload changed", func() []byte { b := encodeEcho(t, &four); b[len(b)-1] ^= 1; return b }, wire.ReasonChecksum},
		{"an octet of the IPv6 source changed", func() []byte { b := encodeEcho(t, &six); b[23] ^= 1; return b }, wire.ReasonChecksum},
		{"a code that echo does not have", func() []byte { b := encodeEcho(t, &four); b[21] = 1; return b }, wire.ReasonICMPCode},
		{"an ICMP error", func() []byte { b := encodeEcho(t, &four); b[20] = 3; return b }, wire.ReasonICMPType},
		{"TCP", func() []byte { b := encodeEcho(t, &six); b[6] = 6; return b }, wire.ReasonProtocol},
		{"cut in the ICMP header", func() []byte { return encodeEcho(t, &four)[:26] }, wire.ReasonShort},
		{"nothing", func() []byte { return nil }, wire.ReasonShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e wire.Echo
			if got := wire.ParseEcho(c.packet(), &e); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEchoNotEncoded(t *testing.T) {
	mixed := echoOf(false, false, nil)
	mixed.Dst = netip.MustParseAddr("2001:db8::80")
	if n, err := mixed.Encode(make([]byte, 100)); err == nil {
		t.Errorf("two families: %d octets, no error", n)
	}
	four := echoOf(false, false, nil)
	if _, err := four.Encode(make([]byte, four.Size()-1)); err == nil {
		t.Error("a buffer too small: no error")
	}
}

// ParseEcho never panics, and what it takes encodes to a packet that it takes for the same.
func FuzzParseEcho(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		for _, reply := range []bool{false, true} {
			e := echoOf(v6, reply, []byte("0123456789abcdef"))
			f.Add(encodeEcho(f, &e))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, back wire.Echo
		if wire.ParseEcho(mended(b), &e) != wire.ReasonNone {
			return
		}
		if r := wire.ParseEcho(encodeEcho(t, &e), &back); r != wire.ReasonNone || back.ID != e.ID || back.Seq != e.Seq || string(back.Payload) != string(e.Payload) {
			t.Fatalf("%+v comes back as %+v (%s)", e, back, r)
		}
	})
}
