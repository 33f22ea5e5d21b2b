package diagnose_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
)

// behindAHole is a burst of sixteen connections with a hole in front, of whose segments some were lost there and on the way back.
func behindAHole(there, back int) observe.Observation {
	o := observe.Observation{Kind: plan.KindHoled, Captured: true, Strays: map[string]int{}}
	for i := range 16 {
		h := retrans.Holed{Sent: 60, Arrived: 60, Numbered: 60, Numbering: 1, SACK: true}
		if i == 0 {
			h.Arrived, h.Lost, h.Gone, h.Gaps = 60-there, there, back, back
		}
		o.Holed = append(o.Holed, observe.Holed{Attempt: i, Read: h})
	}
	return o
}

func TestWhichWayLosesIsAskedUntilItIsTold(t *testing.T) {
	lossy := times(8, func(int) observe.Transfer { return carriedBack(1000, 20) })
	for _, c := range []struct {
		story string
		holed []observe.Observation
		says  string
		again bool
	}{
		{"not asked yet", nil, "", true},
		{"eleven of 960 there and none back are too few", []observe.Observation{behindAHole(11, 0)}, "too few to say", true},
		{"twice as many tell", []observe.Observation{behindAHole(11, 0), behindAHole(11, 0)}, "the way to the target loses, the way back does not", false},
		{"twenty of 960 tell at once", []observe.Observation{behindAHole(20, 0)}, "the way to the target loses, the way back does not", false},
		{"both at once", []observe.Observation{behindAHole(20, 20)}, "both ways lose", false},
		{"three times must do", []observe.Observation{behindAHole(6, 1), behindAHole(6, 1), behindAHole(6, 2)}, "too few to say", false},
	} {
		seen := append([]observe.Observation{phases(plan.KindTransfer, lossy...), phases(plan.KindGentle, lossy...)}, c.holed...)
		d := diagnose.Diagnose(diagnose.Input{Observations: seen})
		if again := slices.ContainsFunc(d.Wants(), func(w diagnose.Want) bool { return w.Kind == plan.KindHoled }); again != c.again {
			t.Errorf("%s: asks again: %t, want %t", c.story, again, c.again)
		}
		if text := strings.Join(d.Causes[0].Evidence, "; "); !strings.Contains(text, c.says) {
			t.Errorf("%s: %s; want %q", c.story, text, c.says)
		}
	}
}
