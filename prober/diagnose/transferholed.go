package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// HoledSum is what came of all data with a hole in front.
type HoledSum struct {
	retrans.Holed
	Flows  int // that were accepted and could be read
	Bursts int
}

// SumHoled adds up the bursts of a round whose capture has no gaps: what it missed would look lost.
func SumHoled(list []observe.Observation) HoledSum {
	var s HoledSum
	for i := range list {
		o := &list[i]
		if o.Kind != plan.KindHoled || o.ClockStep != 0 || !o.Whole() {
			continue
		}
		s.Bursts++
		for k := range o.Holed {
			if h := &o.Holed[k]; h.Over == 0 && h.Read.Sent > 0 && h.Read.SACK {
				s.Flows++
				s.Add(&h.Read)
			}
		}
	}
	return s
}

// leastNumbering is how many connections, and what part of all, must each have a count of its own before the counts are believed: one count for
// several would tell of what went elsewhere.
const (
	leastNumbering = 4
	numberingPart  = 0.5
)

// numbered reports whether the target numbers its segments.
func (s *HoledSum) numbered() bool {
	return s.Numbering >= leastNumbering && float64(s.Numbering) >= numberingPart*float64(s.Flows)
}

// there and back are the two ways: what was lost of what is known of each. The way back is told by the target's own numbers where it writes any,
// else by the acknowledgments that each segment must have drawn.
func (s *HoledSum) there() stats.Arm { return stats.Arm{Hits: s.Lost, N: s.Lost + s.Arrived} }

func (s *HoledSum) back() stats.Arm {
	if s.numbered() {
		return stats.Arm{Hits: s.Gone, N: s.Numbered}
	}
	return stats.Arm{Hits: s.Missing, N: s.Asked}
}

// Ways is what was lost of what is known each way; answers is what came back, in words.
func (s *HoledSum) Ways() (there, back stats.Arm, answers string) {
	answers = "acknowledgments"
	if s.numbered() {
		answers = "segments that it numbered"
	}
	return s.there(), s.back(), answers
}

// chances are the probabilities of so much loss, or more, on a path without a fault. Acknowledgments that came late tell how often two segments may
// have arrived at once, and drawn one together.
func (s *HoledSum) chances() (there, back float64) {
	there = 1
	if a := s.there(); a.N > 0 {
		there = max(stats.BinomialAtLeast(a.Hits, a.N, noise), leastP)
	}
	if s.numbered() {
		return there, s.missing(noise)
	}
	return there, s.missing(noise + 2*float64(s.Late)/float64(max(s.Asked, 1)))
}

// missing is the probability of so many moments in which something is missing on the way back, or more, where each is with probability p.
func (s *HoledSum) missing(p float64) float64 {
	moments, n := s.Moments, s.Asked
	if s.numbered() {
		moments, n = s.Gaps, s.Numbered
	}
	if n == 0 {
		return 1
	}
	return max(stats.BinomialAtLeast(moments, n, min(1, p)), leastP)
}

// merging is the share of acknowledgments that are missing past which a receiver, or a device that thins them out, looks as likely as loss.
const merging = 0.25

// Says is the way that is lossy, in words.
func (s *HoledSum) Says() string {
	pThere, pBack := s.chances()
	looks := s.Bursts
	a, b := s.there(), s.back()
	there, back := firmData(pThere, looks) >= Confirmed, firmData(pBack, looks) >= Confirmed
	more := func(a, b stats.Arm) bool {
		return fisher(silences{silent: a.Hits, n: a.N}, silences{silent: b.Hits, n: b.N})*float64(max(looks, 1)) < naming
	}
	switch {
	case s.Filled:
		return "but a device on the way acknowledges what never left, so that they say nothing of the path behind it"
	case back && b.Hits > int(merging*float64(b.N)):
		return "so many that acknowledgments are more likely to be merged than lost"
	case there && back:
		return "both ways lose"
	case there && more(a, b):
		return "the way to the target loses, the way back does not"
	case back && more(b, a):
		return "the way back loses, the way to the target does not"
	case !back && firmData(s.missing(noise), looks) >= Confirmed:
		return "acknowledgments came too unevenly to tell whether any was lost, or two in one"
	case there || back:
		return oneWayOpen
	}
	return "neither way loses segments of this size now"
}

// oneWayOpen is what is said while one way is known to lose and the other is not.
const oneWayOpen = "too few to say whether the other way loses as well"

// mostHoled is how often data with a hole in front is sent to learn which way loses.
const mostHoled = 3

// oneWay asks for data with a hole in front, or adds what came of it; where that was too little to tell the ways apart, it asks again.
func (f *Finding) oneWay(in *Input) {
	again := Want{Kind: plan.KindHoled, Why: "which way is data lost: there, back, or both?", Most: mostHoled}
	bursts := in.bursts(plan.KindHoled)
	if bursts == 0 {
		f.Wants = append(f.Wants, again)
		return
	}
	s := SumHoled(in.Observations)
	if s.Arrived == 0 {
		return
	}
	if s.Says() == oneWayOpen && bursts < mostHoled {
		f.Wants = append(f.Wants, again)
	}
	pThere, pBack := s.chances()
	a, b, answers := s.Ways()
	f.Evidence = append(f.Evidence, fmt.Sprintf("data with a hole in front, which SACKs report segment by segment: %s of %s lost on the way there (p %s), %s of %s %s on the way "+
		"back (p %s): %s", number(a.Hits), number(a.N), chanceText(pThere), number(b.Hits), number(b.N), answers, chanceText(pBack), s.Says()))
}
