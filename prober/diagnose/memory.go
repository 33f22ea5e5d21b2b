package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Memory is what a server remembers of our address as the searches of a round found it, and where the next would have to look. A search asks
// flows with ever newer TSvals. An answer is certain: nothing newer was remembered then. Silence may be loss. And as others'
// connections are closed, what is remembered moves up.
type Memory struct {
	// Sightings in order of time.
	Sightings []Sighting
	// Lo is refused and Hi answered, as far as is known: the next search asks between them, and above Hi if Moved.
	Lo, Hi wire.TSval
	// Moved: nothing that the last search asked was new enough.
	Moved bool
	// Forgotten is when the memory was found gone: all was answered, however old. Zero: it was not.
	Forgotten time.Time

	began    time.Time // the first search, and the end of the last
	ended    time.Time
	foundAt  time.Time
	share    float64 // of the flows that are refused by some TSval
	searches int
	follows  int
	lost     int  // searches in a row in which too few were refused at Lo
	rising   int  // searches in a row in which nothing was new enough
	close    bool // the last sighting was close enough
	escaped  int  // times that it moved away from there before it was found to the tick
}

// Limits of what is worth a search: the part of the flows that are refused somewhere on the circle, and the part that fail where none should.
const (
	leastPoisoned = 0.2
	mostLost      = 0.4
)

// ReadMemory replays the searches of a round; ok is false where the quadrants do not show that a TSval decides.
func ReadMemory(seen []observe.Observation) (m Memory, ok bool) {
	in := Input{Observations: seen}
	q := readQuadrants(&in)
	if q.bursts < 2 {
		return m, false
	}
	k := q.refused()
	inside, outside := split(sumArms(q.learn, q.test), k)
	m.share, m.Lo, m.Hi = share(inside), q.start[(k+1)%4], q.start[(k+2)%4]
	if m.share-share(outside) < leastPoisoned || share(outside) > mostLost {
		return m, false
	}
	for i := range seen {
		o := &seen[i]
		if o.Kind != plan.KindOracle && o.Kind != plan.KindFollow || !trusted(o) {
			continue
		}
		if p, ok := readPass(o); ok {
			m.take(&p)
		}
	}
	return m, true
}

// take learns from one more search.
func (m *Memory) take(p *pass) {
	m.searches++
	m.ended = p.ended
	if m.began.IsZero() {
		m.began = p.began
	}
	defer func() {
		if m.foundAt.IsZero() && m.found() {
			m.foundAt = p.ended
		}
	}()
	if p.kind == plan.KindFollow {
		m.follows++
	}
	s, w := p.judge(m.share)
	m.Moved = w == above
	switch w {
	case inside:
		m.Sightings = append(m.Sightings, s)
		m.Lo, m.Hi = s.lo, s.hi
		m.close = s.Hi.Sub(s.Lo) <= closeEnough
		m.lost, m.rising = 0, 0
	case above:
		if m.close {
			m.escaped++
		}
		m.close = false
		m.lost, m.rising = 0, m.rising+1
		m.Lo = p.vals[len(p.vals)-1]
		m.Hi = m.Lo.Add(m.reach(p.ended))
	case unclear:
		m.lose(p, &s)
	}
}

// fastest is how many ticks a second a remembered clock is expected to move at most: 1,000 (Linux since 4.13, and before with HZ=1000), and
// some room. A faster one is found by wider and wider searches.
const fastest = 1300

// beyondReach is after how many searches in a row that find nothing new enough nothing is left to look for: the last three of them went as far as any clock, and
// then to a quarter of the circle above the one before.
const beyondReach = 6

// reach is how far above Lo the memory may have come at t.
func (m *Memory) reach(t time.Time) int64 {
	wide := int64(256)
	if n := len(m.Sightings); n > 0 {
		wide = 64 + fastest*(t.Sub(m.Sightings[n-1].Answered)+200*time.Millisecond).Milliseconds()/1000
	}
	return min(wide<<(6*min(m.rising-1, 3)), 1<<30)
}

// lose handles a search in which too few flows were refused at its oldest TSval. Where most of them were answered there, three times, a memory
// that had been found to the tick counts as gone, unless a newer connection is known to have been closed within its lifetime. One that had
// not been found yet: that refusal was loss, and the search steps back.
func (m *Memory) lose(p *pass, s *Sighting) {
	if s.Flows < 2*exactly || 4*s.Older < 3*s.Flows {
		return // too few could be sent or read to conclude anything
	}
	m.lost++
	n := len(m.Sightings)
	if n > 0 && m.Sightings[n-1].Exact {
		if m.lost > 2 && !m.renewed(p.began) {
			m.Forgotten = p.ended
		}
		return
	}
	if m.lost < 2 {
		return
	}
	width := int64(m.Hi.Sub(m.Lo))
	m.Hi = m.Lo
	m.Lo = m.Lo.Add(-min(16*width, 1<<30))
	m.lost = 1
}

// renewed reports whether the memory was seen to rise so shortly before t that it cannot have ended by then.
func (m *Memory) renewed(t time.Time) bool {
	near := m.near()
	for i := 1; i < len(near); i++ {
		if near[i-1].Hi.Before(near[i].Lo) && t.Sub(near[i-1].Answered) < memoryLife-time.Second {
			return true
		}
	}
	return false
}

// Best is the newest exact sighting, or else the narrowest.
func (m *Memory) Best() (Sighting, bool) {
	if len(m.Sightings) == 0 {
		return Sighting{}, false
	}
	best := m.Sightings[0]
	for _, s := range m.Sightings[1:] {
		if s.Exact || !best.Exact && s.Hi.Sub(s.Lo) <= best.Hi.Sub(best.Lo) {
			best = s
		}
	}
	return best, true
}

// narrow is when a sighting says enough to speak of one value.
const narrow = 1 << 12

// near are the sightings that bound the memory to so few ticks that its motion can be read from them.
func (m *Memory) near() []Sighting {
	var out []Sighting
	for _, s := range m.Sightings {
		if s.Hi.Sub(s.Lo) < narrow {
			out = append(out, s)
		}
	}
	return out
}

// A memory that moves away again and again is taken as it is, known to some ticks only: after so many searches, or when it has moved away so
// often from within a few ticks. Each later look at it is another chance.
const (
	enoughSearches = 14
	mostEscapes    = 2
	searchTime     = 1200 * time.Millisecond
)

// found reports whether the first search is over.
func (m *Memory) found() bool {
	n := len(m.Sightings)
	if n == 0 {
		return false
	}
	for i := range m.Sightings {
		if m.Sightings[i].Exact {
			return true
		}
	}
	return (m.searches >= enoughSearches || m.escaped >= mostEscapes || m.ended.Sub(m.began) > searchTime) && len(m.near()) > 0
}

// followed is how long the memory was looked at after it had been found.
func (m *Memory) followed() time.Duration {
	near := m.near()
	from := slices.IndexFunc(near, func(s Sighting) bool { return s.Exact || s.Follow })
	if from < 0 {
		return 0
	}
	return near[len(near)-1].Answered.Sub(near[from].Answered)
}

// DefaultFollow is how long a remembered clock is followed where nothing else is asked for: enough to tell the rates of Linux's clocks apart
// where connections are closed a few times a second.
const DefaultFollow = 1600 * time.Millisecond

// mostFollows bounds how often a memory is looked for again: each look may take a few searches, and fewer than a dozen looks are planned.
const mostFollows = 24

// wants asks for what is not known yet of the memory.
func (m *Memory) wants(in *Input) []Want {
	if !m.found() {
		return []Want{{Kind: plan.KindOracle, Why: "what TSval does the server remember?", Most: enoughSearches}}
	}
	follow := in.Follow
	if follow == 0 {
		follow = DefaultFollow
	}
	if !m.Forgotten.IsZero() || m.followed() >= follow-follow/8 || m.ended.Sub(m.foundAt) >= follow-follow/8 {
		return nil
	}
	if p := readPace(m.near()); !p.steady {
		return nil // no one clock is behind it: that is what there is to know
	}
	return []Want{{Kind: plan.KindFollow, Why: "does what it remembers move, and how fast?", Most: mostFollows}}
}
