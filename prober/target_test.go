package prober

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want Endpoint
		back string
	}{
		{"192.0.2.1:443", Endpoint{Host: "192.0.2.1", Port: 443, Addr: addr("192.0.2.1")}, "192.0.2.1:443"},
		{"[2001:db8::1]:443", Endpoint{Host: "2001:db8::1", Port: 443, Addr: addr("2001:db8::1")}, "[2001:db8::1]:443"},
		{"[fe80::1%eth0]:80", Endpoint{Host: "fe80::1%eth0", Port: 80, Addr: addr("fe80::1%eth0")}, "[fe80::1%eth0]:80"},
		{"[::ffff:192.0.2.1]:80", Endpoint{Host: "::ffff:192.0.2.1", Port: 80, Addr: addr("192.0.2.1")}, "[::ffff:192.0.2.1]:80"},
		{"vip.example.net:5432", Endpoint{Host: "vip.example.net", Port: 5432}, "vip.example.net:5432"},
		{"a_b.c.:1", Endpoint{Host: "a_b.c.", Port: 1}, "a_b.c.:1"},
	} {
		got, err := ParseEndpoint(tc.text)
		if err != nil || got != tc.want || got.String() != tc.back {
			t.Errorf("%s: got %+v (%s), %v", tc.text, got, got, err)
		}
	}
	for text, why := range map[string]string{
		"":                               "empty",
		"host":                           "no port",
		"host:":                          `port "" is not 1 to 65535`,
		"host:0":                         `port "0" is not 1 to 65535`,
		"host:65536":                     `port "65536" is not 1 to 65535`,
		"host:+80":                       `port "+80" is not 1 to 65535`,
		"host:http":                      `port "http" is not 1 to 65535`,
		":80":                            "no host",
		"2001:db8::1:80":                 "an IPv6 address needs brackets",
		"2001:db8::zz:80":                "an IPv6 address needs brackets",
		"[host]:80":                      "what is in brackets is no IPv6 address",
		"[192.0.2.1]:80":                 "what is in brackets is no IPv6 address",
		"ho st:80":                       `host name holds ' '`,
		"http://host:80":                 "an IPv6 address needs brackets",
		"host/24:80":                     `host name holds '/'`,
		strings.Repeat("a", 254) + ":80": "host name longer than 253 octets",
	} {
		_, err := ParseEndpoint(text)
		var bad *TargetError
		if !errors.As(err, &bad) || bad.Why != why || bad.Target != text {
			t.Errorf("%q: got %v, want %s", text, err, why)
		}
	}
}

func TestEveryEndpointReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, err := ParseEndpoint(rapid.OneOf(rapid.String(), rapid.StringMatching(`\[?[0-9a-f:.%]{0,12}\]?:[0-9]{1,5}`)).Draw(t, "text"))
		if err != nil {
			return
		}
		if b, err := ParseEndpoint(a.String()); err != nil || a != b {
			t.Fatalf("%+v is written %q and read %+v, %v", a, a, b, err)
		}
	})
}

func TestAllow(t *testing.T) {
	t.Parallel()
	list, err := ParseAllow([]string{"192.0.2.0/24", "2001:db8::/32", " 203.0.113.7 ", "169.254.0.0/16", "169.254.169.254", "::ffff:198.51.100.0/120", "fe80::1%eth0", "0.0.0.0/0"})
	must(t, err)
	for a, why := range map[string]string{
		"192.0.2.1": "", "::ffff:192.0.2.1": "", "2001:db8::1": "", "203.0.113.7": "", "198.51.100.9": "", "fe80::1%eth1": "",
		"169.254.169.254":        "", // named exactly
		"::ffff:169.254.169.254": "",
		"127.0.0.1":              "",
		"2001:db9::1":            "not on the allow list",
		"169.254.1.1":            "a link-local address and needs an entry of its own",
		"fe80::2":                "a link-local address and needs an entry of its own",
		"100.100.100.200":        "a cloud metadata address and needs an entry of its own",
		"168.63.129.16":          "a cloud metadata address and needs an entry of its own",
		"192.0.0.192":            "a cloud metadata address and needs an entry of its own",
		"fd00:ec2::254":          "a cloud metadata address and needs an entry of its own",
		"fd20:ce::254":           "a cloud metadata address and needs an entry of its own",
		"64:ff9b::a9fe:a9fe":     "a cloud metadata address and needs an entry of its own",
		"64:ff9b::e000:1":        "a multicast address and needs an entry of its own",
		"64:ff9b::c000:201":      "not on the allow list",
		"224.0.0.1":              "a multicast address and needs an entry of its own",
		"ff02::1":                "a multicast address and needs an entry of its own",
		"255.255.255.255":        "the broadcast address and needs an entry of its own",
		"0.0.0.0":                "the unspecified address and needs an entry of its own",
		"::":                     "the unspecified address and needs an entry of its own",
	} {
		err := list.Check("x", addr(a))
		var no *NotAllowedError
		switch {
		case why == "" && err != nil:
			t.Errorf("%s: %v", a, err)
		case why != "" && (!errors.As(err, &no) || no.Why != why):
			t.Errorf("%s: got %v, want %s", a, err, why)
		case why != "":
			if list.With(AllowAddrs(addr(no.Entry))).Check("x", addr(a)) != nil {
				t.Errorf("%s: the entry that the error asks for does not permit it: %s", a, no.Entry)
			}
		}
	}
	if err := (Allow{}).Check("x", addr("127.0.0.1")); err == nil {
		t.Error("an empty list permits loopback")
	}
	if err := AllowAddrs(netip.Addr{}).Check("x", netip.Addr{}); err == nil {
		t.Error("no address is permitted")
	}
	if diff := cmp.Diff([]string{"192.0.2.0/24", "2001:db8::/32", "203.0.113.7", "169.254.0.0/16", "169.254.169.254", "198.51.100.0/24", "fe80::1", "0.0.0.0/0"},
		list.Entries()); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestAllowEntriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"":                    `allow[1]: "" is neither an address nor a prefix`,
		"host":                `allow[1]: "host" is neither an address nor a prefix`,
		"10.0.0.0/33":         `allow[1]: "10.0.0.0/33" is neither an address nor a prefix`,
		"10.0.0.1/24":         `allow[1]: "10.0.0.1/24" has bits set below its length; 10.0.0.0/24 is meant?`,
		"::ffff:10.0.0.1/120": `allow[1]: "::ffff:10.0.0.1/120" has bits set below its length; 10.0.0.0/24 is meant?`,
		"::ffff:0.0.0.0/90":   `allow[1]: "::ffff:0.0.0.0/90" has bits set below its length; ::ffc0:0:0/90 is meant?`,
	} {
		if _, err := ParseAllow([]string{"127.0.0.1", text}); err == nil || err.Error() != why {
			t.Errorf("%q: got %v, want %s", text, err, why)
		}
	}
}

// What a list of prefixes says of an address does not depend on how the address is spelled, and nothing special is ever in a prefix.
func TestAllowSeesThroughSpelling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		four := netip.AddrFrom4(b)
		six := netip.AddrFrom16(four.As16())
		list := Allow{}
		if rapid.Bool().Draw(t, "all") {
			list = allowing([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
		}
		x, y := list.Check("x", four), list.Check("x", six)
		if (x == nil) != (y == nil) {
			t.Fatalf("%s: %v, %s: %v", four, x, six, y)
		}
		if x == nil && special(four) != "" {
			t.Fatalf("%s is %s and in a prefix", four, special(four))
		}
	})
}

// A prefix that is permitted as a whole holds no address that is not.
func TestAllowCovers(t *testing.T) {
	t.Parallel()
	list, err := ParseAllow([]string{"0.0.0.0/1", "168.63.129.0/24", "fd00::/8", "64:ff9b::/96", "10.0.0.5"})
	must(t, err)
	ask := func(a netip.Addr) (p netip.Prefix, covered bool) {
		p, err := a.Prefix(a.BitLen() - 8)
		must(t, err)
		return p, list.covers(p)
	}
	for _, s := range specials() {
		if p, covered := ask(s.prefix.Addr()); covered {
			t.Errorf("%s, which holds %s, is permitted as a whole", p, s.name)
		}
	}
	for text, want := range map[string]bool{"10.1.2.3": true, "127.255.255.255": true, "128.0.0.0": false, "fd00::1": true, "fd00:ec2::1": true,
		"fd00:ec2::254": false, "64:ff9b::a00:1": false, "fe80::1": false} {
		p, covered := ask(addr(text))
		if covered != want {
			t.Errorf("%s: %t", p, covered)
		}
		for a := p.Addr(); covered && p.Contains(a); a = a.Next() {
			if err := list.Check("x", a); err != nil {
				t.Errorf("%s is permitted as a whole, but not %s", p, a)
			}
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	n, err := NewNames(t.Context(), []string{"192.0.2.1:80", "localhost:80", "no.such.name.invalid:80"})
	must(t, err)
	list := n.Allow()
	for a, want := range map[string]bool{"192.0.2.1": true, "127.0.0.1": true, "192.0.2.2": false, "127.0.0.2": false} {
		if got := list.Check("x", addr(a)) == nil; got != want {
			t.Errorf("%s: permitted %v, want %v", a, got, want)
		}
	}
	first, err := n.Lookup(t.Context(), "localhost")
	if err != nil || len(first) == 0 {
		t.Fatalf("%v, %v", first, err)
	}
	first[0] = addr("203.0.113.1") // the caller's to change
	if again, err := n.Lookup(t.Context(), "localhost"); err != nil || again[0] == first[0] {
		t.Errorf("%v, %v", again, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Lookup(ctx, "other.invalid"); err == nil {
		t.Error("a name that does not resolve resolves")
	}
	var bad *TargetError
	if _, err := NewNames(t.Context(), []string{"192.0.2.1"}); !errors.As(err, &bad) {
		t.Errorf("without port: %v", err)
	}
}

func TestErrorsAreOneSentenceThatNamesThePlace(t *testing.T) {
	t.Parallel()
	inner := errors.New("no route")
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&NotAllowedError{"vip:80", addr("192.0.2.1"), "not on the allow list", "192.0.2.1"},
			`target vip:80: 192.0.2.1 is not on the allow list; to permit it add "192.0.2.1" under allow:`},
		{&ResolveError{"vip", inner}, "resolve vip: no route"},
		{&TargetError{"vip", "no port"}, `target "vip": no port; want HOST:PORT, 192.0.2.1:443 or [2001:db8::1]:443`},
		{&BudgetError{"vip:80", "half_open", "17 wanted"}, "target vip:80: limits.half_open: 17 wanted"},
		{&EnvironmentError{"vip:80", inner}, "target vip:80: no route"},
		{&EnvironmentError{"", inner}, "no route"},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
	if !errors.Is(&ResolveError{"x", inner}, inner) || !errors.Is(&EnvironmentError{"x", inner}, inner) {
		t.Error("the cause is hidden")
	}
}

// TestDistinct: a hosts file may have an address twice, apart from each other and spelt otherwise; it is probed once.
func TestDistinct(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	got := distinct([]netip.Addr{a, b, netip.MustParseAddr("::ffff:192.0.2.1"), b})
	if want := []netip.Addr{a, b}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
