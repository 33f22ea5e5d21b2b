package wire_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func capturedICMP(from string, typ, code uint8, mtu uint32, quoted, dst string, seq wire.Seq) wire.ICMPError {
	f := wire.Flow{Src: netip.MustParseAddrPort(quoted), Dst: netip.MustParseAddrPort(dst)}
	return wire.ICMPError{
		From: netip.MustParseAddr(from), To: f.Src.Addr(), Type: typ, Code: code, MTU: mtu,
		Quoted: f, QuotedSeq: seq, HasSeq: true, V6: f.Src.Addr().Is6(), Checksum: wire.ChecksumGood,
	}
}

func TestCapturedICMPErrors(t *testing.T) {
	const a4, a6 = "192.0.2.1:", "[2001:db8:1::1]:"
	const b4, b6 = "198.51.100.2", "2001:db8:2::2"
	table := map[string]struct {
		name string
		want wire.ICMPError
	}{
		"icmp-port-unreachable":             {"port_unreachable", capturedICMP(b4, 3, 3, 0, a4+"40012", b4+":81", 1681018217)},
		"icmp-admin-prohibited":             {"admin_prohibited", capturedICMP(b4, 3, 13, 0, a4+"40013", b4+":82", 2732253657)},
		"icmp-ttl-exceeded":                 {"ttl_exceeded", capturedICMP("192.0.2.254", 11, 0, 0, a4+"40020", b4+":80", 4173078844)},
		"icmp-host-unreachable-arp-failed":  {"host_unreachable", capturedICMP("192.0.2.254", 3, 1, 0, a4+"40030", "198.51.100.77:80", 2554135739)},
		"icmp-frag-needed-mtu-1280":         {"frag_needed", capturedICMP("192.0.2.254", 3, 4, 1280, a4+"51372", b4+":80", 2634088868)},
		"icmpv6-port-unreachable":           {"port_unreachable", capturedICMP(b6, 1, 4, 0, a6+"41012", "["+b6+"]:81", 3276518136)},
		"icmpv6-admin-prohibited":           {"admin_prohibited", capturedICMP(b6, 1, 1, 0, a6+"41013", "["+b6+"]:82", 2230842306)},
		"icmpv6-ttl-exceeded":               {"ttl_exceeded", capturedICMP("2001:db8:1::fe", 3, 0, 0, a6+"41020", "["+b6+"]:80", 4203067272)},
		"icmpv6-host-unreachable-nd-failed": {"host_unreachable", capturedICMP("2001:db8:1::fe", 1, 3, 0, a6+"41030", "[2001:db8:2::77]:80", 4130095260)},
		"icmpv6-frag-needed-mtu-1280":       {"frag_needed", capturedICMP("2001:db8:1::fe", 2, 0, 1280, a6+"39986", "["+b6+"]:80", 2354271411)},
	}
	for _, name := range packets(t, "icmp") {
		t.Run(name, func(t *testing.T) {
			want, ok := table[name]
			if !ok {
				t.Fatal("not in the table")
			}
			var got wire.ICMPError
			if r := wire.ParseICMP(packet(t, name), &got); r != wire.ReasonNone {
				t.Fatal(r)
			}
			if diff := cmp.Diff(want.want, got, byValue()...); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Name() != want.name {
				t.Errorf("called %s, want %s", got.Name(), want.name)
			}
		})
	}
}

// onesSum is the folded one's-complement sum of b.
func onesSum(b []byte) uint16 {
	acc := 0
	for i, o := range b {
		acc += int(o) << (8 * (1 - i%2))
	}
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// icmp4 is an ICMP message from 203.0.113.1 that quotes q.
func icmp4(typ, code byte, rest uint32, q []byte) []byte {
	b := make([]byte, 28, 28+len(q))
	b[0], b[8], b[9] = 0x45, 64, 1
	copy(b[12:], []byte{203, 0, 113, 1, 192, 0, 2, 1})
	b[20], b[21] = typ, code
	binary.BigEndian.PutUint32(b[24:], rest)
	b = append(b, q...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[22:], ^onesSum(b[20:]))
	return rechecked(b)
}

// icmp6 is an ICMPv6 message from 2001:db8::fe that quotes q.
func icmp6(typ, code byte, rest uint32, q []byte) []byte {
	src, dst := netip.MustParseAddr("2001:db8::fe").As16(), netip.MustParseAddr("2001:db8::1").As16()
	m := make([]byte, 8, 8+len(q))
	m[0], m[1] = typ, code
	binary.BigEndian.PutUint32(m[4:], rest)
	m = append(m, q...)
	pseudo := append(append(append([]byte(nil), src[:]...), dst[:]...), 0, 0, byte(len(m)>>8), byte(len(m)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(m[2:], ^onesSum(append(pseudo, m...)))
	b := make([]byte, 40, 40+len(m))
	b[0], b[6], b[7] = 0x60, 58, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(m)))
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	return append(b, m...)
}

// What a router may do to the quote without making it useless, and what makes it useless.
func TestParseICMPQuotes(t *testing.T) {
	four, six := syn4(), syn6()
	q4 := func(edit func(q []byte) []byte) []byte { return icmp4(3, 1, 0, edit(encode(t, &four))) }
	q6 := func(edit func(q []byte) []byte) []byte { return icmp6(1, 3, 0, edit(encode(t, &six))) }
	for _, c := range []struct {
		name string
		b    []byte
		want wire.Reason
		seq  bool
	}{
		{"whole segment", q4(func(q []byte) []byte { return q }), wire.ReasonNone, true},
		{"8 octets of TCP", q4(func(q []byte) []byte { return q[:28] }), wire.ReasonNone, true},
		{"the ports only", q4(func(q []byte) []byte { return q[:24] }), wire.ReasonNone, false},
		{"7 octets of TCP", q4(func(q []byte) []byte { return q[:27] }), wire.ReasonNone, false},
		{"3 octets of TCP", q4(func(q []byte) []byte { return q[:23] }), wire.ReasonShort, false},
		{"no TCP at all", q4(func(q []byte) []byte { return q[:20] }), wire.ReasonShort, false},
		{"cut in the quoted header", q4(func(q []byte) []byte { return q[:19] }), wire.ReasonShort, false},
		{"nothing quoted", q4(func([]byte) []byte { return nil }), wire.ReasonShort, false},
		{"length, checksum and TTL mangled", q4(func(q []byte) []byte {
			q[2], q[3], q[8], q[10], q[11] = 60, 0, 0, 0, 0
			return q[:28]
		}), wire.ReasonNone, true},
		{"quoted IP options", q4(func(q []byte) []byte {
			out := append(append(append([]byte(nil), q[:20]...), 1, 1, 1, 0), q[20:]...)
			out[0] = 0x46
			return out
		}), wire.ReasonNone, true},
		{"quoted IHL of 8 octets", q4(func(q []byte) []byte { q[0] = 0x42; return q }), wire.ReasonHeaderLen, false},
		{"quoted IHL past the end", q4(func(q []byte) []byte { q[0] = 0x4f; return q[:40] }), wire.ReasonShort, false},
		{"quoted UDP", q4(func(q []byte) []byte { q[9] = 17; return q }), wire.ReasonNotQuoted, false},
		{"quoted first fragment", q4(func(q []byte) []byte { q[6] = 0x20; return q }), wire.ReasonNone, true},
		{"quoted later fragment", q4(func(q []byte) []byte { q[7] = 1; return q }), wire.ReasonNotQuoted, false},
		{"IPv6 quoted in ICMP", icmp4(3, 1, 0, encode(t, &six)), wire.ReasonNotQuoted, false},
		{"IPv6: whole segment", q6(func(q []byte) []byte { return q }), wire.ReasonNone, true},
		{"IPv6: 8 octets of TCP", q6(func(q []byte) []byte { return q[:48] }), wire.ReasonNone, true},
		{"IPv6: the ports only", q6(func(q []byte) []byte { return q[:44] }), wire.ReasonNone, false},
		{"IPv6: cut in the quoted header", q6(func(q []byte) []byte { return q[:39] }), wire.ReasonShort, false},
		{"IPv6: behind extension headers", q6(func(q []byte) []byte {
			return ext6(ext6(q, 60, make([]byte, 8)...), 0, make([]byte, 8)...)
		}), wire.ReasonNone, true},
		{"IPv6: cut in an extension header", q6(func(q []byte) []byte {
			return ext6(q, 0, append([]byte{0, 9}, make([]byte, 6)...)...)[:60]
		}), wire.ReasonShort, false},
		{"IPv6: quoted first fragment", q6(func(q []byte) []byte { return ext6(q, 44, 0, 0, 0, 1, 0, 0, 0, 0) }), wire.ReasonNone, true},
		{"IPv6: quoted later fragment", q6(func(q []byte) []byte { return ext6(q, 44, 0, 0, 0, 8, 0, 0, 0, 0) }), wire.ReasonNotQuoted, false},
		{"IPv4 quoted in ICMPv6", icmp6(1, 3, 0, encode(t, &four)), wire.ReasonNotQuoted, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := four.Flow()
			if c.b[0]>>4 == 6 {
				want = six.Flow()
			}
			var e wire.ICMPError
			if r := wire.ParseICMP(c.b, &e); r != c.want {
				t.Fatalf("got %s, want %s", r, c.want)
			}
			if c.want != wire.ReasonNone {
				return
			}
			if e.Quoted != want || e.HasSeq != c.seq || c.seq && e.QuotedSeq != 100 {
				t.Errorf("quoted %s seq %d (%t)", e.Quoted, e.QuotedSeq, e.HasSeq)
			}
		})
	}
}

func TestParseICMPNamesWhyNot(t *testing.T) {
	four, six := syn4(), syn6()
	good4, good6 := icmp4(3, 1, 0, encode(t, &four)), icmp6(1, 3, 0, encode(t, &six))
	edit := func(b []byte, at int, v byte) []byte { b = append([]byte(nil), b...); b[at] = v; return b }
	for _, c := range []struct {
		name string
		b    []byte
		want wire.Reason
	}{
		{"nothing", nil, wire.ReasonShort},
		{"a segment", encode(t, &four), wire.ReasonProtocol},
		{"ICMPv6 in IPv4", rechecked(edit(good4, 9, 58)), wire.ReasonProtocol},
		{"ICMP in IPv6", edit(good6, 6, 1), wire.ReasonProtocol},
		{"echo reply", icmp4(0, 0, 0, encode(t, &four)), wire.ReasonICMPType},
		{"timestamp request", icmp4(13, 0, 0, encode(t, &four)), wire.ReasonICMPType},
		{"router solicitation", icmp6(133, 0, 0, nil), wire.ReasonICMPType},
		{"ICMPv6 type 0", icmp6(0, 0, 0, nil), wire.ReasonICMPType},
		{"ICMPv6 type 5", icmp6(5, 0, 0, nil), wire.ReasonICMPType},
		{"one bit wrong", edit(good4, 21, good4[21]^2), wire.ReasonChecksum},
		{"one bit wrong IPv6", edit(good6, 41, good6[41]^2), wire.ReasonChecksum},
		{"ICMPv6 checksum without the pseudo-header", func() []byte {
			b := append([]byte(nil), good6...)
			b[42], b[43] = 0, 0
			binary.BigEndian.PutUint16(b[42:], ^onesSum(b[40:]))
			return b
		}(), wire.ReasonChecksum},
		{"a fragment", rechecked(edit(good4, 6, 0x20)), wire.ReasonFragment},
		{"7 octets of ICMP", good4[:27], wire.ReasonShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e wire.ICMPError
			if r := wire.ParseICMP(c.b, &e); r != c.want {
				t.Errorf("got %s, want %s", r, c.want)
			}
		})
	}
}

func TestParseICMPOfACutCapture(t *testing.T) {
	four := syn4()
	var e wire.ICMPError
	if r := wire.ParseICMP(icmp4(3, 3, 0, encode(t, &four))[:60], &e); r != wire.ReasonNone || e.Checksum != wire.ChecksumUnknown {
		t.Errorf("%s, checksum %s", r, e.Checksum)
	}
}

// The MTU is read from the two messages that have one, at its width there, and from no other.
func TestICMPMTU(t *testing.T) {
	four, six := encode(t, new(syn4())), encode(t, new(syn6()))
	for name, c := range map[string]struct {
		b    []byte
		want uint32
	}{
		"frag needed: the low 16 bits":  {icmp4(3, 4, 0xabcd<<16|1400, four), 1400},
		"frag needed from RFC 792 days": {icmp4(3, 4, 0, four), 0},
		"host unreachable":              {icmp4(3, 1, 1400, four), 0},
		"redirect: a gateway address":   {icmp4(5, 1, 0xc0000201, four), 0},
		"packet too big: 32 bits":       {icmp6(2, 0, 1<<20, six), 1 << 20},
		"ICMPv6 parameter problem":      {icmp6(4, 0, 40, six), 0},
	} {
		var e wire.ICMPError
		if r := wire.ParseICMP(c.b, &e); r != wire.ReasonNone || e.MTU != c.want {
			t.Errorf("%s: %s, MTU %d, want %d", name, r, e.MTU, c.want)
		}
	}
}

//go:fix inline

func TestICMPNames(t *testing.T) {
	for _, c := range []struct {
		v6         bool
		typ, code  uint8
		want, from string
	}{
		{false, 3, 0, "net_unreachable", "RFC 792"},
		{false, 3, 9, "net_prohibited", "RFC 1122"},
		{false, 3, 10, "host_prohibited", "RFC 1122"},
		{false, 3, 15, "precedence_cutoff", "RFC 1812"},
		{false, 3, 16, "icmp_3_16", "unassigned"},
		{false, 4, 0, "source_quench", "RFC 792"},
		{false, 5, 1, "redirect_host", "RFC 792"},
		{false, 11, 1, "reassembly_timeout", "RFC 792"},
		{false, 12, 0, "parameter_problem", "RFC 792"},
		{true, 1, 0, "net_unreachable", "RFC 4443 §3.1"},
		{true, 1, 3, "host_unreachable", "RFC 4443 §3.1"},
		{true, 1, 5, "source_policy", "RFC 4443 §3.1"},
		{true, 1, 6, "reject_route", "RFC 4443 §3.1"},
		{true, 2, 0, "frag_needed", "RFC 4443 §3.2"},
		{true, 3, 0, "ttl_exceeded", "RFC 4443 §3.3"},
		{true, 4, 1, "next_header_unknown", "RFC 4443 §3.4"},
		{true, 4, 77, "icmpv6_4_77", "unassigned"},
	} {
		e := wire.ICMPError{V6: c.v6, Type: c.typ, Code: c.code}
		if got := e.Name(); got != c.want {
			t.Errorf("type %d code %d, IPv6 %t: %s, want %s (%s)", c.typ, c.code, c.v6, got, c.want, c.from)
		}
	}
}

// Whatever segment is quoted, however short, its flow comes back.
func TestParseICMPReadsBackAnyFlow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := segment(t)
		q := encode(t, &s)
		head, build := 20, icmp4
		types := []byte{3, 4, 5, 11, 12}
		if s.Src.Addr().Is6() {
			head, build, types = 40, icmp6, []byte{1, 2, 3, 4}
		}
		q = q[:rapid.IntRange(head+8, len(q)).Draw(t, "quoted octets")]
		b := build(rapid.SampledFrom(types).Draw(t, "type"), rapid.Byte().Draw(t, "code"), rapid.Uint32().Draw(t, "rest"), q)
		var e wire.ICMPError
		if r := wire.ParseICMP(b, &e); r != wire.ReasonNone {
			t.Fatal(r)
		}
		if e.Quoted != s.Flow() || e.QuotedSeq != s.Seq || !e.HasSeq || e.Name() == "" {
			t.Fatalf("%+v of %s", e, &s)
		}
	})
}
