package wire

import (
	"net/netip"
	"testing"
)

func TestNumbersLeadBack(t *testing.T) {
	n, other := NewNumbers(), NewNumbers()
	src, dst := netip.MustParseAddrPort("192.0.2.1:62000"), netip.MustParseAddrPort("[2001:db8::1]:443")
	strangers := 0
	for i := range uint32(1000) {
		iss := i ^ n.Mask(src, dst)
		if got := iss ^ n.Mask(src, dst); got != i {
			t.Fatalf("record %d: its number leads to %d", i, got)
		}
		for _, mask := range []uint32{other.Mask(src, dst), n.Mask(dst, src), n.Mask(netip.AddrPortFrom(src.Addr(), 62001), dst),
			n.Mask(src, netip.AddrPortFrom(dst.Addr().Next(), 443)), n.Mask(src, netip.AddrPortFrom(dst.Addr(), 444))} {
			if iss^mask < 1000 {
				strangers++
			}
		}
	}
	if strangers > 0 { // a mask that differs leads below 1,000 by chance in one of 4 million
		t.Errorf("%d of 5000 numbers lead to a record under another key or on another flow", strangers)
	}
	if n.Mask(netip.MustParseAddrPort("[::ffff:192.0.2.1]:62000"), dst) != n.Mask(src, dst) {
		t.Error("IPv4 in IPv6 is another flow")
	}
}
