package fakenet

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// survey listens to what this host sends to the target from its own address and is none of ours.
func (w *World) survey(b *plan.Burst) observe.Observation {
	obs := observe.Observation{Label: b.Label, Kind: plan.KindSurvey, Started: w.Now(), Captured: !w.Tap.Off}
	from := w.now
	w.advance(w.now+b.Listen, nil)
	obs.Finished = w.Now()
	if w.Tap.Off {
		obs.Unmeasured = append(obs.Unmeasured, "survey of this host's own traffic: "+w.Tap.Why)
		return obs
	}
	for _, p := range w.Business {
		obs.Foreign = append(obs.Foreign, p.between(w, from, w.now)...)
	}
	slices.SortFunc(obs.Foreign, func(a, b observe.Foreign) int { return a.At.Compare(b.At) })
	return obs
}

// between lists the primer's connections in a span of time.
func (p *Primer) between(w *World, from, to time.Duration) (all []observe.Foreign) {
	q := *p
	q.next = uint64(max(0, from-p.Since) / max(p.Every, time.Millisecond))
	for ; ; q.next++ {
		at := q.at()
		if at >= to || p.Until > 0 && at >= p.Until {
			return all
		}
		if at >= from {
			f := p.flow(q.next)
			all = append(all, observe.Foreign{At: w.at(at), Flow: f, TSval: p.Clock.At(at, f), HasTS: true})
		}
	}
}
