package neigh

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// What is drawn lies in the subnet, once, and is nobody's.
func TestPickDrawsHostAddressesThatNobodyHas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := netip.MustParseAddr(rapid.SampledFrom([]string{"10.20.30.77", "192.168.255.255", "2001:db8::77", "fe80::1"}).Draw(t, "base"))
		least := 8
		subnet, err := base.Prefix(rapid.IntRange(least, base.BitLen()).Draw(t, "bits"))
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		mine := random(subnet, r)
		owned := map[netip.Addr]string{mine: "mine"}
		n := rapid.IntRange(0, 8).Draw(t, "n")
		got := pick(subnet, owned, n, r)
		if len(got) > n {
			t.Fatalf("%d of %d", len(got), n)
		}
		seen := map[netip.Addr]bool{mine: true}
		for _, a := range got {
			if !subnet.Contains(a) || seen[a] || special(subnet, a) {
				t.Fatalf("%s in %s: %v", a, subnet, got)
			}
			seen[a] = true
		}
	})
}

func TestSpecialAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subnet, addr string
		want         bool
	}{
		{"10.0.0.0/24", "10.0.0.0", true}, {"10.0.0.0/24", "10.0.0.1", true}, {"10.0.0.0/24", "10.0.0.2", false},
		{"10.0.0.0/24", "10.0.0.253", false}, {"10.0.0.0/24", "10.0.0.254", true}, {"10.0.0.0/24", "10.0.0.255", true},
		{"10.0.0.0/22", "10.0.1.0", true}, {"10.0.0.0/22", "10.0.1.255", true}, {"10.0.0.0/22", "10.0.1.1", false},
		{"10.0.0.4/30", "10.0.0.5", true}, {"10.0.0.4/30", "10.0.0.6", true}, {"10.0.0.4/31", "10.0.0.4", true}, {"10.0.0.4/32", "10.0.0.4", true},
		{"2001:db8::/64", "2001:db8::", true}, {"2001:db8::/64", "2001:db8::2", false},
		{"2001:db8::/64", "2001:db8::fdff:ffff:feff:ff90", false}, {"2001:db8::/64", "2001:db8::fdff:ffff:ffff:ff7f", false},
		{"2001:db8::/64", "2001:db8::fdff:ffff:ffff:ff80", true},
	} {
		if got := special(netip.MustParsePrefix(c.subnet), netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s in %s: %v", c.addr, c.subnet, got)
		}
	}
}
