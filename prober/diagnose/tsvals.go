package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/stats"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// tsvals is what the blocks say of a dependence on the TSval.
type tsvals struct {
	k             int // the first refused quadrant
	p             float64
	hint          float64 // p of this look alone
	looks         int
	allIn, allOut silences // single SYNs in the refused quadrants, and in the others
}

// judgeTSvals finds the rotation whose two quadrants were silent most, and its chance: if silence did not depend on the TSval, then, whatever
// else it depends on, every way to deal a block's silences to its quadrants was as likely (stats.GroupedGreater). p is multiplied by
// the four rotations and divided among the looks.
func judgeTSvals(q *quadrants, c *cells) tsvals {
	t := tsvals{p: 1, looks: q.bursts/2 + c.bursts}
	for k := range 4 {
		if p := dealt(q.blocks, c, k); p < t.p {
			t.k, t.p = k, p
		}
	}
	t.hint = min(1, 4*t.p)
	t.p = stats.Looks(t.hint, max(t.looks, 1))
	t.allIn, t.allOut = split(sumArms(q.learn, q.test), t.k)
	return t
}

// dealt is the chance that so many silences fall on the two quadrants from k on. They count by the square of those of one flow: loss at
// random scatters over flows, a member that refuses fills its own.
func dealt(blocks [][]ask, c *cells, k int) float64 {
	square := func(hits int) int { return hits * hits }
	var groups [][]stats.Stratum
	sum := 0
	add := func(flow ...[]ask) {
		var strata []stats.Stratum
		hits := 0
		for _, b := range flow {
			in, out := halves(b, k)
			strata = append(strata, stats.Stratum{N: len(b), Treated: in.n, Hits: in.silent + out.silent})
			hits += in.silent
		}
		groups = append(groups, strata)
		sum += square(hits)
	}
	for _, b := range blocks {
		add(b)
	}
	for i := range c.flows {
		add(c.flows[i].split()...)
	}
	return stats.GroupedGreater(groups, square, sum)
}

func (t *tsvals) evidence(c *cells) []string {
	lines := []string{fmt.Sprintf("over blocks of four SYNs, one a quadrant, orders drawn by lot: permutation p = %.2g, 4 rotations and %d look(s) paid for (α = 1e-4)", t.p, t.looks)}
	if len(c.flows) > 0 {
		lines = append(lines, c.story(t.k)...)
	}
	return append(lines, "no loss, filter or overload turns on the TSval of a SYN; a server that remembers a newer TSval from this source address does (per-host PAWS, tcp_tw_recycle)")
}

// arms is the table of what was asked: each quadrant's TSval, over single SYNs and over cells, with its chance against the other three.
func (q *quadrants) arms(c *cells) []Arm {
	var out []Arm
	all := sumArms(q.learn, q.test)
	for k := range 4 {
		one, rest := all[k], silences{}
		for j := range 4 {
			if j != k {
				rest.silent, rest.n = rest.silent+all[j].silent, rest.n+all[j].n
			}
		}
		out = append(out, newArm(fmt.Sprintf("quadrant %d", k), q.start[k], one, fisher(one, rest)))
	}
	if len(c.flows) == 0 {
		return out
	}
	for k := range 4 {
		var one silences
		for i := range c.flows {
			for _, a := range c.flows[i].asks {
				if a.quadrant != k {
					continue
				}
				one.n++
				if !a.answered {
					one.silent++
				}
			}
		}
		out = append(out, newArm(fmt.Sprintf("quadrant %d, same flows", k), q.start[k], one, 0))
	}
	return out
}

func newArm(name string, val wire.TSval, s silences, p float64) Arm {
	return Arm{Name: name, TSval: val, HasTSval: true, N: s.n, Answered: s.n - s.silent, Silent: s.silent, P: p}
}

// Timestamps is what a round showed of a dependence on the TSval, figures without judgement.
type Timestamps struct {
	// Arms are the four quadrants over single SYNs, in the order of the circle.
	Arms []Arm
	// Flows were asked in all quadrants; of these Poisoned are refused in two adjacent ones each time, Clean in none, Dead in all, and Mixed
	// changed.
	Flows, Poisoned, Clean, Dead, Mixed int
	// Remembered is the TSval that the server has, where Known; Within is how far below it may be, in ticks.
	Remembered wire.TSval
	Within     uint32
	Known      bool
}

// ReadTimestamps reads the bursts of a round that ask about TSvals; ok is false where there are none.
func ReadTimestamps(seen []observe.Observation) (ts Timestamps, ok bool) {
	in := Input{Observations: seen}
	q, c := readQuadrants(&in), readCells(&in)
	if q.bursts == 0 {
		return ts, false
	}
	ts.Arms = q.arms(&cells{})
	n := c.count(judgeTSvals(&q, &c).k)
	ts.Flows, ts.Poisoned, ts.Clean, ts.Dead, ts.Mixed = len(c.flows), n.poisoned, n.clean, n.dead, n.mixed
	if m, ok := ReadMemory(seen); ok {
		if s, found := m.Best(); found {
			ts.Remembered, ts.Within, ts.Known = s.Hi, uint32(s.Hi.Sub(s.Lo)), true
		}
	}
	return ts, true
}
