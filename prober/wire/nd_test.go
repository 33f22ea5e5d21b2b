package wire_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestCapturedND(t *testing.T) {
	host, router := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:1::fe")
	table := map[string]wire.ND{
		"nd-solicitation-dad-with-nonce": {
			Kind: wire.NeighborSolicitation, Src: netip.IPv6Unspecified(), Dst: wire.SolicitedNode(host), Target: host,
		},
		"nd-solicitation-multicast": {
			Kind: wire.NeighborSolicitation, Src: host, Dst: wire.SolicitedNode(router), Target: router,
			Link: wire.MAC{2, 0, 0, 0, 10, 1}, HasLink: true,
		},
		"nd-advertisement-router": {
			Kind: wire.NeighborAdvertisement, Src: router, Dst: host, Target: router,
			Link: wire.MAC{2, 0, 0, 0, 10, 2}, HasLink: true, Router: true, Solicited: true, Override: true,
		},
		"nd-advertisement-without-link-address": {
			Kind: wire.NeighborAdvertisement, Src: host, Dst: netip.MustParseAddr("fe80::ff:fe00:a02"), Target: host, Solicited: true,
		},
	}
	for _, name := range packets(t, "nd") {
		t.Run(name, func(t *testing.T) {
			raw := packet(t, name)
			var got wire.ND
			if r := wire.ParseND(raw, &got); r != wire.ReasonNone {
				t.Fatal(r)
			}
			if diff := cmp.Diff(table[name], got, byValue()...); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if name == "nd-solicitation-dad-with-nonce" {
				return // the nonce is not kept
			}
			b := make([]byte, got.Size())
			if _, err := got.Encode(b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, raw) {
				t.Errorf("encoded:\n%x, captured:\n%x", b, raw)
			}
		})
	}
}

func nd(t *rapid.T) wire.ND {
	n := wire.ND{
		Kind: rapid.SampledFrom([]wire.NDKind{wire.NeighborSolicitation, wire.NeighborAdvertisement}).Draw(t, "kind"),
		Src:  netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"), Target: addr6(t, "target"),
		HasLink: rapid.Bool().Draw(t, "has link"),
	}
	if n.Target.IsMulticast() {
		n.Target = n.Dst
	}
	if n.HasLink {
		n.Link = wire.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "link"))
	}
	if n.Kind == wire.NeighborAdvertisement {
		n.Router, n.Solicited, n.Override = rapid.Bool().Draw(t, "R"), rapid.Bool().Draw(t, "S"), rapid.Bool().Draw(t, "O")
	}
	return n
}

func encodeND(t rapid.TB, n *wire.ND) []byte {
	b := make([]byte, n.Size())
	if _, err := n.Encode(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := nd(t)
		var got wire.ND
		if r := wire.ParseND(encodeND(t, &want), &got); r != wire.ReasonNone || got != want {
			t.Fatalf("%s: %+v, want %+v", r, got, want)
		}
	})
}

// resummed finishes the ICMPv6 checksum of b after an edit.
func resummed(b []byte) []byte {
	m := b[40:]
	m[2], m[3] = 0, 0
	pseudo := append(append([]byte(nil), b[8:40]...), 0, 0, byte(len(m)>>8), byte(len(m)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(m[2:], ^onesSum(append(pseudo, m...)))
	return b
}

func TestParseNDNamesTheRule(t *testing.T) {
	a, b := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
	ask := wire.ND{Kind: wire.NeighborSolicitation, Src: a, Dst: wire.SolicitedNode(b), Target: b, Link: wire.MAC{2}, HasLink: true}
	answer := wire.ND{Kind: wire.NeighborAdvertisement, Src: b, Dst: a, Target: b, Link: wire.MAC{2}, HasLink: true, Solicited: true}
	with := func(n wire.ND, edit func(n *wire.ND)) []byte { edit(&n); return encodeND(t, &n) }
	raw := func(edit func(b []byte) []byte) []byte { return edit(encodeND(t, &ask)) }
	for _, c := range []struct {
		name string
		b    []byte
		want wire.Reason
	}{
		{"solicitation", encodeND(t, &ask), wire.ReasonNone},
		{"advertisement", encodeND(t, &answer), wire.ReasonNone},
		{"unsolicited advertisement to all nodes", with(answer, func(n *wire.ND) {
			n.Dst, n.Solicited = netip.IPv6LinkLocalAllNodes(), false
		}), wire.ReasonNone},
		{"solicited advertisement to all nodes", with(answer, func(n *wire.ND) { n.Dst = netip.IPv6LinkLocalAllNodes() }), wire.ReasonNDAddress},
		{"hop limit 254: from beyond a router", raw(func(b []byte) []byte { b[7] = 254; return b }), wire.ReasonHopLimit},
		{"one bit wrong", raw(func(b []byte) []byte { b[70] ^= 1; return b }), wire.ReasonChecksum},
		{"code 1", raw(func(b []byte) []byte { b[41] = 1; return resummed(b) }), wire.ReasonICMPCode},
		{"about a multicast address", with(ask, func(n *wire.ND) { n.Target = netip.IPv6LinkLocalAllNodes() }), wire.ReasonNDTarget},
		{"DAD", with(ask, func(n *wire.ND) { n.Src, n.HasLink = netip.IPv6Unspecified(), false }), wire.ReasonNone},
		{"DAD with a link-layer address", with(ask, func(n *wire.ND) { n.Src = netip.IPv6Unspecified() }), wire.ReasonNDAddress},
		{"DAD by unicast", with(ask, func(n *wire.ND) { n.Src, n.Dst, n.HasLink = netip.IPv6Unspecified(), b, false }), wire.ReasonNDAddress},
		{"option of length 0", raw(func(b []byte) []byte { b[65] = 0; return resummed(b) }), wire.ReasonOptions},
		{"option past the end", raw(func(b []byte) []byte { b[65] = 2; return resummed(b) }), wire.ReasonOptions},
		{"one octet of an option", raw(func(b []byte) []byte { b[5] = 25; return resummed(b[:65]) }), wire.ReasonOptions},
		{"an option of another kind", raw(func(b []byte) []byte { b[64] = 14; return resummed(b) }), wire.ReasonNone},
		{"cut in the target", raw(func(b []byte) []byte { return b[:60] }), wire.ReasonShort},
		{"23 octets", raw(func(b []byte) []byte { b[5] = 23; return resummed(b[:63]) }), wire.ReasonShort},
		{"no ICMPv6 at all", raw(func(b []byte) []byte { b[5] = 0; return b[:40] }), wire.ReasonShort},
		{"router advertisement", raw(func(b []byte) []byte { b[40] = 134; return resummed(b) }), wire.ReasonICMPType},
		{"TCP", raw(func(b []byte) []byte { b[6] = 6; return b }), wire.ReasonProtocol},
		{"IPv4", encode(t, new(syn4())), wire.ReasonProtocol},
		{"in a fragment", raw(func(b []byte) []byte { return ext6(b, 44, 0, 0, 0, 1, 0, 0, 0, 0) }), wire.ReasonFragment},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n wire.ND
			if r := wire.ParseND(c.b, &n); r != c.want {
				t.Errorf("got %s, want %s", r, c.want)
			}
		})
	}
}

// Of two link-layer options the first counts, as in Linux (net/ipv6/ndisc.c ndisc_parse_options).
func TestNDTwoLinkOptions(t *testing.T) {
	a := netip.MustParseAddr("fe80::1")
	n := wire.ND{Kind: wire.NeighborSolicitation, Src: a, Dst: a, Target: a, Link: wire.MAC{2}, HasLink: true}
	b := append(encodeND(t, &n), 1, 1, 9, 9, 9, 9, 9, 9)
	b[5] += 8
	var got wire.ND
	if r := wire.ParseND(resummed(b), &got); r != wire.ReasonNone || got != n {
		t.Errorf("%s: %+v", r, got)
	}
}

func TestNDEncodeRefuses(t *testing.T) {
	a := netip.MustParseAddr("fe80::1")
	for name, n := range map[string]wire.ND{
		"no kind":     {Src: a, Dst: a, Target: a},
		"IPv4 target": {Kind: wire.NeighborSolicitation, Src: a, Dst: a, Target: netip.MustParseAddr("192.0.2.1")},
		"no source":   {Kind: wire.NeighborSolicitation, Dst: a, Target: a},
	} {
		if size, err := n.Encode(make([]byte, 100)); err == nil || size != 0 {
			t.Errorf("%s: %d octets, %v", name, size, err)
		}
	}
	n := wire.ND{Kind: wire.NeighborSolicitation, Src: a, Dst: a, Target: a}
	if _, err := n.Encode(make([]byte, 63)); err == nil {
		t.Error("a buffer one octet short was taken")
	}
}

func TestMulticastAddresses(t *testing.T) {
	if got := wire.SolicitedNode(netip.MustParseAddr("2001:db8::aabb:ccdd")).String(); got != "ff02::1:ffbb:ccdd" {
		t.Error(got)
	}
	for a, want := range map[string]string{
		"ff02::1:ffbb:ccdd": "33:33:ff:bb:cc:dd",
		"224.128.2.3":       "01:00:5e:00:02:03",
	} {
		if got, ok := wire.MulticastMAC(netip.MustParseAddr(a)); !ok || got.String() != want {
			t.Errorf("%s: %s, %t", a, got, ok)
		}
	}
	if _, ok := wire.MulticastMAC(netip.MustParseAddr("2001:db8::1")); ok {
		t.Error("a unicast address has a group MAC")
	}
}
