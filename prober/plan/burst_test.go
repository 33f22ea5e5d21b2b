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
		{TSClock{100, 1000}, 0, 100},
		{TSClock{100, 1000}, 1999 * time.Microsecond, 101},
		{TSClock{0xffffffff, 1000}, time.Second, 999},
		{TSClock{7, 0}, time.Hour, 7},
		{TSClock{0, 4_000_000_000}, time.Hour, wire.TSval(uint64(4_000_000_000) * 3600 % (1 << 32))},
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
