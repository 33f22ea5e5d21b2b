package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func TestALadderOfOursThatHurriesIsNoTrouble(t *testing.T) {
	const ms = time.Millisecond
	late := func(edit func(*observe.Attempt)) *Input {
		in := swept(40, ms)
		in.Observations[0].Kind = plan.KindReuse
		for i := range 6 {
			a := &in.Observations[0].Attempts[i]
			a.Late, a.Retransmissions, a.RTT, a.Handshake = observe.LateSlow, 1, 0, 430*ms
			edit(a)
		}
		return in
	}
	for name, c := range map[string]struct {
		in   *Input
		want Verdict
		note Verdict
	}{
		"six answers that came before a host would have asked again": {late(func(*observe.Attempt) {}), Healthy, ""},
		"one that came when a host would have":                       {late(func(a *observe.Attempt) { a.Handshake = 900 * ms }), "", SlowPathNotStall},
		"one that a later SYN drew: the first was lost":              {late(func(a *observe.Attempt) { a.Answered = 1 }), "", SlowPathNotStall},
		"a host's own ladder does not hurry":                         {late(func(a *observe.Attempt) { a.Via = plan.Kernel }), "", SlowPathNotStall},
	} {
		d := Diagnose(*c.in)
		var got, note Verdict
		if len(d.Causes) > 0 {
			got = d.Causes[0].Verdict
		}
		if len(d.Notes) > 0 {
			note = d.Notes[0].Verdict
		}
		if got != c.want || note != c.note {
			t.Errorf("%s: %q with note %q (%s), want %q with %q", name, got, note, d.Headline, c.want, c.note)
		}
	}
}
