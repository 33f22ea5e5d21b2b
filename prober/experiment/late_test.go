package experiment_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// TestLateReset: the balancer's RST to a silent connection stands in the evidence with its time and whose it is; it is no refusal, and no
// other verdict comes of it.
func TestLateReset(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rst  time.Duration // of the balancer; 0: never
		wait bool
		want string // in the evidence; empty: nothing of the kind
	}{
		{"reset after 15 s", 15 * time.Second, true, "4 of 4 silent connections after 15.0 s (TTL "},
		{"never reset", 0, true, "4 silent SYNs were left alone for 22.0 s: nothing more came"},
		{"later than anybody waits", 40 * time.Second, true, "4 silent SYNs were left alone for 22.0 s: nothing more came"},
		{"not asked", 15 * time.Second, false, ""},
	} {
		for seed := range uint64(5) {
			w := fakenet.CALSNAT(seed)
			w.Balancer.LateRST = tt.rst
			w.Wait(3 * time.Second)
			inv := &experiment.Investigation{Host: diagnose.Input{Ladder: w.Client.Ladder}, Rand: rand.New(rand.NewPCG(seed, 1)),
				Setup: experiment.Setup{Dst: w.Target, Burst: 10, Ladder: w.Client.Ladder, Listen: 9500 * time.Millisecond, MSS: 1460,
					HalfOpen: 16, LateReset: tt.wait}}
			in := diagnose.Input{Ladder: w.Client.Ladder}
			for b, more := inv.Next(nil); more; b, more = inv.Next(in.Observations) {
				in.Observations = append(in.Observations, w.RunTogether(inv.With(b, in.Observations)...)...)
			}
			d := diagnose.Diagnose(in)
			if len(d.Causes) != 1 || d.Causes[0].Verdict != diagnose.TWRecyclePAWSDropSNAT {
				t.Fatalf("%s, seed %d: named %v", tt.name, seed, named(&d))
			}
			text := strings.Join(d.Causes[0].Evidence, "\n")
			if tt.want == "" && strings.Contains(text, "left alone") || !strings.Contains(text, tt.want) {
				t.Errorf("%s, seed %d: want %q in\n%s", tt.name, seed, tt.want, text)
			}
		}
	}
}
