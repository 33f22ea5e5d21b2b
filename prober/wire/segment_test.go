package wire_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// What is encoded is read back whole, in both families.
func TestParseReadsWhatEncodeWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := segment(t)
		var got wire.Segment
		if r := wire.Parse(encode(t, &want), &got); r != wire.ReasonNone {
			t.Fatal(r)
		}
		want.Options = padded(want.Options)
		if diff := cmp.Diff(want, got, byValue()...); diff != "" {
			t.Fatalf("(-encoded +parsed):\n%s", diff)
		}
	})
}

func syn4() wire.Segment {
	return wire.Segment{
		Src: netip.MustParseAddrPort("192.0.2.1:40000"), Dst: netip.MustParseAddrPort("192.0.2.2:80"),
		Seq: 100, Flags: wire.SYN, Window: 64240, HopLimit: 64, DF: true, ID: 7, Options: wire.LinuxSYN(1460, 1000, 7),
	}
}

func syn6() wire.Segment {
	s := syn4()
	s.Src, s.Dst = netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:80")
	s.ID, s.FlowLabel, s.Options = 0, 0x12345, wire.LinuxSYN(1440, 1000, 7)
	return s
}

// rechecked finishes the IPv4 header checksum of b after an edit.
func rechecked(b []byte) []byte {
	b[10], b[11] = 0, 0
	var acc uint32
	for i := 0; i < int(b[0]&15)*4; i += 2 {
		acc += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	acc = acc>>16 + acc&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(acc>>16+acc))
	return b
}

// ext6 puts an extension header between the IPv6 header of b and the rest.
func ext6(b []byte, kind byte, header ...byte) []byte {
	header[0], b[6] = b[6], kind
	out := append(append(append([]byte(nil), b[:40]...), header...), b[40:]...)
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

func TestParseNamesWhyItIsNoSegment(t *testing.T) {
	four, six := syn4(), syn6()
	for _, c := range []struct {
		name string
		six  bool
		edit func(b []byte) []byte
		want wire.Reason
	}{
		{"untouched", false, func(b []byte) []byte { return b }, wire.ReasonNone},
		{"untouched IPv6", true, func(b []byte) []byte { return b }, wire.ReasonNone},
		{"nothing at all", false, func([]byte) []byte { return nil }, wire.ReasonShort},
		{"cut in the IPv4 header", false, func(b []byte) []byte { return b[:19] }, wire.ReasonShort},
		{"cut in the IPv6 header", true, func(b []byte) []byte { return b[:39] }, wire.ReasonShort},
		{"cut in the TCP header", false, func(b []byte) []byte { return b[:39] }, wire.ReasonShort},
		{"cut in the TCP options", false, func(b []byte) []byte { return b[:59] }, wire.ReasonShort},
		{"version 5", false, func(b []byte) []byte { b[0] = 0x55; return b }, wire.ReasonVersion},
		{"IHL of 16 octets", false, func(b []byte) []byte { b[0] = 0x44; return b }, wire.ReasonHeaderLen},
		{"IHL past the end", false, func(b []byte) []byte { b[0] = 0x4f; return b[:30] }, wire.ReasonShort},
		{"total length inside the header", false, func(b []byte) []byte { b[2], b[3] = 0, 19; return rechecked(b) }, wire.ReasonTotalLength},
		{"total length inside the TCP header", false, func(b []byte) []byte { b[3] = 39; return rechecked(b) }, wire.ReasonTotalLength},
		{"payload length inside the TCP header", true, func(b []byte) []byte { b[5] = 19; return b }, wire.ReasonTotalLength},
		{"one bit wrong in the IPv4 header", false, func(b []byte) []byte { b[8] ^= 1; return b }, wire.ReasonHeaderChecksum},
		{"UDP", false, func(b []byte) []byte { b[9] = 17; return rechecked(b) }, wire.ReasonProtocol},
		{"first fragment", false, func(b []byte) []byte { b[6] = 0x20; return rechecked(b) }, wire.ReasonFragment},
		{"later fragment", false, func(b []byte) []byte { b[7] = 1; return rechecked(b) }, wire.ReasonFragment},
		{"data offset of 16 octets", false, func(b []byte) []byte { b[32] = 0x40; return b }, wire.ReasonHeaderLen},
		{"data offset past the IP length", false, func(b []byte) []byte { b[32] = 0xf0; return b }, wire.ReasonHeaderLen},
		{"option length 0", false, func(b []byte) []byte { b[41] = 0; return b }, wire.ReasonOptions},
		{"option longer than the header", false, func(b []byte) []byte { b[58] = 9; return b }, wire.ReasonOptions},
		{"MSS of one octet", false, func(b []byte) []byte { b[41] = 3; return b }, wire.ReasonOptions},
		{"hop-by-hop before TCP", true, func(b []byte) []byte { return ext6(b, 0, make([]byte, 8)...) }, wire.ReasonNone},
		{"destination options of 16 octets", true, func(b []byte) []byte {
			return ext6(b, 60, append([]byte{0, 1}, make([]byte, 14)...)...)
		}, wire.ReasonNone},
		{"atomic fragment", true, func(b []byte) []byte { return ext6(b, 44, make([]byte, 8)...) }, wire.ReasonNone},
		{"first fragment IPv6", true, func(b []byte) []byte { return ext6(b, 44, 0, 0, 0, 1, 0, 0, 0, 0) }, wire.ReasonFragment},
		{"later fragment that begins like an extension header", true, func(b []byte) []byte {
			b[6] = 0 // the fragment header will say: hop-by-hop follows, which here is but data
			return ext6(b, 44, 0, 0, 0, 8, 0, 0, 0, 0)
		}, wire.ReasonProtocol},
		{"later fragment IPv6", true, func(b []byte) []byte { return ext6(b, 44, 0, 0, 0, 8, 0, 0, 0, 0) }, wire.ReasonFragment},
		{"extension header cut by the IP length", true, func(b []byte) []byte {
			b = ext6(b, 0, append([]byte{0, 200}, make([]byte, 6)...)...)
			return b
		}, wire.ReasonTotalLength},
		{"no room for an extension header", true, func(b []byte) []byte { b[5], b[6] = 4, 0; return b }, wire.ReasonTotalLength},
		{"extension header cut by the capture", true, func(b []byte) []byte {
			return ext6(b, 0, make([]byte, 8)...)[:45]
		}, wire.ReasonShort},
		{"no next header", true, func(b []byte) []byte { b[6] = 59; return b }, wire.ReasonProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &four
			if c.six {
				s = &six
			}
			var got wire.Segment
			if r := wire.Parse(c.edit(encode(t, s)), &got); r != c.want {
				t.Errorf("got %s, want %s", r, c.want)
			}
		})
	}
}

// Linux takes a segment whose options it cannot read, so the caller must be able to.
func TestMalformedOptionsLeaveTheSegmentReadable(t *testing.T) {
	s := syn4()
	b := encode(t, &s)
	b[45] = 0 // the length octet of SACK-permitted, after MSS
	var got wire.Segment
	if r := wire.Parse(b, &got); r != wire.ReasonOptions {
		t.Fatalf("got %s, want %s", r, wire.ReasonOptions)
	}
	if mss, ok := got.Options.MSS(); !ok || mss != 1460 {
		t.Errorf("MSS before the fault: %d, %t", mss, ok)
	}
	if _, _, ok := got.Options.Timestamps(); ok {
		t.Error("timestamps after the fault were read")
	}
	if got.Flow() != s.Flow() || got.Seq != s.Seq || got.Flags != s.Flags || got.Checksum != wire.ChecksumBad {
		t.Errorf("segment: %s", &got)
	}
}

// Ethernet pads short frames: what follows the IP length is no payload.
func TestParseIgnoresPadding(t *testing.T) {
	s := syn4()
	s.Flags, s.Options = wire.RST, wire.Options{}
	var got wire.Segment
	if r := wire.Parse(append(encode(t, &s), 1, 2, 3, 4, 5, 6), &got); r != wire.ReasonNone {
		t.Fatal(r)
	}
	if got.Length != 0 || len(got.Payload) != 0 || got.Checksum != wire.ChecksumGood {
		t.Errorf("length %d, %d octets of payload, checksum %s", got.Length, len(got.Payload), got.Checksum)
	}
}

// A ring that keeps the first octets only must not make a segment look short or corrupt.
func TestParseOfACutCapture(t *testing.T) {
	s := syn4()
	s.Payload = make([]byte, 1000)
	var got wire.Segment
	if r := wire.Parse(encode(t, &s)[:96], &got); r != wire.ReasonNone {
		t.Fatal(r)
	}
	if got.Length != 1000 || got.Checksum != wire.ChecksumUnknown || got.End() != s.Seq+1001 {
		t.Errorf("length %d, checksum %s, end %d", got.Length, got.Checksum, got.End())
	}
}

func TestChecksumStates(t *testing.T) {
	for _, s := range []wire.Segment{syn4(), syn6()} {
		b := encode(t, &s)
		at := len(b) - 40 + 16
		read := func() wire.Checksum {
			var got wire.Segment
			if r := wire.Parse(b, &got); r != wire.ReasonNone {
				t.Fatal(r)
			}
			return got.Checksum
		}
		if c := read(); c != wire.ChecksumGood {
			t.Errorf("finished: %s", c)
		}
		binary.BigEndian.PutUint16(b[at:], pseudo(&s, 40))
		if c := read(); c != wire.ChecksumPartial {
			t.Errorf("pseudo-header sum only: %s", c)
		}
		binary.BigEndian.PutUint16(b[at:], pseudo(&s, 40)+1)
		if c := read(); c != wire.ChecksumBad {
			t.Errorf("one more than the pseudo-header sum: %s", c)
		}
	}
}

// pseudo is the folded pseudo-header sum, worked out octet by octet.
func pseudo(s *wire.Segment, length int) uint16 {
	acc := 6 + length
	for _, a := range [][]byte{s.Src.Addr().AsSlice(), s.Dst.Addr().AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			acc += int(a[i])<<8 | int(a[i+1])
		}
	}
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// The one ambiguity: a window chosen so that the unfinished checksum is the finished one reads good.
func TestPartialChecksumThatEqualsTheFinishedOne(t *testing.T) {
	s := syn4()
	met := 0
	for w := range 1 << 16 {
		s.Window = uint16(w)
		b := encode(t, &s)
		if binary.BigEndian.Uint16(b[36:]) != pseudo(&s, 40) {
			continue
		}
		met++
		var got wire.Segment
		if r := wire.Parse(b, &got); r != wire.ReasonNone || got.Checksum != wire.ChecksumGood {
			t.Errorf("window %d: %s, checksum %s", w, r, got.Checksum)
		}
	}
	if met == 0 {
		t.Error("no window makes the two meet")
	}
}

// With a source route the checksum covers the final destination, which the header does not show.
func TestRoutingHeaderLeavesTheChecksumUnknown(t *testing.T) {
	s := syn6()
	for left, want := range map[byte]wire.Checksum{0: wire.ChecksumGood, 1: wire.ChecksumUnknown} {
		var got wire.Segment
		b := ext6(encode(t, &s), 43, 0, 0, 2, left, 0, 0, 0, 0)
		if r := wire.Parse(b, &got); r != wire.ReasonNone || got.Checksum != want {
			t.Errorf("%d segments left: %s, checksum %s, want %s", left, r, got.Checksum, want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	mixed := syn4()
	mixed.Dst = syn6().Dst
	unset := syn4()
	unset.Src = netip.AddrPort{}
	huge := syn4()
	huge.Payload = make([]byte, 1<<16)
	for name, s := range map[string]*wire.Segment{"two families": &mixed, "no source": &unset, "65,536 octets": &huge} {
		if n, err := s.Encode(make([]byte, 1<<17)); err == nil || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	s := syn4()
	if _, err := s.Encode(make([]byte, s.Size()-1)); err == nil {
		t.Error("a buffer one octet short was taken")
	}
}

func TestEndCountsSYNAndFIN(t *testing.T) {
	for flags, want := range map[wire.Flags]wire.Seq{
		wire.ACK: 3, wire.SYN: 4, wire.FIN | wire.ACK: 4, wire.SYN | wire.FIN: 5, wire.RST: 3,
	} {
		s := wire.Segment{Seq: 1<<32 - 2, Flags: flags, Payload: make([]byte, 5)}
		if got := s.End(); got != want {
			t.Errorf("%s with 5 octets from 2³²−2: end %d, want %d", flags, got, want)
		}
	}
}

func TestReasonsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{wire.ReasonNone.String(): true}
	for _, r := range wire.Reasons() {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d is called %q", r, r)
		}
		seen[r.String()] = true
	}
	if got := wire.Reason(200).String(); got != "reason(200)" {
		t.Error(got)
	}
}
