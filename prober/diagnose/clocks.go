package diagnose

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Whose says whose timestamp clock a series shows.
type Whose string

// OwnKernel is this host's, as its ordinary connects show it; Others that of SYNs which leave this host from the same address and are none
// of ours; Remembered what a server has of this address.
const (
	OwnKernel  Whose = "own_kernel"
	Others     Whose = "others"
	Remembered Whose = "remembered"
)

// String is for people.
func (w Whose) String() string {
	switch w {
	case OwnKernel:
		return "this host's kernel"
	case Others:
		return "others from this address"
	case Remembered:
		return "remembered by the server"
	}
	return string(w)
}

// ClockPoint is one TSval at one time. Within is how many ticks lower it may be; 0: it is exact.
type ClockPoint struct {
	At     time.Time
	TSval  wire.TSval
	Within uint32
}

// ClockSeries is one timestamp clock over a round, points in order of time.
type ClockSeries struct {
	Of     Whose
	Points []ClockPoint
	// Hz is the rate where it is known and one of Linux's; 0: it is not, or the values lie on no one clock.
	Hz uint32
	// HzLow and HzHigh bound the rate where it was measured; both 0: it was not. HzHigh alone 0: no upper bound.
	HzLow, HzHigh float64
	// Note says in words what else is known of the rate: "fixed", "irregular", "one per connection"; or is empty.
	Note string
}

// The notes on a rate.
const (
	noteFixed     = "fixed"              // nothing newer was recorded while it was looked at
	noteIrregular = "irregular"          // no one clock fits
	noteEach      = "one per connection" // no two connections share one
)

// maxPoints bounds a series: as much as a reader can take in.
const maxPoints = 256

// clocks are the timestamp clocks of a round in which TSvals decided.
func clocks(in *Input) []ClockSeries {
	var out []ClockSeries
	for _, s := range []ClockSeries{ownSeries(in), foreignSeries(in), memorySeries(in)} {
		if len(s.Points) > 0 {
			slices.SortStableFunc(s.Points, func(a, b ClockPoint) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.TSval, b.TSval)) })
			s.Points = s.Points[:min(len(s.Points), maxPoints)]
			out = append(out, s)
		}
	}
	return out
}

// ownSeries has one point for each first SYN of this host's kernel.
func ownSeries(in *Input) ClockSeries {
	s := ClockSeries{Of: OwnKernel}
	for i := range in.Observations {
		for j := range in.Observations[i].Attempts {
			a := &in.Observations[i].Attempts[j]
			if a.Via == plan.Kernel && len(a.SYNs) > 0 && a.SYNs[0].HasTS && !a.SYNs[0].At.IsZero() {
				s.Points = append(s.Points, ClockPoint{At: a.SYNs[0].At, TSval: a.SYNs[0].TSval})
			}
		}
	}
	if own := readOwnClock(in); own.n > 1 && own.single {
		s.Hz = ownHz
	} else if own.n > 1 {
		s.Note = noteEach
	}
	return s
}

func foreignSeries(in *Input) ClockSeries {
	s := ClockSeries{Of: Others}
	for i := range in.Observations {
		for _, f := range in.Observations[i].Foreign {
			if f.HasTS {
				s.Points = append(s.Points, ClockPoint{At: f.At, TSval: f.TSval})
			}
		}
	}
	return s
}

// memorySeries has one point for each sighting of what a server remembers.
func memorySeries(in *Input) ClockSeries {
	s := ClockSeries{Of: Remembered}
	m, ok := in.memory()
	if p, primed := Primed(in.Observations); !ok && primed {
		s.Points = []ClockPoint{{At: p.At, TSval: p.T0}} // the flip showed that it is remembered
		return s
	}
	near := m.near()
	for i := range near {
		s.Points = append(s.Points, ClockPoint{At: near[i].Answered, TSval: near[i].Hi, Within: uint32(near[i].Hi.Sub(near[i].Lo))})
	}
	switch p := readPace(near); {
	case !p.steady:
		s.Note = noteIrregular
	case p.moved:
		s.Hz, s.HzLow = p.hz, p.low
		if !math.IsInf(p.high, 1) {
			s.HzHigh = p.high
		}
	case p.span > 0:
		s.Note = noteFixed
	}
	return s
}

// onTimestamps reports whether a verdict is about TSvals that a server compares.
func onTimestamps(v Verdict) bool {
	switch v {
	case TWRecyclePAWSDrop, TWRecyclePAWSDropSNAT, TSClockDomainConflict, ClientRandomTSVsRecycle:
		return true
	default:
		return false
	}
}
