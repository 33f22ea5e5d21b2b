package kdial

import (
	"net/netip"
	"testing"
)

func TestSockaddrReadsWhatItWrote(t *testing.T) {
	for _, x := range []struct {
		story string
		addr  string
		scope uint32
		want  string
		octet byte // the first of the scope
	}{
		{"IPv4", "192.0.2.7:443", 0, "192.0.2.7:443", 0},
		{"IPv6", "[2001:db8::7]:65535", 0, "[2001:db8::7]:65535", 0},
		{"a link-local address keeps its scope apart", "[fe80::1]:1", 7, "[fe80::1]:1", 7},
	} {
		var a sockaddr
		a.set(netip.MustParseAddrPort("[2001:db8:ffff::ffff]:9"), 9) // nothing of it may remain
		a.set(netip.MustParseAddrPort(x.addr), x.scope)
		got, ok := a.get()
		scope := byte(0)
		for _, o := range a.octets[24:] {
			scope |= o // of either byte order
		}
		if !ok || got.String() != x.want || scope != x.octet {
			t.Errorf("%s: %s %t, scope %d", x.story, got, ok, scope)
		}
	}
}

func TestSockaddrTooShortIsNone(t *testing.T) {
	for _, text := range []string{"192.0.2.7:443", "[2001:db8::7]:443"} {
		var a sockaddr
		a.set(netip.MustParseAddrPort(text), 0)
		a.length--
		if got, ok := a.get(); ok {
			t.Errorf("%s cut short is read as %s", text, got)
		}
	}
}
