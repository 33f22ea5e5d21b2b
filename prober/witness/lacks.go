package witness

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// mostQuiet is how many stretches more are worth waiting for.
const mostQuiet = 24

// Lacks is how long the servers should still be listened to, while no SYN of ours is sent, so that a counter which has moved with our SYNs and never without
// them can be told from chance; 0 where it can, or where no such wait would tell. The wait is asked for by the counts of the stretches with SYNs and of the
// quiet ones, which it makes more of: it can only show a background that was not seen before, or that there is none.
func Lacks(seen []observe.Observation, witnesses []observe.Witness) time.Duration {
	r := newHearing(seen, witnesses)
	if len(witnesses) == 0 || len(r.vain) == 0 {
		return 0
	}
	var most time.Duration
	for _, p := range proofs() {
		if r.impossible(&p) != "" {
			continue
		}
		for i := range p.counters {
			most = max(most, r.lacks(&p, &p.counters[i]))
		}
	}
	return most
}

// lacks is what one counter wants.
func (r *hearing) lacks(p *proof, k *telling) time.Duration {
	readings := r.together(k, neighborTable(k.name, r.target.Addr().Is6()))
	heard := r.of(p)
	c := compare(heard.cut(readings))
	var t diagnose.Testimony
	c.count(&t)
	if !k.alone || t.Expected < fewSYNs || t.Intervals == 0 || t.QuietMoved > 0 || t.P < t.Alpha || !c.matches(&t) || heard.queues(p, c.dosed).never() {
		return 0
	}
	each, background := c.middle(), int64(t.Background*t.QuietTime.Seconds()+0.5)
	for n := 1; n <= mostQuiet; n++ {
		more := t
		more.Quiet += n
		more.QuietTime += time.Duration(n) * each
		if c.chance(&more, background) < t.Alpha {
			return time.Duration(n)*(each+between(readings)) + arrival
		}
	}
	return 0
}

// middle is the length of the middle one of the stretches with SYNs.
func (c *compared) middle() time.Duration {
	lengths := make([]time.Duration, len(c.dosed))
	for i := range c.dosed {
		lengths[i] = c.dosed[i].length()
	}
	slices.Sort(lengths)
	return lengths[len(lengths)/2]
}

// between is the usual time from one reading to the next: by so much a stretch may be longer than it need be.
func between(readings []reading) time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(readings); i++ {
		gaps = append(gaps, readings[i].asked.Sub(readings[i-1].asked))
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
