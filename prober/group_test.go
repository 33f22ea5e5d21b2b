package prober

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAGroupIsProbedTogether: a VIP and its members, in jobs of their own even, whose intervals are multiples of each other; another group has
// another time.
func TestAGroupIsProbedTogether(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	due := func(job, group, target string, every time.Duration) time.Duration {
		return firstDue(&Job{Name: job, Group: group, Interval: every}, target, now).Sub(now) % (10 * time.Second)
	}
	vip := due("vips", "web", "192.0.2.10:443", 10*time.Second)
	for _, d := range []time.Duration{due("members", "web", "192.0.2.21:443", 10*time.Second), due("slow", "web", "192.0.2.22:443", 30*time.Second)} {
		if apart := (d - vip + 10*time.Second) % (10 * time.Second); min(apart, 10*time.Second-apart) >= together {
			t.Errorf("%s after the VIP", apart)
		}
	}
	far := 0
	for _, other := range []string{"mail", "dns", "ldap", "git"} {
		if apart := (due("vips", other, "192.0.2.10:443", 10*time.Second) - vip + 10*time.Second) % (10 * time.Second); min(apart, 10*time.Second-apart) > time.Second {
			far++
		}
	}
	if far == 0 {
		t.Error("all groups are probed in the same second")
	}
}

// TestPartsOfAJob: targets of one job that differ in labels are parts of it; one that goes from part to part keeps its place.
func TestPartsOfAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * time.Second
		b := &notes{start: time.Now()}
		s := newSchedule(func(_ context.Context, target string, _ Module) ([]Round, error) { return stalled(target), nil }, b, 100)
		var members []string
		s.asks = newInquiries(func(_ context.Context, target string, o DiagnoseOptions) ([]Round, error) {
			members = o.Members
			return []Round{{Target: target}}, nil
		})
		part := func(zone string, targets ...string) Job {
			return Job{Name: "j", Interval: every, Targets: targets, Labels: map[string]string{"zone": zone}}
		}
		vip := part("v", "v:1")
		vip.Diagnose, vip.Members = true, []string{"a:1", "b:1"}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		s.Set([]Job{vip, part("1", "a:1"), part("2", "b:1")})
		time.Sleep(5 * every)
		s.Set([]Job{vip, part("2", "a:1", "b:1")})
		time.Sleep(5 * every)
		cancel()
		synctest.Wait()
		if d := cmp.Diff([]string{"a:1", "b:1"}, members); d != "" {
			t.Errorf("members given to the diagnosis: %s", d)
		}
		for _, target := range []string{"a:1", "b:1", "v:1"} {
			n := 0
			for _, l := range b.lines {
				if strings.HasSuffix(l, "1 round of "+target) {
					n++
				}
			}
			if n != 10 {
				t.Errorf("%s: %d rounds in ten intervals", target, n)
			}
		}
	})
}

func TestWhichAddressesAreProbed(t *testing.T) {
	a4, b4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	for name, c := range map[string]struct {
		m        Module
		of, want []netip.Addr
	}{
		"no preference":                  {Module{}, []netip.Addr{a4, b4, a6}, []netip.Addr{a4, b4, a6}},
		"no preference, one":             {Module{Addresses: OneAddress}, []netip.Addr{a4, b4}, []netip.Addr{a4}},
		"preferred":                      {Module{IPProtocol: "ip4"}, []netip.Addr{a6, a4, b4}, []netip.Addr{a4}},
		"preferred, all":                 {Module{IPProtocol: "ip4", Addresses: AllAddresses}, []netip.Addr{a6, a4, b4}, []netip.Addr{a4, b4}},
		"fallback":                       {Module{IPProtocol: "ip6", IPFallback: true}, []netip.Addr{a4, b4}, []netip.Addr{a4}},
		"fallback, all":                  {Module{IPProtocol: "ip6", IPFallback: true, Addresses: AllAddresses}, []netip.Addr{a4, b4}, []netip.Addr{a4, b4}},
		"only the other one, forbidden":  {Module{IPProtocol: "ip6", Addresses: AllAddresses}, []netip.Addr{a4}, nil},
		"no address at all and fallback": {Module{IPProtocol: "ip6", IPFallback: true}, nil, nil},
	} {
		if got := c.m.choose(slices.Clone(c.of)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
