package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// SidesMargin is how many ticks TSvals drawn by lot keep from what is remembered and from half a circle away: as far as a clock of 1,000 ticks a second
// comes in two minutes, so that a memory which moves meanwhile answers as it would have.
const SidesMargin = 1 << 17

// mostSides is how many bursts of TSvals drawn by lot a memory is worth.
const mostSides = 6

const whySides = "is it a comparison with that TSval: are all older ones refused, and all newer ones served?"

// sides is what single SYNs met whose TSvals were drawn anew for each, on both sides of one that may be remembered. A memory compares signed
// (net/ipv4/tcp_metrics.c tcp_peer_is_proven and net/ipv4/tcp_ipv4.c tcp_v4_conn_request, 2.6.32 to 3.10: (s32)(peer − TSval) > TCP_PAWS_WINDOW): the half
// circle below is refused and the other served. What filters by bits, or by any function that is not such a comparison, refuses some on both.
type sides struct {
	quarter [4]silences // the circle from the remembered TSval on: two newer quarters, two older ones
	blocks  [][]ask
	bursts  int
}

// readSides reads the bursts that asked around a TSval no farther from x than the margin, until a time; the zero time is no end.
func readSides(seen []observe.Observation, x wire.TSval, until time.Time) sides {
	var s sides
	for i := range seen {
		o := &seen[i]
		if o.Kind != plan.KindSides || !trusted(o) || len(o.Arms) == 0 || !around(o.Arms[0].Script.Clock.Start, x) {
			continue
		}
		s.bursts++
		turns := map[string]wire.TSval{}
		for k := range o.Arms {
			if c := &o.Arms[k].Script.Clock; len(c.Turns) > 0 {
				turns[o.Arms[k].Name] = c.Turns[0]
			}
		}
		blocks := make([][]ask, (len(o.Attempts)+3)/4)
		for j := range o.Attempts {
			a := &o.Attempts[j]
			turn, ok := turns[a.Arm]
			met := sideAnswer(a, until)
			if !ok || met == notAsked {
				continue
			}
			k := int(turn >> 30)
			s.quarter[k].count(met)
			if b := a.Index / 4; b < len(blocks) {
				blocks[b] = append(blocks[b], ask{k, met == wasAnswered})
			}
		}
		s.blocks = append(s.blocks, blocks...)
	}
	return s
}

// around reports whether two TSvals are so close that TSvals drawn around one lie on the same sides of the other.
func around(a, b wire.TSval) bool {
	d := int64(a.Sub(b))
	return -SidesMargin/2 <= d && d <= SidesMargin/2
}

func sideAnswer(a *observe.Attempt, until time.Time) response {
	switch {
	case len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() || !a.SYNs[0].HasTS || !until.IsZero() && a.SYNs[0].At.After(until):
	case a.Outcome == observe.Accepted || a.Outcome == observe.Refused:
		return wasAnswered
	case a.Outcome == observe.TimedOut && len(a.Answers) == 0:
		return wasSilent
	}
	return notAsked
}

// sideState is what the TSvals drawn by lot say of a comparison.
type sideState uint8

const (
	sidesOpen     sideState = iota
	sidesCompare            // both older quarters are refused, and both newer ones served
	sidesContrary           // silence is not of one side: no comparison makes that
)

// state judges them: chance must be out over blocks of four, and each quarter for itself must keep to its side, since a filter may refuse a part of
// one. With the six looks paid for the error is below 10⁻⁴.
func (s *sides) state() sideState {
	older, newer := s.halves()
	if older.n < 8 || newer.n < 8 {
		return sidesOpen
	}
	p := s.p()
	each := 0.0
	for _, q := range s.quarter[2:] {
		each = max(each, fisher(q, newer))
	}
	for _, q := range s.quarter[:2] {
		each = max(each, fisher(older, q))
	}
	switch {
	case p < 1e-4/mostSides && each < 1e-2:
		return sidesCompare
	case p >= 1e-2 && (s.bursts >= mostSides || newer.silent >= 6), p < 1e-4/mostSides && each >= 0.05 && s.bursts >= 4:
		return sidesContrary
	}
	return sidesOpen
}

// p is the chance that silences which do not turn on the side fall on the older one as they did.
func (s *sides) p() float64 { return dealt(s.blocks, &cells{}, 2) }

func (s *sides) halves() (older, newer silences) {
	for k, q := range s.quarter {
		half := &newer
		if k >= 2 {
			half = &older
		}
		half.silent, half.n = half.silent+q.silent, half.n+q.n
	}
	return older, newer
}

// wants asks for more of them, while they are open.
func (s *sides) wants() []Want {
	if s.state() != sidesOpen || s.bursts >= mostSides {
		return nil
	}
	return []Want{{Kind: plan.KindSides, Why: whySides, Most: mostSides}}
}

func (s *sides) String() string {
	older, newer := s.halves()
	return fmt.Sprintf("of TSvals drawn by lot from half a circle on either side %d of %d older ones were silent, %d of %d newer ones (permutation p = %.2g)", older.silent, older.n,
		newer.silent, newer.n, s.p())
}

// compared makes of a finding what the sides leave of it: a comparison proves a memory that was told to the tick, and what is none refutes it. Where
// they are open, some filter may do what was seen.
func (f *Finding) compared(s *sides) {
	switch st := s.state(); {
	case st == sidesCompare:
		f.Evidence = append(f.Evidence, s.String()+": a signed comparison with what is remembered, which no filter on bits of a TSval makes")
	case st == sidesContrary:
		f.Level, f.Settle = Inconclusive, "a filter or a stack that drops by TSval: a capture on its either side"
		f.Evidence = append(f.Evidence, s.String()+": no comparison with one remembered TSval does that")
		f.Summary += "; but not as a comparison with it"
	case f.Level > Confirmed:
		f.Level = Confirmed
	}
}

// SidesOf is the TSval around which a comparison is to be asked about: what a prime left where a flip holds, else what a search found.
func SidesOf(seen []observe.Observation) (wire.TSval, bool) {
	if f, ok := readFlip(seen); ok {
		return f.prime.T0, f.state() == flipHolds
	}
	m, ok := ReadMemory(seen)
	if !ok {
		return 0, false
	}
	s, found := m.Best()
	return s.Hi, found && s.Hi.Sub(s.Lo) < narrow
}
