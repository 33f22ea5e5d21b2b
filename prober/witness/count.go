package witness

import (
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// compared is what the stretches with SYNs in vain are held against: quiet ones, as long as the middle one of those.
type compared struct {
	dosed, quiet []stretch
}

func compare(all []stretch) compared {
	var c compared
	var quiet []stretch
	for _, s := range all {
		switch {
		case !s.ok:
		case s.dose > 0:
			c.dosed = append(c.dosed, s)
		default:
			quiet = append(quiet, s)
		}
	}
	if len(c.dosed) == 0 {
		return c
	}
	c.quiet = lengthen(quiet, c.middle())
	return c
}

// lengthen joins neighbours until each is of a length; what is left over is left out. The time that the readings between them took counts in.
func lengthen(quiet []stretch, least time.Duration) []stretch {
	var out []stretch
	var open stretch
	going := false
	for _, s := range quiet {
		if going && open.after == s.first {
			open.to, open.after = s.to, s.after
			open.moved += s.moved
		} else {
			open = s
		}
		going = open.length() < least
		if !going {
			out = append(out, open)
		}
	}
	return out
}

// count fills in what the stretches come to.
func (c *compared) count(t *diagnose.Testimony) {
	least := int64(math.MaxInt64)
	for i := range c.dosed {
		s := &c.dosed[i]
		need := (s.dose + 1) / 2
		least = min(least, need)
		t.Intervals++
		if s.moved >= need {
			t.Moved++
		}
		t.Seen += s.moved
		t.Expected += s.dose
	}
	var background int64
	for i := range c.quiet {
		s := &c.quiet[i]
		t.Quiet++
		if s.moved >= least {
			t.QuietMoved++
		}
		background += s.moved
		t.QuietTime += s.length()
	}
	if t.QuietTime > 0 {
		t.Background = float64(background) / t.QuietTime.Seconds()
	}
	t.P, t.Alpha = c.chance(t, background), Alpha/looks
}

// fewStretches is below what stretches alone cannot tell: our SYNs left in one instant or a few.
const fewStretches = 5

// chance compares by Fisher's exact test on stretches: each either rose by half of what our SYNs should have moved, or not. Stretches and not single
// counts are compared, since what moves a counter in the background comes in heaps. Where there are too few with SYNs, and no quiet one rose as
// much, single counts decide: given the total, each falls into the stretches with SYNs with their share of the time.
func (c *compared) chance(t *diagnose.Testimony, background int64) float64 {
	switch {
	case t.Quiet == 0 || t.Intervals == 0:
		return 1
	case t.Intervals >= fewStretches || t.QuietMoved > 0:
		return stats.FisherGreater(stats.Arm{Hits: t.Moved, N: t.Intervals}, stats.Arm{Hits: t.QuietMoved, N: t.Quiet})
	}
	share := c.time().Seconds() / (c.time() + t.QuietTime).Seconds()
	return stats.BinomialAtLeast(int(t.Seen), int(t.Seen+background), share)
}

func (c *compared) time() (sum time.Duration) {
	for i := range c.dosed {
		sum += c.dosed[i].length()
	}
	return sum
}

// matches reports whether the rise, less the background, is what our SYNs should have made of it: a fifth less to a quarter more, or one.
func (c *compared) matches(t *diagnose.Testimony) bool {
	own, want := float64(t.Seen)-t.Background*c.time().Seconds(), float64(t.Expected)
	return own >= min(0.8*want, want-1) && own <= max(1.25*want, want+1)
}

// fewReadings and fewSYNs are below what a listener's state, or a counter that stands still, says too little.
const (
	fewReadings = 4
	fewSYNs     = 5
)

// decide says what the counter does to its verdict. A listener that was full at the readings around the SYNs drops each by the kernel's own
// rule, so that there the counter need only have counted enough, whatever else it counts.
func (c *compared) decide(t *diagnose.Testimony, k *telling, q queues, mayRefute bool) diagnose.Effect {
	switch {
	case t.Expected < fewSYNs:
		return diagnose.EffectUnsaid
	case q.always() && t.Seen*10 >= t.Expected*8:
		return diagnose.EffectUpgraded
	case k.alone && !q.never() && t.P < t.Alpha && c.matches(t):
		return diagnose.EffectUpgraded
	case mayRefute && !q.always() && t.Seen*5 < t.Expected:
		return diagnose.EffectRefuted
	case t.QuietMoved > 0 && t.P >= t.Alpha, t.Seen > 0 && q.never():
		return diagnose.EffectBackground
	}
	return diagnose.EffectUnmatched
}
