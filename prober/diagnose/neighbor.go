package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// pending is a time during which an address was being asked for and had not answered.
type pending struct {
	by       netip.Addr // who asked; invalid where it did not say
	addr     netip.Addr
	from, to time.Time // to is zero when no answer came
	requests int
}

// took is how long the answer was awaited; open: it never came.
func (p *pending) took() (d time.Duration, open bool) {
	if p.to.IsZero() {
		return 0, true
	}
	return p.to.Sub(p.from), false
}

// ours lists the addresses that this host asked for during the burst.
func ours(o *observe.Observation) []pending { return resolutions(o, true) }

// theirs lists the questions for an address of ours by those whose answers the burst awaits.
func theirs(o *observe.Observation) []pending { return resolutions(o, false) }

// resolutions leaves out who is only verified: what is for him is sent meanwhile.
func resolutions(o *observe.Observation, outgoing bool) []pending {
	var all []pending
	for _, x := range observe.Exchanges(o.Neighbor) {
		if !x.Unicast && x.Outgoing == outgoing && o.Awaits(&x) && !before(o, &x) {
			all = append(all, pending{by: x.Asker, addr: x.Asked, from: x.First, to: x.Answered(), requests: x.Requests})
		}
	}
	return all
}

// before reports whether a question was over when the burst began: asked to prepare it, and answered or given up by then.
func before(o *observe.Observation, x *observe.Exchange) bool {
	return x.Last.Before(o.Started) && x.Answered().Before(o.Started)
}

// waiting is a burst, in the order in which its first packets came to a queue, and which of them were lost there.
type waiting struct {
	order []*observe.Attempt
	lost  []bool
}

// pattern is what a queue that drops from its head leaves of a burst: run losses at the beginning, then survivors; after counts losses
// behind the first survivor, which such a queue does not make.
type pattern struct{ n, run, after, survivors int }

func (w *waiting) pattern() pattern {
	p := pattern{n: len(w.lost)}
	for _, l := range w.lost {
		switch {
		case !l:
			p.survivors++
		case p.survivors == 0:
			p.run++
		default:
			p.after++
		}
	}
	return p
}

// control is what became of first SYNs while nobody was being asked for: the same path with warm entries.
type control struct{ n, lost int }

// moreControl asks for more SYNs with warm entries: that none of many is lost makes the few losses of a first contact stand out.
func moreControl() []Want {
	return []Want{{Kind: plan.KindSticky, Why: "is anything lost while nobody is being asked for?", Most: 5}, {Kind: plan.KindConnect, Why: "the same burst with warm entries", Most: 4}}
}

// chance is how likely losses that might have fallen on burst and control alike would begin the burst with such a run.
func (p pattern) chance(c control) float64 {
	return stats.LeadingRun(p.n+c.n, p.run+p.after+c.lost, p.run)
}

// warm reports whether nobody was being asked for during a burst in which absence can be read.
func warm(o *observe.Observation) bool {
	return trusted(o) && len(ours(o)) == 0 && len(theirs(o)) == 0
}

// warmRepeat reports whether another burst of the round, at least as large and with nobody being asked for, lost nothing.
func warmRepeat(in *Input, not, size int, lost func(*observe.Attempt) bool) bool {
	for i := range in.Observations {
		o := &in.Observations[i]
		if i == not || aside(o.Kind) || len(o.Attempts) < size || !warm(o) {
			continue
		}
		hit := false
		for j := range o.Attempts {
			a := &o.Attempts[j]
			hit = hit || a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown || lost(a)
		}
		if !hit {
			return true
		}
	}
	return false
}

// stamp is a time within a burst, from its start.
func stamp(o *observe.Observation, t time.Time) string {
	return "+" + t.Sub(o.Started).Round(10*time.Microsecond).String()
}

// spell lists attempts by index, runs shortened: "0–6, 9".
func spell(list []*observe.Attempt) string {
	var idx []int
	for _, a := range list {
		idx = append(idx, a.Index)
	}
	slices.Sort(idx)
	s := ""
	for i := 0; i < len(idx); {
		j := i
		for j+1 < len(idx) && idx[j+1] == idx[j]+1 {
			j++
		}
		if s != "" {
			s += ", "
		}
		s += fmt.Sprint(idx[i])
		if j > i {
			s += fmt.Sprintf("–%d", idx[j])
		}
		i = j + 1
	}
	return s
}
