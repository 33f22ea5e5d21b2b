package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// TestGaveUp: an RST is a device's that waited in vain only where it comes long after the last SYN; a flow asked with one TSval after the
// other counts from its first.
func TestGaveUp(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	refused := func(rst time.Duration, syns ...time.Duration) *observe.Attempt {
		a := &observe.Attempt{Outcome: observe.Refused, Answers: []observe.Answer{{Kind: observe.RST, At: start.Add(rst)}}}
		for _, d := range syns {
			a.SYNs = append(a.SYNs, observe.SYN{At: start.Add(d)})
		}
		return a
	}
	for _, x := range []struct {
		name string
		kind plan.Kind
		a    *observe.Attempt
		want bool
	}{
		{"at once", plan.KindConnect, refused(time.Millisecond, 0), false},
		{"late", plan.KindConnect, refused(300*time.Millisecond, 0), true},
		{"at once to a repeat", plan.KindConnect, refused(1001*time.Millisecond, 0, time.Second), false},
		{"late, many SYNs in between", plan.KindOracle, refused(300*time.Millisecond, 0, 250*time.Millisecond), true},
		{"accepted", plan.KindConnect, &observe.Attempt{Outcome: observe.Accepted, Handshake: time.Second}, false},
	} {
		if got := gaveUp(x.kind, x.a, 102*time.Millisecond); got != x.want {
			t.Errorf("%s: gave up %t, want %t", x.name, got, x.want)
		}
	}
}
