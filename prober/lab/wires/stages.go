package wires

import (
	"math/rand/v2"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Func is a Stage without state.
type Func func(now time.Time, p Packet) []Departure

// Pass calls f.
func (f Func) Pass(now time.Time, p Packet) []Departure { return f(now, p) }

// Drop loses every packet that m chooses.
func Drop(m Match) Stage {
	return Func(func(now time.Time, p Packet) []Departure {
		if m(p) {
			return nil
		}
		return pass(now, p)
	})
}

// Edit changes the segments that m chooses.
func Edit(m Match, f func(*wire.Segment)) Stage {
	return Func(func(now time.Time, p Packet) []Departure {
		if p.TCP && m(p) {
			p = p.Edited(f)
		}
		return pass(now, p)
	})
}

// Random is a generator of its own for one stage, so that a seed gives the same losses whatever else happens.
func Random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x76697070726f6265)) }

// Lose drops each packet that m chooses with probability p.
func Lose(p float64, r *rand.Rand, m Match) Stage {
	return Drop(func(x Packet) bool { return m(x) && r.Float64() < p })
}

// Duplicate sends each packet that m chooses twice with probability p.
func Duplicate(p float64, r *rand.Rand, m Match) Stage {
	return Func(func(now time.Time, x Packet) []Departure {
		if m(x) && r.Float64() < p {
			return []Departure{{x, now}, {x, now}}
		}
		return pass(now, x)
	})
}

// Hold keeps each packet that m chooses back for a while, so that those behind it overtake: reordering.
func Hold(d time.Duration, m Match) Stage {
	return Func(func(now time.Time, p Packet) []Departure {
		if m(p) {
			return []Departure{{p, now.Add(d)}}
		}
		return pass(now, p)
	})
}

// Narrow carries what m chooses at so many octets a second, one after the other, and drops what would have to wait longer than the queue lasts:
// a bottleneck with a tail-drop queue.
func Narrow(rate float64, queue time.Duration, m Match) Stage {
	var free time.Time // when the bottleneck has sent all that waits
	return Func(func(now time.Time, p Packet) []Departure {
		if !m(p) {
			return pass(now, p)
		}
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > queue {
			return nil
		}
		free = free.Add(time.Duration(float64(len(p.Frame)) / rate * float64(time.Second)))
		return []Departure{{p, free}}
	})
}

// EveryNth chooses every n-th packet that m chooses, the n-th first.
func EveryNth(n int, m Match) Match {
	seen := 0
	return func(p Packet) bool {
		if !m(p) {
			return false
		}
		seen++
		return seen%n == 0
	}
}

// Chance chooses each packet that m chooses with probability p.
func Chance(p float64, r *rand.Rand, m Match) Match {
	return func(x Packet) bool { return m(x) && r.Float64() < p }
}

// FirstOfFlow chooses the first n packets that m chooses of every flow: the n SYNs of one connect, say.
func FirstOfFlow(n int, m Match) Match {
	seen := map[wire.Flow]int{}
	return func(p Packet) bool {
		if !m(p) {
			return false
		}
		seen[p.Seg.Flow()]++
		return seen[p.Seg.Flow()] <= n
	}
}

// delay keeps the order of each direction: a packet never leaves before the one in front of it.
type delay struct {
	by     time.Duration
	jitter time.Duration
	random *rand.Rand
	m      Match
	last   [3]time.Time
}

// Delay holds every packet that m chooses for by, and up to jitter longer, in order. Packets that m does not choose go past.
func Delay(by, jitter time.Duration, r *rand.Rand, m Match) Stage {
	return &delay{by: by, jitter: jitter, random: r, m: m}
}

func (d *delay) Pass(now time.Time, p Packet) []Departure {
	if !d.m(p) {
		return pass(now, p)
	}
	at := now.Add(d.by)
	if d.jitter > 0 {
		at = at.Add(time.Duration(d.random.Int64N(int64(d.jitter))))
	}
	if last := &d.last[p.Dir]; at.Before(*last) {
		at = *last
	} else {
		*last = at
	}
	return []Departure{{p, at}}
}
