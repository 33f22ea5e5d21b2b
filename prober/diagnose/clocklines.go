package diagnose

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// reading is the TSval of the first SYN-ACK of one flow: made after sent, before got.
type reading struct {
	a         *observe.Attempt
	val       wire.TSval
	sent, got time.Time
}

// clockLine is a timestamp clock on which several flows' SYN-ACKs lie.
type clockLine struct {
	of []int // the readings on it
	// hz is its rate; 0: more than one fits.
	hz uint32
	// chance bounds the probability that as many of the round's flows fall together so closely, at any of the rates, if each had an offset of its own.
	chance float64
}

const (
	// lineChance is the level at which flows are taken for those of one clock: that of confirmed.
	lineChance = 1e-4
	// lineSlack is how many ticks a clock may be ahead of the TSval that it made: the low six bits of a SYN cookie's hold options, never above the clock
	// (net/ipv4/syncookies.c cookie_init_timestamp, 6.18), and jiffies lag by up to one.
	lineSlack = 66
	// lineDrift is how far two hosts' seconds differ at most: NTP slews by 500 ppm (RFC 5905 §11.3), a crystal is good to 100.
	lineDrift = 5e-4
	// lineFastest is the fastest clock, in ticks a second, that any stack has: microseconds (tcp_usec_ts, Linux ≥ 6.7).
	lineFastest = 1.01e6
	// circle is how many TSvals there are.
	circle = 1 << 32
)

// lineRates are those at which lines are looked for: Linux's until 4.12 (HZ), 1,000 from 4.13 on, as Windows and the BSDs, and microseconds.
func lineRates() []uint32 { return []uint32{100, 250, 300, 1000, 1_000_000} }

// band is where the clock that made a reading stood at the origin, at one rate: width ticks from lo on.
type band struct {
	of        int
	lo, width float64
}

// knot is a run of bands that overlap.
type knot struct {
	of   []int
	span float64 // ticks
	hz   uint32
}

// clockLines finds the clocks that several flows share. Each clock is provable by itself (lineChance), and as another one than those before it; flows
// on none of them are left out: nothing is known of their clocks. The readings are of different flows and one source address, to which kernels from 4.12
// on tie their offsets (net/core/secure_seq.c secure_tcp_ts_off).
func clockLines(list []reading) []clockLine {
	if len(list) < 2 {
		return nil
	}
	var knots []knot
	for _, hz := range lineRates() {
		knots = append(knots, knotted(bandsAt(list, hz), hz)...)
	}
	var found []clockLine
	used := make([]bool, len(list))
	for {
		best, at := clockLine{chance: lineChance}, -1
		for i := range knots {
			k := &knots[i]
			k.of = slices.DeleteFunc(k.of, func(f int) bool { return used[f] })
			if p := coincidence(len(list), len(k.of), k.span); p < best.chance {
				best, at = clockLine{of: k.of, hz: k.hz, chance: p}, i
			}
		}
		if at < 0 {
			return distinct(list, found)
		}
		best.of = slices.Clone(best.of)
		if ambiguous(knots, best) {
			best.hz = 0
		}
		for _, f := range best.of {
			used[f] = true
		}
		found = append(found, best)
	}
}

func bandsAt(list []reading, hz uint32) []band {
	out := make([]band, len(list))
	origin, rate := list[0].got, float64(hz)
	for i := range list {
		s := &list[i]
		since := s.got.Sub(origin).Seconds()
		drift := rate * lineDrift * math.Abs(since)
		lo := math.Mod(float64(s.val)-rate*since-drift, circle)
		if lo < 0 {
			lo += circle
		}
		out[i] = band{i, lo, rate*s.got.Sub(s.sent).Seconds() + lineSlack + 2*drift}
	}
	return out
}

// knotted joins the bands that overlap, around the circle. Two clocks that stand so close become one: there are no more clocks than knots.
func knotted(bands []band, hz uint32) []knot {
	slices.SortFunc(bands, func(a, b band) int { return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(a.of, b.of)) })
	n := len(bands)
	begin, widest := 0, bands[0].lo+circle-bands[n-1].lo
	for i := 1; i < n; i++ {
		if gap := bands[i].lo - bands[i-1].lo; gap > widest {
			begin, widest = i, gap
		}
	}
	var out []knot
	var from, reach float64
	for i := range n {
		b := bands[(begin+i)%n]
		if begin+i >= n {
			b.lo += circle
		}
		if i == 0 || b.lo > reach {
			out, from, reach = append(out, knot{hz: hz}), b.lo, b.lo
		}
		reach = max(reach, b.lo+b.width)
		k := &out[len(out)-1]
		k.of, k.span = append(k.of, b.of), reach-from
	}
	return slices.DeleteFunc(out, func(k knot) bool { return len(k.of) < 2 })
}

// coincidence bounds the chance that of n points on the circle m lie within span ticks, at any of the rates: any of the n is the first, and any m−1
// of the others follow it.
func coincidence(n, m int, span float64) float64 {
	if m < 2 {
		return 1
	}
	tries := float64(n) * float64(len(lineRates()))
	return min(1, math.Exp(math.Log(tries)+logChoose(n-1, m-1)+float64(m-1)*math.Log(min(1, span/circle))))
}

// ambiguous reports whether the flows of a line fall together at another rate as well.
func ambiguous(knots []knot, l clockLine) bool {
	on := map[int]bool{}
	for _, f := range l.of {
		on[f] = true
	}
	return slices.ContainsFunc(knots, func(k knot) bool {
		both := 0
		for _, f := range k.of {
			if on[f] {
				both++
			}
		}
		return k.hz != l.hz && both == len(l.of)
	})
}

// distinct leaves out the lines that may be one of those before them: a clock that was set, or that ticks at another rate than those we know.
func distinct(list []reading, found []clockLine) []clockLine {
	for i := range found {
		slices.SortFunc(found[i].of, func(a, b int) int { return list[a].got.Compare(list[b].got) })
	}
	slices.SortStableFunc(found, func(a, b clockLine) int { return len(b.of) - len(a.of) })
	var out []clockLine
	for _, l := range found {
		if !slices.ContainsFunc(out, func(o clockLine) bool { return !twoClocks(list, o.of, l.of) }) {
			out = append(out, l)
		}
	}
	return out
}

// twoClocks reports whether two lines, each in order of time, cannot be one clock's: neither ended before the other began, and two values are further
// apart than any clock ticks in the time between them.
func twoClocks(list []reading, a, b []int) bool {
	if !list[a[0]].got.Before(list[b[len(b)-1]].got) || !list[b[0]].got.Before(list[a[len(a)-1]].got) {
		return false
	}
	for _, i := range a {
		j, _ := slices.BinarySearchFunc(b, list[i].got, func(f int, t time.Time) int { return list[f].got.Compare(t) })
		x, y := &list[i], &list[b[min(j, len(b)-1)]]
		between := max(y.got.Sub(x.sent), x.got.Sub(y.sent)).Seconds()
		if math.Abs(float64(y.val.Sub(x.val))) > lineFastest*between+lineSlack {
			return true
		}
	}
	return false
}
