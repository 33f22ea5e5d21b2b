package plan

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestSpanEndsListenAfterTheLastShot(t *testing.T) {
	t.Parallel()
	b := Burst{Listen: 3 * time.Second, Shots: []Shot{{Offset: 2 * time.Second}, {Offset: 5 * time.Second}, {}}}
	if got := b.Span(); got != 8*time.Second {
		t.Errorf("got %s", got)
	}
	if got := (&Burst{Listen: time.Second}).Span(); got != time.Second {
		t.Errorf("without shots: %s", got)
	}
}

func TestTSClockTicksOnTheCircle(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		c    TSClock
		d    time.Duration
		want wire.TSval
	}{
		{TSClock{Start: 100, Hz: 1000}, 0, 100},
		{TSClock{Start: 100, Hz: 1000}, 1999 * time.Microsecond, 101},
		{TSClock{Start: 0xffffffff, Hz: 1000}, time.Second, 999},
		{TSClock{Start: 7, Hz: 0}, time.Hour, 7},
		{TSClock{Start: 0, Hz: 4_000_000_000}, time.Hour, wire.TSval(uint64(4_000_000_000) * 3600 % (1 << 32))},
	} {
		if got := tc.c.At(tc.d); got != tc.want {
			t.Errorf("%+v after %s: got %d, want %d", tc.c, tc.d, got, tc.want)
		}
	}
}

func TestEveryNameIsItsOwn(t *testing.T) {
	t.Parallel()
	var names []string
	for v := ViaUnknown; v <= Raw; v++ {
		names = append(names, "via "+v.String())
	}
	for r := ReactionUnknown; r <= Ignore; r++ {
		names = append(names, "reaction "+r.String())
	}
	for c := ClosingUnknown; c <= WaitForPeer; c++ {
		names = append(names, "closing "+c.String())
	}
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			t.Errorf("%s is used twice", n)
		}
		seen[n] = true
	}
	if Via(9).String()+Reaction(9).String()+Closing(9).String() != "unknownunknownunknown" {
		t.Error("a value that is none has a name")
	}
}

// TestTurnsOfTheClock: each SYN has its own turn on top of the clock; one without a turn follows the clock alone.
func TestTurnsOfTheClock(t *testing.T) {
	c := TSClock{Start: 0xffffffff, Hz: 1000, Turns: []wire.TSval{0, 1 << 31, 1 << 30}}
	for n, want := range []wire.TSval{0xffffffff, 99 + 1<<31, 199 + 1<<30, 299} {
		if got := c.SYN(n, time.Duration(n)*100*time.Millisecond); got != want {
			t.Errorf("SYN %d: TSval %d, want %d", n, got, want)
		}
	}
	if got := c.SYN(-1, 0); got != 0xffffffff {
		t.Errorf("no SYN: TSval %d", got)
	}
}
