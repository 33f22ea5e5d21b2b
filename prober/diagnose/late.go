package diagnose

import (
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// RefusedTSval is a TSval that single SYNs showed to be refused, or ok is false.
func RefusedTSval(seen []observe.Observation) (val wire.TSval, ok bool) {
	in := Input{Observations: seen}
	q, c := readQuadrants(&in), readCells(&in)
	if q.bursts == 0 {
		return 0, false
	}
	t := judgeTSvals(&q, &c)
	return q.start[t.k], t.p < 1e-2
}

// leftAlone is what came of SYNs that were left alone for long: when the RSTs came and with which hop limit.
type leftAlone struct {
	n, reset int
	after    []time.Duration
	ttl      uint8
	listened time.Duration
}

func readLeftAlone(in *Input) leftAlone {
	var l leftAlone
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindLate || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() || firstSYNACK(a) != nil {
				continue
			}
			l.n++
			l.listened = max(l.listened, o.Finished.Sub(a.SYNs[0].At))
			for k := range a.Answers {
				if ans := &a.Answers[k]; ans.Kind == observe.RST {
					l.reset++
					l.after = append(l.after, ans.At.Sub(a.SYNs[0].At))
					l.ttl = ans.HopLimit
					break
				}
			}
		}
	}
	slices.Sort(l.after)
	return l
}

// soon is the time within which an RST is the answer of a closed port, and not of a device that gave up waiting.
const soon = time.Second

// lateReset puts what came of silent connections beside the causes that silence them: a balancer that resets them after a while says by
// that itself that no member answered.
func (d *Diagnosis) lateReset(in *Input) {
	l := readLeftAlone(in)
	if l.n == 0 {
		return
	}
	line := fmt.Sprintf("%d silent SYNs were left alone for %.1f s: nothing more came", l.n, l.listened.Seconds())
	if l.reset > 0 && l.after[0] >= soon {
		first, last := l.after[0].Seconds(), l.after[len(l.after)-1].Seconds()
		when := fmt.Sprintf("after %.1f s", first)
		if last-first >= 0.1 {
			when = fmt.Sprintf("after %.1f to %.1f s", first, last)
		}
		whose := ""
		if ttl := servedTTL(in); ttl != 0 && ttl != l.ttl {
			whose = fmt.Sprintf(" (TTL %d, where SYN-ACKs have %d: its own, not a member's)", l.ttl, ttl)
		} else if ttl != 0 {
			whose = fmt.Sprintf(" (TTL %d, as SYN-ACKs have)", ttl)
		}
		line = fmt.Sprintf("the VIP reset %d of %d silent connections %s%s: it had waited for a member that never answered", l.reset, l.n, when, whose)
	}
	best := -1
	for i := range d.Causes {
		switch c := &d.Causes[i]; {
		case c.Verdict.Subject() == SubjectTimestamps:
			best = i
		case best < 0 && (c.Verdict.Subject() != SubjectSelf || c.Verdict == SYNStallUnclassified):
			best = i
		}
	}
	if best >= 0 {
		d.Causes[best].Evidence = append(d.Causes[best].Evidence, line)
	}
}

// servedTTL is the hop limit that most SYN-ACKs of the round arrived with; 0 where there are none.
func servedTTL(in *Input) uint8 {
	n := map[uint8]int{}
	best := uint8(0)
	for i := range in.Observations {
		for j := range in.Observations[i].Attempts {
			if ans := firstSYNACK(&in.Observations[i].Attempts[j]); ans != nil && ans.HopLimit != 0 {
				n[ans.HopLimit]++
				if n[ans.HopLimit] > n[best] {
					best = ans.HopLimit
				}
			}
		}
	}
	return best
}
