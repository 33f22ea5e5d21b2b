package wire

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// The headers of a segment are all of it but its payload, whatever its options, its family and how much of it was captured.
func TestHeadersAreAllButThePayload(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSegment(t)
		s.Payload = rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "payload")
		b := make([]byte, s.Size())
		n, err := s.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		want := n - len(s.Payload)
		padded := append(b[:n:n], make([]byte, rapid.IntRange(0, 8).Draw(t, "padding"))...)
		if got := HeadersLen(padded); got != want {
			t.Fatalf("%d octets of %d, want %d", got, n, want)
		}
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		if got := HeadersLen(b[:cut:cut]); got > min(cut, want) {
			t.Fatalf("%d octets of %d that were captured", got, cut)
		}
	})
}

func drawSegment(t *rapid.T) Segment {
	s := Segment{Src: netip.MustParseAddrPort("192.0.2.1:61000"), Dst: netip.MustParseAddrPort("192.0.2.2:80"), Flags: SYN, HopLimit: 64}
	if rapid.Bool().Draw(t, "v6") {
		s.Src, s.Dst = netip.MustParseAddrPort("[2001:db8::1]:61000"), netip.MustParseAddrPort("[2001:db8::2]:80")
	}
	if rapid.Bool().Draw(t, "options") {
		s.Options = LinuxSYN(1460, 7, 7)
	}
	return s
}

// In an ICMP error the quoted segment's payload is left out; other messages and protocols keep no payload, neighbour discovery is whole.
func TestHeadersOfOtherPackets(t *testing.T) {
	t.Parallel()
	quote4, quote6 := encoded(t, "192.0.2.1:61000", "192.0.2.2:80"), encoded(t, "[2001:db8::1]:61000", "[2001:db8::2]:80")
	icmp4 := []byte{3, 3, 0, 0, 0, 0, 0, 0}
	icmp6 := []byte{1, 4, 0, 0, 0, 0, 0, 0}
	echo := []byte{8, 0, 0, 0, 0, 0, 0, 0, 's', 'e', 'c'}
	nd := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 24)...)
	udp := []byte{0, 1, 0, 2, 0, 12, 0, 0, 's', 'e', 'c', 'r'}
	later := v4(17, udp)
	later[6], later[7] = 0, 100
	refit(later)
	for _, tc := range []struct {
		name string
		b    []byte
		want int
	}{
		{"nothing", nil, 0},
		{"rubbish", bytes.Repeat([]byte{0xff}, 60), 0},
		{"ICMP error with a whole quote", v4(1, icmp4, quote4), 20 + 8 + 20 + 40},
		{"ICMP error with 8 octets of TCP", v4(1, icmp4, quote4[:28]), 20 + 8 + 20 + 8},
		{"ICMP error with half a quoted header", v4(1, icmp4, quote4[:10]), 20 + 8},
		{"ICMP error that quotes UDP", v4(1, icmp4, v4(17, udp)), 20 + 8 + 20},
		{"ICMPv6 error with a whole quote", v6(58, icmp6, quote6), 40 + 8 + 40 + 40},
		{"ICMPv6 error that quotes IPv4", v6(58, icmp6, quote4), 40 + 8},
		{"echo", v4(1, echo), 20 + 8},
		{"neighbour solicitation", v6(58, nd), 40 + 32},
		{"UDP", v4(17, udp), 20},
		{"a later fragment", later, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := HeadersLen(tc.b); got != tc.want {
				t.Errorf("%d, want %d of %d", got, tc.want, len(tc.b))
			}
		})
	}
}

// encoded is a segment with a payload that nobody is to see.
func encoded(t *testing.T, src, dst string) []byte {
	t.Helper()
	s := Segment{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst), Flags: SYN, HopLimit: 64, Options: LinuxSYN(1460, 7, 7), Payload: []byte("secret")}
	b := make([]byte, s.Size())
	if _, err := s.Encode(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// v4 and v6 put a header before parts.
func v4(proto byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	b := append(make([]byte, 20), body...)
	put4(b, netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.1"), proto, 0, 64, 0, false)
	return b
}

func v6(next byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	b := append([]byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), next, 64}, make([]byte, 32)...)
	b[8], b[24] = 0x20, 0x20
	return append(b, body...)
}

// refit mends the checksum of an IPv4 header.
func refit(b []byte) {
	b[10], b[11] = 0, 0
	c := ^fold(sum(b[:20], 0))
	b[10], b[11] = byte(c>>8), byte(c)
}
