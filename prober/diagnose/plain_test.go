package diagnose

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// plainOf is two bursts of pairs, one SYN with timestamps and one without: those to the port lose the one without; those to a port where nobody listens
// lose it too where filtered.
func plainOf(filtered bool) []observe.Observation {
	src, port, closed := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:80"), netip.MustParseAddrPort("192.0.2.2:65520")
	var out []observe.Observation
	for b := range 2 {
		o := observe.Observation{Kind: plan.KindPlain, Captured: true}
		for n := range 24 {
			stamped := n%2 == 0
			a := observe.Attempt{Index: n, Via: plan.Raw, Flow: wire.Flow{Src: src, Dst: port}, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: when(300 + 100*b + n), HasTS: stamped}}}
			if n >= 16 {
				a.Flow.Dst, a.Outcome = closed, observe.Refused
			}
			if !stamped && (n < 16 || filtered) {
				a.Outcome = observe.TimedOut
			}
			o.Attempts = append(o.Attempts, a)
		}
		out = append(out, o)
	}
	return out
}

// A memory that was found to the tick drops SYNs without timestamps itself, before whatever port. One that is only likely explains nothing: then a port where
// nobody listens tells a filter.
func TestWhoDropsSYNsWithoutTimestamps(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	flips := flipOf("x...", "x...", "x...", "x...", "x...", "x...", "x...", "x...")
	memory := sidesOf(r, t0, 2, func(v wire.TSval) bool { return v.Before(t0 - 1) })
	bits := sidesOf(r, t0, 2, func(v wire.TSval) bool { return v>>7&1 == 1 })
	for _, c := range []struct {
		story string
		seen  [][]observe.Observation
		want  Verdict
	}{
		{"nothing is remembered, and a closed port resets both", [][]observe.Observation{plainOf(false)}, TWRecyclePAWSDropSNAT},
		{"nothing is remembered, and a closed port resets those with them alone", [][]observe.Observation{plainOf(true)}, ACLDrop},
		{"a memory to the tick, and a closed port resets those with them alone", [][]observe.Observation{flips, memory, plainOf(true)}, TWRecyclePAWSDropSNAT},
		{"a memory to the tick, not yet asked on both sides", [][]observe.Observation{flips, plainOf(true)}, ACLDrop},
		{"a filter on a bit of TSvals", [][]observe.Observation{flips, bits, plainOf(true)}, ACLDrop},
	} {
		in := &Input{}
		for _, list := range c.seen {
			in.Observations = append(in.Observations, list...)
		}
		if got := checkPlain(in); len(got) != 1 || got[0].Verdict != c.want || got[0].Level != Suspected {
			t.Errorf("%s: %+v, want %s", c.story, got, c.want)
		}
	}
}
