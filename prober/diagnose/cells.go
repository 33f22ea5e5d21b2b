package diagnose

import (
	"fmt"
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// cell is one flow that was asked with TSvals of all four quadrants: what stood at its end answered or not, time after time.
type cell struct {
	asks   []ask
	blocks int // whole blocks of four, one ask of each quadrant
}

// ask is one SYN with a TSval in one of the four quadrants.
type ask struct {
	quadrant int
	answered bool
}

// cells is what all cells of a round showed.
type cells struct {
	flows []cell
	// bursts is how often such a burst was made: the looks taken.
	bursts int
}

// readCells reads the bursts of KindCells. A flow counts where every SYN of whole blocks was seen leaving, and nothing but SYN-ACKs came
// back: a bare ACK, an RST or an ICMP error is no silence and no answer to the question.
func readCells(in *Input) cells {
	var c cells
	for i := range ownless(in.Observations) {
		o := &in.Observations[i]
		if o.Kind != plan.KindCells || !trusted(o) {
			continue
		}
		c.bursts++
		arms := map[string]*plan.Arm{}
		for k := range o.Arms {
			arms[o.Arms[k].Name] = &o.Arms[k]
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			arm := arms[a.Arm]
			if arm == nil || a.Unseen > 0 || !onlySYNACKs(a) {
				continue
			}
			if x := readCell(a, arm, o.Finished); x.blocks > 0 {
				c.flows = append(c.flows, x)
			}
		}
	}
	return c
}

func onlySYNACKs(a *observe.Attempt) bool {
	for k := range a.Answers {
		if a.Answers[k].Kind != observe.SYNACK {
			return false
		}
	}
	return true
}

// cellAnswer is how long a SYN must have had for an answer so that its silence counts.
const cellAnswer = 60 * time.Millisecond

func readCell(a *observe.Attempt, arm *plan.Arm, end time.Time) cell {
	var x cell
	turns := arm.Script.Clock.Turns
	for n := range a.SYNs {
		s := &a.SYNs[n]
		if n >= len(turns) || s.At.IsZero() || !s.HasTS || end.Sub(s.At) < cellAnswer {
			break
		}
		x.asks = append(x.asks, ask{quadrant: int(turns[n] >> 30), answered: echoed(a, n)})
	}
	x.blocks = len(x.asks) / 4
	x.asks = x.asks[:4*x.blocks]
	return x
}

// echoed reports whether a SYN-ACK answers the n-th SYN: by its echo, or, where there is none, by coming before the next SYN.
func echoed(a *observe.Attempt, n int) bool { return echo(a, n) != nil }

// echo is the answer to the n-th SYN; nil: there is none.
func echo(a *observe.Attempt, n int) *observe.Answer {
	for k := range a.Answers {
		ans := &a.Answers[k]
		switch {
		case ans.HasTS && ans.TSecr == a.SYNs[n].TSval:
			return ans
		case ans.HasTS || ans.At.Before(a.SYNs[n].At):
			continue
		case n+1 == len(a.SYNs) || ans.At.Before(a.SYNs[n+1].At):
			return ans
		}
	}
	return nil
}

// silent counts a cell's unanswered SYNs in the two quadrants from k on, and in the other two.
func (x *cell) silent(k int) (in, out silences) { return halves(x.asks, k) }

// halves counts the silences among asks in the two quadrants from k on, and in the other two.
func halves(asks []ask, k int) (in, out silences) {
	for _, a := range asks {
		half := &out
		if (a.quadrant-k+4)%4 < 2 {
			half = &in
		}
		half.n++
		if !a.answered {
			half.silent++
		}
	}
	return in, out
}

// blind reports whether the cell never answered at all, whatever the TSval: no comparison with one remembered TSval refuses all quadrants.
func (x *cell) blind() bool {
	for _, a := range x.asks {
		if a.answered {
			return false
		}
	}
	return true
}

// split is the cell's SYNs in groups of four, one of each quadrant.
func (x *cell) split() [][]ask {
	var out [][]ask
	for b := range x.blocks {
		out = append(out, x.asks[4*b:4*b+4])
	}
	return out
}

// cellCount sorts the cells: those whose member refuses the two quadrants from k on, those that answer everywhere, those that answer
// nowhere, and those that change.
type cellCount struct{ poisoned, clean, dead, mixed int }

func (c *cells) count(k int) cellCount {
	var n cellCount
	for i := range c.flows {
		in, out := c.flows[i].silent(k)
		few := func(s silences) bool { return s.silent*6 <= s.n }
		most := func(s silences) bool { return s.silent*6 >= 5*s.n }
		switch {
		case most(in) && few(out):
			n.poisoned++
		case few(in) && few(out):
			n.clean++
		case most(in) && most(out):
			n.dead++
		default:
			n.mixed++
		}
	}
	return n
}

// blind counts the cells that were silent whatever the TSval.
func (c *cells) blind() int {
	n := 0
	for i := range c.flows {
		if c.flows[i].blind() {
			n++
		}
	}
	return n
}

// total sums the silences of all cells in the two quadrants from k on, and in the other two.
func (c *cells) total(k int) (in, out silences) {
	for i := range c.flows {
		a, b := c.flows[i].silent(k)
		in.silent, in.n = in.silent+a.silent, in.n+a.n
		out.silent, out.n = out.silent+b.silent, out.n+b.n
	}
	return in, out
}

// story tells what share of the flows is refused by TSval.
func (c *cells) story(k int) []string {
	n := c.count(k)
	in, out := c.total(k)
	lines := []string{fmt.Sprintf("each of %d flows was asked %d times, in all quadrants in turn: %d of %d silent in the refused half, %d of %d in the other",
		len(c.flows), 4*c.most(), in.silent, in.n, out.silent, out.n)}
	if n.mixed > n.poisoned {
		i := stats.Wilson(stats.Arm{Hits: in.silent, N: in.n}, 0.95)
		return append(lines, fmt.Sprintf("one and the same flow is refused now and answered then: the balancer picks a member anew each time, and %.0f–%.0f %% of its picks refuse",
			100*i.Low, 100*i.High))
	}
	i := stats.Wilson(stats.Arm{Hits: n.poisoned, N: len(c.flows)}, 0.95)
	about := ""
	if n.poisoned > 0 && n.poisoned < len(c.flows) {
		about = fmt.Sprintf(", about 1 in %d", int(math.Round(float64(len(c.flows))/float64(n.poisoned))))
	}
	line := fmt.Sprintf("%d of %d flows are refused by TSval each time, %d are answered whatever it is: %.0f–%.0f %% of the flows meet a server that remembers a newer clock (95 %%)%s",
		n.poisoned, len(c.flows), n.clean, 100*i.Low, 100*i.High, about)
	if n.mixed > 0 {
		line += fmt.Sprintf("; %d changed", n.mixed)
	}
	lines = append(lines, line)
	if n.dead > 0 {
		lines = append(lines, fmt.Sprintf("%d of them answered nothing in any quadrant: that is no timestamp's doing", n.dead))
	}
	return lines
}

// most is the most blocks that a cell has.
func (c *cells) most() int {
	n := 0
	for i := range c.flows {
		n = max(n, c.flows[i].blocks)
	}
	return n
}

// fewCells is how many bursts of cells an unexplained silence is worth in any case: with 16 flows each, all miss a share of one flow in ten
// once in 150 times.
const fewCells = 3

// manyCells is how many bursts of cells dead flows are worth.
const manyCells = 8

const deadForAll = "are the flows that seem dead so for every TSval?"

// hinted is below what chance, at one look, a dependence on the TSval that fresh flows show is a hint: flows are asked with leaping TSvals only then. A box that
// keeps an offset for each flow lets a leap through to its members, and one whose own clock must not fall back then goes on from there for everybody:
// what was asked would make the fault that it asks about.
const hinted = 2e-2

// freshOpen is what more fresh flows may tell of a silence that does not look as if it depended on the TSval yet. Where both halves of the circle are
// silent alike it is loss, or a dead member; where one alone is, a small share of the members may refuse.
func freshOpen(q *quadrants, t *tsvals) (Want, bool) {
	w := Want{Kind: plan.KindQuadrants, Why: "more fresh flows in each quadrant: does silence depend on the TSval?", Most: freshBursts}
	in, out := t.allIn.silent, t.allOut.silent
	if 4*out <= in || t.hint < 0.7 {
		w.Most = freshMost
	}
	return w, q.bursts < w.Most && (out < 2 || 2*in > 3*out || t.hint < 0.7)
}

// freshBursts is how many bursts of fresh flows any silence is worth, and freshMost what one is that keeps to a half of the circle: with 160 flows on
// it, a member of ten that refuses is met nine times or more in 49 of 50 rounds.
const (
	freshBursts = 8
	freshMost   = 20
)

// cellsOpen is what the cells leave open of a silence that may depend on the TSval; ok is false where they have said what they can. The
// more the cells hint at a dependence, or contradict flows that seemed dead, the more of them are asked.
func cellsOpen(in *Input, q *quadrants, c *cells, t *tsvals) (Want, bool) {
	w := Want{Kind: plan.KindCells, Why: "does each flow's own member refuse by TSval?", Most: fewCells}
	switch {
	case c.bursts == 0 && t.hint >= hinted:
		return freshOpen(q, t)
	case c.bursts == 0:
	case t.p < 1e-4 || len(c.flows) == 0:
		return w, false
	case c.alike(t, 24) && c.blind() == 0:
		w.Most = fewCells - 2 // both halves lose, again and again: that is loss
	case c.alike(t, 2):
		w.Most = fewCells - 1
	case t.p < 0.5:
		w.Why, w.Most = "more flows in all quadrants, until chance can be ruled out", 12
	case deadSticky(in) > 0 && c.blind() == 0 && readAgain(in).turned():
		w.Why, w.Most = deadForAll, manyCells
	}
	return w, c.bursts < w.Most
}

// alike reports whether silence fell on both halves of the circle about alike: at least so often on either.
func (c *cells) alike(t *tsvals, least int) bool {
	in, out := c.total(t.k)
	return min(in.silent, out.silent) >= least && t.p >= 0.5 && in.silent <= 3*out.silent
}

// deadSticky counts the flows of sticky sweeps, all of one clock, that were never answered.
func deadSticky(in *Input) int { return sum(fates(in, plan.KindSticky)).dead }
