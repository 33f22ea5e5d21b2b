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

// Of several members behind one address some may answer by cookie: each flow tells that of its own, however late others are answered.
func TestCookiesOfSomeMembers(t *testing.T) {
	t.Parallel()
	clock := func(ms int) wire.TSval { return wire.TSval(990_000 + ms) }
	cookie := func(ms int) wire.TSval { return clock(ms)&^63 | 7 }
	// asked is a flow asked three times, the answer to the last so many ms later than the others.
	asked := func(n, late int, val func(int) wire.TSval) observe.Attempt {
		a := observe.Attempt{Index: n, Via: plan.Raw, Outcome: observe.Accepted}
		for k, at := range []int{3 * n, 3*n + 230, 3*n + 517} {
			syn := observe.SYN{At: when(at), HasTS: true, TSval: wire.TSval(7000 + at)}
			a.SYNs = append(a.SYNs, syn)
			a.Answers = append(a.Answers, observe.Answer{At: when(at + 5 + k/2*late), Kind: observe.SYNACK, HasTS: true, TSecr: syn.TSval, TSval: val(at)})
		}
		return a
	}
	for _, c := range []struct {
		story   string
		cookies int
		late    int // of the flows that a clock answers
		kept    int
	}{
		{"clocks alone", 0, 0, 0},
		{"clocks alone, answers late", 0, 1300, 0},
		{"two flows answered by cookie", 2, 0, 2},
		{"two flows answered by cookie, and late answers on the others", 2, 1300, 2},
	} {
		o := observe.Observation{Kind: plan.KindEven, Captured: true}
		for n := range 8 {
			if n < c.cookies {
				o.Attempts = append(o.Attempts, asked(n, 0, cookie))
			} else {
				o.Attempts = append(o.Attempts, asked(n, c.late, clock))
			}
		}
		if l := readLowBits(&Input{Observations: []observe.Observation{o}}); l.kept != c.kept || l.cookies() {
			t.Errorf("%s: %+v, want %d kept, and not all", c.story, l, c.kept)
		}
	}
}
