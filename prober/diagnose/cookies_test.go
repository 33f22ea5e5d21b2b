package diagnose

import (
	"testing"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// askedTwice are flows that sent two SYNs 192 ms apart, side by side. val is the listener's TSval for a SYN that came so many ms after the first one of all;
// back is by how many ms more than the first answer of a flow its second one was under way.
func askedTwice(back int, val func(ms int) wire.TSval) *Input {
	o := observe.Observation{Kind: plan.KindSticky, Captured: true}
	for n := range 8 {
		a := observe.Attempt{Index: n, Via: plan.Raw, Outcome: observe.Accepted}
		for k, at := range []int{3 * n, 3*n + 192} {
			syn := observe.SYN{At: when(at), HasTS: true, TSval: wire.TSval(7000 + at)}
			a.SYNs = append(a.SYNs, syn)
			a.Answers = append(a.Answers, observe.Answer{At: when(at + 380 + k*back), Kind: observe.SYNACK, HasTS: true, TSecr: syn.TSval, TSval: val(at)})
		}
		o.Attempts = append(o.Attempts, a)
	}
	return &Input{Observations: []observe.Observation{o}}
}

// A step of a whole number of cookies' ticks is a clock's as well, where SYNs left so far apart; answers that are not all as long under way hide it.
func TestCookiesAreToldFromAClock(t *testing.T) {
	clock := func(ms int) wire.TSval { return wire.TSval(990_000 + ms) }
	for _, c := range []struct {
		story string
		back  int
		val   func(ms int) wire.TSval
		want  bool
	}{
		{"a clock of 1,000 Hz", 0, clock, false},
		{"a clock of 1,000 Hz, answers 9 ms apart in age", 9, clock, false},
		{"cookies, whose steps no clock of a usual rate makes", 0, func(ms int) wire.TSval { return (clock(ms)+wire.TSval(ms/192*40))&^63 | 7 }, true},
	} {
		l := readLowBits(askedTwice(c.back, c.val))
		if l.cookies() != c.want {
			t.Errorf("%s: %+v, want %t", c.story, l, c.want)
		}
	}
}
