package diagnose

import (
	"fmt"
	"math"
	"time"
)

// memoryLife is how long a server remembers an address: TCP_PAWS_MSL, 60 s, compared in whole seconds (include/net/tcp.h,
// net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10).
const memoryLife = 60 * time.Second

// pace is how fast the clock behind a memory ticks, as far as its sightings bound it. The memory moves in steps: it holds the clock's value of
// the last connection that the server closed.
type pace struct {
	moved bool
	// steady is false where no one clock fits: what is remembered jumped or fell back.
	steady    bool
	low, high float64 // ticks a second
	hz        uint32  // the one of Linux's rates that fits; 0: none, or more than one
	span      time.Duration
	ticks     int32
}

// rates are those of Linux's timestamp clocks: 1,000 since 4.13 whatever HZ is, before that HZ.
func rates() []uint32 { return []uint32{100, 250, 1000} }

// leap is a rate, in ticks a second, that no timestamp clock has: RFC 7323 §5.4 asks for a tick of 1 ms to 1 s, and all rates of Linux obey it. A
// memory that moves faster has leapt from one clock to another.
const leap = 10_000

// drift is how far a clock may be off its rate, and the seconds of two hosts differ.
const drift = 0.005

// readPace bounds the rate of one clock C by all pairs of sightings. A SYN refused at b means that C(b) ≥ Lo. And X ≤ Hi means C(a) ≤ Hi for the
// latest a after which a connection is known to have been closed: when all that the flows met remembered something older still, or a lifetime
// before.
func readPace(sightings []Sighting) pace {
	p := pace{steady: true, high: math.Inf(1)}
	if len(sightings) < 2 {
		return p
	}
	first, last := &sightings[0], &sightings[len(sightings)-1]
	p.span, p.ticks = last.Answered.Sub(first.Answered), last.Hi.Sub(first.Hi)
	since := make([]time.Time, len(sightings))
	for j := range sightings {
		since[j] = sightings[j].Answered.Add(-memoryLife - time.Second)
		for i := range j {
			switch s := &sightings[i]; {
			case s.Hi.Before(sightings[j].Lo):
				p.moved = true
				if s.All && s.Met >= exactly && s.Top.Before(sightings[j].Lo) {
					since[j] = later(since[j], s.Answered)
				}
			case sightings[j].Hi.Before(s.Lo):
				p.steady = false
			}
		}
	}
	for i := range sightings {
		for j := range sightings {
			p.bound(&sightings[i], &sightings[j], since[i], since[j])
		}
	}
	if p.low > p.high*(1+drift) || p.low > leap {
		p.steady = false
	}
	if p.moved && p.steady {
		p.name()
	}
	return p
}

// bound draws what follows from two sightings: C is at most i.Hi at sinceI and at least j.Lo at j.Refused; and the other way round.
func (p *pace) bound(i, j *Sighting, sinceI, sinceJ time.Time) {
	if d := j.Refused.Sub(sinceI).Seconds(); d > 0 && !j.Refused.IsZero() {
		p.low = max(p.low, float64(j.Lo.Sub(i.Hi))/d)
	}
	if d := sinceJ.Sub(i.Refused).Seconds(); d > 0 && !i.Refused.IsZero() {
		p.high = min(p.high, float64(j.Hi.Sub(i.Lo))/d)
	}
}

func (p *pace) name() {
	fits := 0
	for _, hz := range rates() {
		if r := float64(hz); r >= p.low*(1-drift) && r <= p.high*(1+drift) {
			p.hz = hz
			fits++
		}
	}
	if fits != 1 {
		p.hz = 0
	}
}

// String says it in words, after "the remembered clock".
func (p pace) String() string {
	span := p.span.Round(100 * time.Millisecond)
	switch {
	case p.span == 0:
		return "was seen once"
	case !p.moved && p.steady:
		return fmt.Sprintf("did not move for %s: no newer connection was closed in that time", span)
	case !p.steady:
		return fmt.Sprintf("is irregular: %+d ticks in %s fit no single clock, so more than one is behind it", p.ticks, span)
	case p.hz != 0:
		return fmt.Sprintf("ticks at %d Hz (%s a second, seen over %s)", p.hz, p.bounds(), span)
	}
	return fmt.Sprintf("moves, %+d ticks in %s; its rate is open (%s a second): to settle it, follow it longer", p.ticks, span, p.bounds())
}

func (p pace) bounds() string {
	if math.IsInf(p.high, 1) {
		return fmt.Sprintf("at least %.0f ticks", p.low)
	}
	return fmt.Sprintf("%.0f to %.0f ticks", p.low, p.high)
}

// refusal says in words for how long a client is refused whose clock of hz ticks a second stands behind ticks before what is remembered.
func (p *pace) refusal(behind int64, hz uint32, still time.Duration) string {
	const goesOn = "is refused as long as the server goes on closing connections of that clock, and up to 60 s after the last"
	switch {
	case !p.moved:
		life := memoryLife - min(still, memoryLife).Truncate(time.Second)
		if d := seconds(float64(behind) / float64(hz)); d < life {
			return fmt.Sprintf("is refused for up to %s: then its own clock has caught up, unless the server closes a newer connection before", d)
		}
		return fmt.Sprintf("is refused for up to %s, which ends 60 s after the server last closed a connection of that clock", life)
	case p.hz == 0:
		return goesOn
	case p.hz < hz:
		return fmt.Sprintf("%s, but for %s at most: then its own, faster clock has caught up", goesOn, seconds(float64(behind)/float64(hz-p.hz)))
	case p.hz == hz:
		return goesOn + "; both tick alike, so it never catches up before"
	}
	return goesOn + "; its own clock is slower, so it never catches up before"
}

// seconds rounds up to whole ones.
func seconds(s float64) time.Duration { return time.Duration(math.Ceil(s)) * time.Second }
