package diagnose

import (
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// remember adds what the server remembers to a finding, how that moves and whom it refuses for how long; and asks for what is not known of it. Where no search
// was worth it, unsought is between which TSvals the border lies.
func (f *Finding) remember(in *Input, unsought *Memory) {
	m, ok := in.memory()
	if !ok {
		f.borders(unsought)
		return
	}
	f.Wants = append(f.Wants, m.wants(in)...)
	s, ok := m.Best()
	if !ok {
		f.borders(&m)
		return
	}
	var drawn sides
	if f.Level >= Confirmed && s.Hi.Sub(s.Lo) < narrow && s.Met >= exactly {
		f.Level = Proven
		drawn = readSides(in.Observations, s.Hi, time.Time{})
		f.Wants = append(f.Wants, drawn.wants()...)
	}
	p, own := readPace(m.near()), readOwnClock(in)
	story := []string{s.String()}
	if p.span > 0 {
		story = append(story, "the remembered clock "+p.String())
	}
	story = append(story, m.victim(&own, &p))
	if !m.Forgotten.IsZero() {
		story = append(story, fmt.Sprintf("at %s it was forgotten: the last connection of that clock had been closed 60 s before", clockTime(m.Forgotten)))
	}
	if m.several() {
		story = append(story, fmt.Sprintf("several real servers answer, whose memories differ: this is the one that %d of %d flows met; %d met an older one or none, %d a newer one",
			s.Met, s.Flows, s.Older, s.Newer))
	}
	f.Evidence = append(story, f.Evidence...) // what an owner asks first
	if f.Level >= Confirmed {
		f.compared(&drawn)
	}
	if m.rising >= beyondReach && f.Level < Proven {
		f.Level, f.Settle = Inconclusive, "TSvals that are served: up to half a circle above what is remembered none is answered any more, and no memory moves so far"
	}
	if m.seam() {
		f.Level, f.Settle = Inconclusive, "a look after a minute: is it still the sign of TSvals that decides?"
		f.Summary += "; the border lies where TSvals change their sign, and stays there: a filter or a stack that takes them for signed numbers does that, and a memory hardly ever"
	}
}

// borders takes a finding back whose memory was not found, where TSvals change their sign somewhere between what is refused and what is served: a filter on
// the path may ask for no more than that. A member of several is no path.
func (f *Finding) borders(m *Memory) {
	if f.Level >= Confirmed && m.share >= 0.5 && changesSign(m.Lo, m.Hi) {
		f.Level, f.Settle = Inconclusive, "where the border lies: TSvals change their sign between what is refused and what is served, and a filter may ask for no more than that"
	}
}

// seam reports whether 0 or 2³¹, where a signed number of 32 bits changes its sign, lies within two ticks of what was found once. A memory that was told to the
// tick does so by chance once in some 10⁹; one that is known to 4,096 ticks once in 500,000.
func (m *Memory) seam() bool {
	return slices.ContainsFunc(m.near(), func(s Sighting) bool { return changesSign(s.Lo.Add(-2), s.Hi.Add(2)) })
}

// changesSign reports whether a TSval from lo to hi is a multiple of 2³¹.
func changesSign(lo, hi wire.TSval) bool { return (lo-1)>>31 != hi>>31 }

// clockTime is a time of day to the millisecond.
func clockTime(t time.Time) string { return t.UTC().Format("15:04:05.000") + " UTC" }

// String says what was remembered when.
func (s *Sighting) String() string {
	if s.Exact {
		return fmt.Sprintf("the server remembers %d from this address (at %s): %d SYNs at %d silent, %d at %d answered, one tick apart",
			s.Hi, clockTime(s.Answered), s.Silent, s.Lo.Add(-2), s.Served, s.Hi.Add(-1))
	}
	return fmt.Sprintf("the server remembers about %d from this address (at %s), between %d and %d; it moved on before it could be told to the tick",
		s.Hi, clockTime(s.Answered), s.Lo, s.Hi)
}

// several reports whether flows met different memories: often enough that it was not one that moved in between.
func (m *Memory) several() bool {
	n := 0
	for _, s := range m.near() {
		if s.Older+s.Newer >= exactly {
			n++
		}
	}
	return n > 1
}

// victim says who is refused and for how long: this host's kernel where it is, else anybody of whom the same would hold.
func (m *Memory) victim(own *ownClock, p *pace) string {
	s := &m.Sightings[len(m.Sightings)-1]
	still := s.Answered.Sub(m.Sightings[0].Answered)
	if own.n == 0 || !own.single {
		return "a client whose clock is behind it " + p.refusal(1<<31-1, 1000, still)
	}
	now := own.now(s.Answered)
	behind := int64(s.Hi.Sub(now))
	if behind <= 1 {
		return fmt.Sprintf("this host's own clock (%d) is %d ticks ahead of it, so its connections are served; a client whose clock is behind it %s",
			now, -behind, p.refusal(1<<31-1, 1000, still))
	}
	return fmt.Sprintf("a client at %d, as this host's kernel is, %s", now, p.refusal(behind, ownHz, still))
}

// ownHz is the rate of this host's kernel clock: 1,000 since Linux 4.13 whatever HZ is (include/net/tcp.h TCP_TS_HZ).
const ownHz = 1000

// Search is what to ask next of a memory.
type Search struct {
	// Lo is asked first on every flow: refused, as far as is known. Hi is the newest to ask.
	Lo, Hi wire.TSval
	// Again: a memory that was found is looked for some time later. What had been answered, Next, is then asked second on every flow, in case
	// nothing moved, and the rest the denser the closer to it.
	Again bool
	Next  wire.TSval
}

// closeEnough is how many ticks a sighting may be wide that says how far a memory has moved in most of a second.
const closeEnough = 16

// NextSearch returns what to ask next. wait is how long after the last sighting of a memory that is followed it shall be.
func NextSearch(m *Memory, wait time.Duration) Search {
	q := Search{Lo: m.Lo, Hi: m.Hi}
	if !m.found() || m.Moved || m.lost > 0 {
		return q
	}
	s := &m.Sightings[len(m.Sightings)-1]
	if s.Hi.Sub(s.Lo) > closeEnough && !m.several() { // of several memories none can be pinned down by more flows
		return q
	}
	return Search{Lo: s.Lo.Add(-2), Hi: s.Hi.Add(64 + fastest*wait.Milliseconds()/1000), Again: true, Next: s.Hi - 1}
}
