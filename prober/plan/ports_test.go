package plan

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	src = netip.MustParseAddr("192.0.2.1")
	dst = netip.MustParseAddrPort("192.0.2.2:80")
	t0  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func TestPortRange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want PortRange
		size int
	}{
		{"61000-65535", PortRange{61000, 65535}, 4536},
		{" 1 - 1 ", PortRange{1, 1}, 1},
		{"1-65535", PortRange{1, 65535}, 65535},
	} {
		r, err := ParsePortRange(tc.text)
		if err != nil || r != tc.want || r.Size() != tc.size {
			t.Errorf("%q: got %s of %d, %v", tc.text, r, r.Size(), err)
		}
	}
	for _, bad := range []string{"", "-", "0-5", "5-4", "5", "1-65536", "a-b", "1-2-3", "-1-5"} {
		if r, err := ParsePortRange(bad); err == nil || !strings.Contains(err.Error(), "want LO-HI") {
			t.Errorf("%q: got %s, %v", bad, r, err)
		}
	}
	if (PortRange{}).Contains(0) || !(PortRange{5, 6}).Contains(6) || (PortRange{5, 6}).Contains(7) {
		t.Error("Contains")
	}
}

func TestSplitHalvesAndLeavesNothingOut(t *testing.T) {
	t.Parallel()
	for _, r := range []PortRange{{61000, 65535}, {1, 65535}, {10, 12}, {10, 11}} {
		k, raw := r.Split()
		if k.Size()+raw.Size() != r.Size() || k.Lo != r.Lo || raw.Hi != r.Hi || k.Hi+1 != raw.Lo || k.Size() == 0 {
			t.Errorf("%s: %s and %s", r, k, raw)
		}
	}
}

func TestPortsNeeded(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		burst    int
		interval time.Duration
		want     int
	}{{10, time.Minute, 30}, {10, 50 * time.Second, 40}, {10, time.Hour, 20}, {10, 0, 10}} {
		if got := PortsNeeded(tc.burst, tc.interval); got != tc.want {
			t.Errorf("%d every %s: got %d, want %d", tc.burst, tc.interval, got, tc.want)
		}
	}
}

// What PortsNeeded promises a book of that size keeps, round after round.
func TestABookOfTheNeededSizeNeverRunsOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		interval := time.Duration(rapid.IntRange(1, 300).Draw(t, "seconds")) * time.Second
		b := NewPortBook(PortRange{1000, uint16(999 + PortsNeeded(burst, interval))}, 0)
		for round := range 400 {
			if _, err := b.Take(src, dst, burst, t0.Add(time.Duration(round)*interval)); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	})
}

func TestNoTupleReturnsWithinTheQuarantine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(t, "size")
		ports := PortRange{61000, uint16(61000 + size - 1)}
		b := NewPortBook(ports, rapid.Uint16().Draw(t, "start"))
		dsts := []netip.AddrPort{dst, netip.MustParseAddrPort("192.0.2.3:80"), netip.MustParseAddrPort("[fe80::1%eth0]:80")}
		type tuple struct {
			dst  netip.AddrPort
			port uint16
		}
		used, asked := map[tuple]time.Time{}, map[tuple]bool{}
		now := t0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "seconds")) * time.Second)
			d := rapid.SampledFrom(dsts).Draw(t, "dst")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				b.Sweep(now)
				continue
			case 1:
				p := ports.Lo + uint16(rapid.IntRange(0, size-1).Draw(t, "port"))
				b.Use(src, d, p, now)
				used[tuple{d, p}], asked[tuple{d, p}] = now, true
				continue
			}
			n := rapid.IntRange(1, 12).Draw(t, "n")
			got, err := b.Take(src, d, n, now)
			if err != nil {
				busy, outOfTurn := 0, false // a port asked for by number costs its place in the circle as well
				for k, at := range used {
					outOfTurn = outOfTurn || k.dst == d && asked[k]
					if k.dst == d && now.Sub(at) < PortQuarantine {
						busy++
					}
				}
				if !outOfTurn && busy+n <= size {
					t.Fatalf("refused %d with %d of %d in quarantine: %v", n, busy, size, err)
				}
				continue
			}
			if len(got) != n {
				t.Fatalf("%d ports for %d", len(got), n)
			}
			for _, p := range got {
				if at, ok := used[tuple{d, p}]; !ports.Contains(p) || ok && now.Sub(at) < PortQuarantine {
					t.Fatalf("port %d towards %s again after %s", p, d, now.Sub(at))
				}
				used[tuple{d, p}] = now
			}
		}
	})
}

func TestZonesShareTheirPorts(t *testing.T) {
	t.Parallel()
	b := NewPortBook(PortRange{5, 5}, 0)
	eth0, eth1 := netip.MustParseAddrPort("[fe80::1%eth0]:80"), netip.MustParseAddrPort("[fe80::1%eth1]:80")
	if _, err := b.Take(src, eth0, 1, t0); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Take(src, eth1, 1, t0); err == nil {
		t.Errorf("port %v went to both links: segments of the two flows look alike", p)
	}
}

func TestTooFewPortsAreRefusedWholeAndInWords(t *testing.T) {
	t.Parallel()
	b := NewPortBook(PortRange{61000, 61009}, 0)
	if _, err := b.Take(src, dst, 6, t0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Take(src, dst, 3, t0.Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		n    int
		want *ErrPorts
		text string
	}{
		{2, &ErrPorts{dst, PortRange{61000, 61009}, 2, 1, 80 * time.Second},
			"source ports 61000-61009 towards 192.0.2.2:80: 2 wanted, 1 not used in the last 2m0s; enough in 1m20s"},
		{10, &ErrPorts{dst, PortRange{61000, 61009}, 10, 1, 110 * time.Second},
			"source ports 61000-61009 towards 192.0.2.2:80: 10 wanted, 1 not used in the last 2m0s; enough in 1m50s"},
		{11, &ErrPorts{dst, PortRange{61000, 61009}, 11, 1, 0},
			"source ports 61000-61009 towards 192.0.2.2:80: 11 wanted, 1 not used in the last 2m0s; the range holds 10"},
	} {
		_, err := b.Take(src, dst, tc.n, t0.Add(40*time.Second))
		var got *ErrPorts
		if !errors.As(err, &got) {
			t.Fatalf("%d: %v", tc.n, err)
		}
		if *got != *tc.want {
			t.Errorf("%d: got %+v, want %+v", tc.n, *got, *tc.want)
		}
		if diff := cmp.Diff(tc.text, err.Error()); diff != "" {
			t.Errorf("%d (-want +got):\n%s", tc.n, diff)
		}
	}
	if p, err := b.Take(src, dst, 1, t0.Add(40*time.Second)); err != nil || len(p) != 1 {
		t.Errorf("the one left: %v, %v", p, err)
	}
	if _, err := NewPortBook(PortRange{}, 7).Take(src, dst, 1, t0); err == nil {
		t.Error("an empty range hands out ports")
	}
}

func TestPortsThatAreNotUsableAreSkippedAndAFailureCostsNothing(t *testing.T) {
	t.Parallel()
	b := NewPortBook(PortRange{61000, 61009}, 0)
	odd := func(p uint16) bool { return p%2 == 1 }
	_, err := b.TakeIf(src, dst, 6, t0, odd)
	var few *ErrPorts
	if !errors.As(err, &few) || few.Free != 5 {
		t.Fatalf("six odd ports of ten: %v", err)
	}
	got, err := b.TakeIf(src, dst, 5, t0, odd)
	if err != nil || len(got) != 5 {
		t.Fatalf("five: %v, %v", got, err)
	}
	for _, p := range got {
		if !odd(p) {
			t.Errorf("port %d was not usable", p)
		}
	}
}

func TestSweepForgetsOnlyWhatIsFresh(t *testing.T) {
	t.Parallel()
	b := NewPortBook(PortRange{61000, 61009}, 0)
	other := netip.MustParseAddrPort("192.0.2.9:80")
	if _, err := b.Take(src, dst, 1, t0); err != nil {
		t.Fatal(err)
	}
	b.Use(src, other, 61003, t0.Add(time.Second))
	for _, tc := range []struct {
		at   time.Duration
		left int
	}{{PortQuarantine - 1, 2}, {PortQuarantine, 1}, {PortQuarantine + time.Second, 0}} {
		if got := b.Sweep(t0.Add(tc.at)); got != tc.left {
			t.Errorf("after %s: %d pairs left, want %d", tc.at, got, tc.left)
		}
	}
}

func TestDestinationsBeginApart(t *testing.T) {
	t.Parallel()
	b := NewPortBook(PortRange{61000, 63267}, 17)
	first := map[uint16]int{}
	for i := range 50 {
		p, err := b.Take(src, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80), 1, t0)
		if err != nil {
			t.Fatal(err)
		}
		first[p[0]]++
	}
	if len(first) < 40 {
		t.Errorf("50 destinations begin at %d ports", len(first))
	}
}
