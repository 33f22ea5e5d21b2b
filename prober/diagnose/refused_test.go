package diagnose

import (
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// TestAThirdIsRefused: the RSTs of a member that refuses come as far as the SYN-ACKs of the others; those of a filter on the way do not, and name nothing.
func TestAThirdIsRefused(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	third := map[int]bool{1: true, 3: true, 8: true} // 0-9; no stretch of time
	round := func(accepts, refuses uint8) *Input {
		in := &Input{read: &readOnce{}}
		for burst := range 3 {
			o := observe.Observation{Kind: plan.KindConnect, Started: start}
			for k := range 10 {
				at := start.Add(time.Duration(burst)*time.Second + time.Duration(k)*time.Millisecond)
				a := observe.Attempt{SYNs: []observe.SYN{{At: at}}, Outcome: observe.Accepted, Handshake: time.Millisecond,
					Answers: []observe.Answer{{Kind: observe.SYNACK, At: at.Add(time.Millisecond), HopLimit: accepts}}}
				if third[k] {
					a.Outcome, a.Answers[0].Kind, a.Answers[0].HopLimit = observe.Refused, observe.RST, refuses
				}
				o.Attempts = append(o.Attempts, a)
			}
			in.Observations = append(in.Observations, o)
		}
		return in
	}
	for _, x := range []struct {
		name             string
		accepts, refuses uint8
		level            Level
		says             string
	}{
		{"the same distance", 62, 62, Confirmed, "one member of several refuses"},
		{"the same distance, another system", 62, 126, Confirmed, "one member of several refuses"},
		{"nearer", 62, 63, Inconclusive, "come from 1 hop(s) away, and what accepts is 2:"},
		{"farther, another system", 62, 125, Inconclusive, "come from 3 hop(s) away"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			fs := checkClosed(round(x.accepts, x.refuses))
			if len(fs) != 1 || fs[0].Verdict != PortClosed || fs[0].Level != x.level || !strings.Contains(fs[0].Summary, x.says) {
				t.Errorf("%+v; want %s, %q", fs, x.level, x.says)
			}
		})
	}
}
