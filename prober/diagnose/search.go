package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// asked is one SYN with a TSval of ours.
type asked struct {
	val wire.TSval
	at  time.Time
}

// track is what one flow of a search showed: its SYN was repeated with ever newer TSvals until one was answered. It is one flow to everybody
// on the way, so all of it met one real server.
type track struct {
	silent   []asked // before the answer, oldest TSval first
	answer   asked
	answered bool
}

// readTrack reads one attempt of a search; ok is false where it says nothing of the remembered TSval: it was not sent as planned, something
// else than a SYN-ACK came, or the echo names no SYN of ours (no timestamps, or rewritten ones).
func readTrack(a *observe.Attempt) (t track, ok bool) {
	answer := slices.IndexFunc(a.Answers, func(x observe.Answer) bool { return x.Kind == observe.SYNACK })
	switch {
	case a.Outcome == observe.Accepted && answer >= 0 && a.Answers[answer].HasTS:
		t.answered = true
	case a.Outcome == observe.TimedOut && len(a.Answers) == 0:
	default:
		return t, false
	}
	named := false
	for k := range a.SYNs {
		s := &a.SYNs[k]
		if s.At.IsZero() || !s.HasTS {
			return t, false
		}
		if t.answered && s.TSval == a.Answers[answer].TSecr {
			if !named {
				t.answer, named = asked{s.TSval, s.At}, true
			}
		} else if !named {
			t.silent = append(t.silent, asked{s.TSval, s.At})
		}
	}
	return t, len(a.SYNs) > 0 && named == t.answered
}

// pass is one burst of a search: flows that all begin at lo, each with other TSvals above it.
type pass struct {
	lo     wire.TSval
	vals   []wire.TSval // all that was asked above lo, oldest first, each once
	tracks []track
	began  time.Time
	ended  time.Time
	kind   plan.Kind
}

func readPass(o *observe.Observation) (p pass, ok bool) {
	p.began, p.ended, p.kind = o.Started, o.Finished, o.Kind
	for j := range o.Attempts {
		t, good := readTrack(&o.Attempts[j])
		if !good {
			continue
		}
		p.tracks = append(p.tracks, t)
	}
	for k := range o.Arms {
		c := &o.Arms[k].Script.Clock
		p.lo = c.Start
		for _, turn := range c.Turns {
			p.vals = append(p.vals, c.Start+turn)
		}
	}
	slices.SortFunc(p.vals, func(a, b wire.TSval) int { return int(a.Sub(p.lo)) - int(b.Sub(p.lo)) })
	p.vals = slices.Compact(p.vals)
	p.vals = slices.DeleteFunc(p.vals, func(v wire.TSval) bool { return v == p.lo })
	return p, len(p.vals) > 0
}

// What one SYN's fate is worth, as logarithms of a likelihood: a silence that must be loss, and a flow that must have met a real server with
// another memory. The first stands for a loss of one in ten, more than any path that is worth searching on has.
const (
	lossWeight  = -2.3
	otherWeight = -4.6
)

// weigh says how likely the flows silent at lo are if the oldest TSval that is answered is v.
func (p *pass) weigh(voters []track, v wire.TSval) float64 {
	sum := 0.0
	for i := range voters {
		t, w := &voters[i], 0.0
		for _, s := range t.silent {
			if !s.val.Before(v) {
				w += lossWeight
			}
		}
		if t.answered && t.answer.val.Before(v) {
			w = otherWeight
		}
		sum += max(w, otherWeight)
	}
	return sum
}

// where a pass found the remembered TSval.
type where uint8

const (
	unclear where = iota // too few flows were refused at lo
	inside
	above // nothing that was asked is new enough
)

// least is how many flows must agree for anything to follow from them.
const least = 3

// judge finds the oldest answered TSval of the memory that most of the flows met. share is the part of all flows that meet any.
func (p *pass) judge(share float64) (Sighting, where) {
	var voters []track
	var answers []wire.TSval
	s := Sighting{Flows: len(p.tracks), Follow: p.kind == plan.KindFollow}
	strong := 0 // refused twice: loss of one in ten does that to one flow in a hundred
	for _, t := range p.tracks {
		if len(t.silent) == 0 {
			s.Older++
			continue
		}
		voters = append(voters, t)
		if len(t.silent) > 1 {
			strong++
		}
		if t.answered {
			answers = append(answers, t.answer.val)
		}
	}
	if strong < least && float64(len(voters)) < max(least, 0.5*share*float64(len(p.tracks))) {
		return s, unclear
	}
	if len(answers) < least {
		return s, above
	}
	slices.SortFunc(answers, func(a, b wire.TSval) int { return int(a.Sub(p.lo)) - int(b.Sub(p.lo)) })
	best, weight := answers[0], p.weigh(voters, answers[0])
	for _, v := range answers[1:] {
		if w := p.weigh(voters, v); w >= weight { // of two memories the newer one, which will stay longer
			best, weight = v, w
		}
	}
	s.read(voters, p.lo, best)
	return s, inside
}

// Sighting is what is known of the TSval that a server remembers at one time. A SYN is refused when it is more than one tick older: the newest
// refused is X−2, the oldest answered X−1 (net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10).
type Sighting struct {
	// Lo and Hi bound it, both included, and are the same where Exact: at least four SYNs had no answer at X−2, and on the same flows
	// X−1 was answered after them.
	Lo, Hi wire.TSval
	Exact  bool
	// Refused is when a SYN at Lo−2 had no answer: a connection with at least Lo had been closed by then. Answered is when the last of those
	// was sent that show that nothing newer than Hi was remembered yet.
	Refused, Answered time.Time
	// Flows of the burst, how many of them met this very memory, and how many a real server with an older one or none, or with a newer one;
	// of the rest it cannot be told.
	Flows, Met, Older, Newer int
	// Top is the oldest that was answered on every flow, plus one, where All: nobody whom the flows met remembered anything newer.
	Top wire.TSval
	All bool
	// Silent SYNs at X−2 where Exact, and Served ones at X−1.
	Silent, Served int
	// Follow: seen when the memory was looked for again, not in the first search.
	Follow bool
	// narrow is the window to go on with: refused at lo, answered at hi.
	lo, hi wire.TSval
}

// since counts the SYNs of a flow that had no answer though no older than v.
func (t *track) since(v wire.TSval) int {
	n := 0
	for _, q := range t.silent {
		if !q.val.Before(v) {
			n++
		}
	}
	return n
}

// exactly is how many refused SYNs at X−2 make it exact: random loss of one in ten leaves four out once in ten thousand times.
const exactly = 4

// read fills a sighting from the flows that were refused at floor, given that best is the oldest answered TSval.
func (s *Sighting) read(voters []track, floor, best wire.TSval) {
	s.hi, s.lo, s.Hi, s.Lo = best, floor, best+1, floor+2
	s.Top, s.All = best+1, s.Flows > 0
	below, here, contradicted := s.sort(voters, best)
	slices.SortStableFunc(below, func(a, b asked) int { return int(b.val.Sub(best)) - int(a.val.Sub(best)) })
	if len(below) >= least {
		s.lo = below[least-1].val
	}
	if len(below) >= exactly {
		s.Lo = below[exactly-1].val + 2
	}
	if s.Exact = here >= exactly && s.Served >= least && !contradicted; s.Exact {
		s.Lo = s.Hi
	}
	s.Silent = here
	for _, q := range below {
		if !q.val.Before(s.Lo-2) && (s.Refused.IsZero() || q.at.Before(s.Refused)) {
			s.Refused = q.at
		}
	}
}

// sort counts the flows by whose memory they met, and returns the refused SYNs of those that met this one. here are those refused one tick
// below best, on the very flows that were answered at best. contradicted: a flow was answered below best.
func (s *Sighting) sort(voters []track, best wire.TSval) (below []asked, here int, contradicted bool) {
	for i := range voters {
		t := &voters[i]
		if t.answered && s.Top.Before(t.answer.val+1) {
			s.Top = t.answer.val + 1
		}
		s.All = s.All && t.answered
		switch over := t.since(best); {
		case t.answered && t.answer.val.Before(best):
			s.Older++
			contradicted = true
		case over > 1:
			s.Newer++
		case over == 1 || !t.answered:
			// Loss, or a newer memory.
		default:
			s.Met++
			below = append(below, t.silent...)
			if t.answer.val == best {
				s.Served++
				s.Answered = later(s.Answered, t.answer.at)
				here += t.since(best - 1)
			}
		}
	}
	return below, here, contradicted
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
