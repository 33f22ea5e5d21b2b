package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// A burst that was planned 4 ms apart is apart where its SYNs left so, and nowhere else.
func TestApartIsWhatLeftApart(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	began := time.Unix(1000, 0)
	// sent is a sweep whose SYNs left at these times; the answer to each in lost came to its repeat.
	sent := func(kind plan.Kind, at []time.Duration, lost map[int]bool) observe.Observation {
		o := observe.Observation{Kind: kind, Captured: true, Started: began, Finished: began.Add(10 * time.Second)}
		for i, d := range at {
			a := observe.Attempt{Index: i, Via: plan.Raw, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: began.Add(d)}}}
			if lost[i] {
				a.SYNs = append(a.SYNs, observe.SYN{At: began.Add(d + 200*ms + time.Duration(i)*4*ms)})
				a.Retransmissions, a.Answered, a.Lost, a.LostBy = 1, 1, 1, observe.ByTSecr
			}
			o.Attempts = append(o.Attempts, a)
		}
		return o
	}
	var spaced, bunched []time.Duration
	for i := range 32 {
		spaced = append(spaced, time.Duration(i)*4*ms)
		bunched = append(bunched, time.Duration(i/4*16)*ms+time.Duration(i%4)*20*time.Microsecond)
	}
	some := map[int]bool{1: true, 3: true, 6: true, 9: true, 11: true, 14: true, 17: true, 19: true, 22: true, 27: true}
	shift := func(o observe.Observation, by time.Duration) observe.Observation {
		for i := range o.Attempts {
			for k := range o.Attempts[i].SYNs {
				at := &o.Attempts[i].SYNs[k].At
				*at = at.Add(by)
			}
		}
		return o
	}
	heap, later := sent(plan.KindQuadrants, bunched, some), shift(sent(plan.KindQuadrants, spaced, nil), 5*time.Second)
	for _, c := range []struct {
		name   string
		seen   []observe.Observation
		crowds bool
		apart  int
	}{
		{"sent apart, and some lost", []observe.Observation{sent(plan.KindQuadrants, spaced, some), later}, false, 64},
		{"sent in heaps, and some lost; those apart are all answered", []observe.Observation{heap, later}, true, 32},
		{"near miss: sent in heaps, and those apart are lost as well", []observe.Observation{heap, shift(sent(plan.KindSticky, spaced, some), 5*time.Second)}, false, 32},
		{"near miss: sent apart, but another burst's leave beside each", []observe.Observation{later, shift(sent(plan.KindSticky, spaced, some), 5*time.Second+time.Millisecond)}, false, 0},
	} {
		in := &Input{Observations: c.seen, explained: map[int]bool{}}
		if got := readCompany(in).crowds(fates(in, sweepKinds()...)); got != c.crowds {
			t.Errorf("%s: loss keeps to SYNs with company: %v, want %v", c.name, got, c.crowds)
		}
		if got := readConcurrency(in).apart.n; got != c.apart {
			t.Errorf("%s: %d SYNs count as apart, want %d", c.name, got, c.apart)
		}
	}
}
