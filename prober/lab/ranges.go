package lab

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Range says what a parameter may be, and which of that is drawn where parameters are drawn at random: a part in which the scenario can say what
// is to be named. The rest is for who sets it on purpose, near misses among them.
type Range struct {
	kind rangeKind
	// Of numbers: what may be, and what is drawn. Durations are in nanoseconds.
	least, from, to, most float64
	// none is how often (0 … 1) zero is drawn in place of from … to.
	none float64
	// Of words: what may be, of which the first ones are drawn.
	words []string
	drawn int
}

type rangeKind uint8

const (
	kindUnknown rangeKind = iota
	kindWord
	kindWhole
	kindDuration
	kindShare
)

// among is one of these words, each as likely as another.
func among(words ...string) Range { return Range{kind: kindWord, words: words, drawn: len(words)} }

// or adds words that may be set and are never drawn.
func (r Range) or(words ...string) Range {
	r.words = append(slices.Clip(r.words), words...)
	return r
}

// yes is a switch that is drawn on; off is a near miss.
func yes() Range { return among("true").or("false") }

// whole is a whole number of least … most, drawn of from … to.
func whole(least, from, to, most int) Range {
	return Range{kind: kindWhole, least: float64(least), from: float64(from), to: float64(to), most: float64(most)}
}

// lasting is a duration of least … most, drawn of from … to.
func lasting(least, from, to, most time.Duration) Range {
	return Range{kind: kindDuration, least: float64(least), from: float64(from), to: float64(to), most: float64(most)}
}

// portion is a share of 0 … 1, drawn of from … to.
func portion(from, to float64) Range {
	return Range{kind: kindShare, from: from, to: to, most: 1}
}

// orNone draws zero so often (0 … 1) in place of another value.
func (r Range) orNone(often float64) Range {
	r.none = often
	return r
}

// seeds is the range of a seed.
func seeds() Range { return whole(0, 1, 1_000_000, math.MaxInt32) }

// draw picks a value. Numbers are drawn by magnitude: as often between 1 and 10 as between 10 and 100.
func (r Range) draw(random *rand.Rand) string {
	if r.kind == kindWord {
		return r.words[random.IntN(r.drawn)]
	}
	if random.Float64() < r.none {
		return r.format(0)
	}
	if r.from <= 0 {
		return r.format(r.from + random.Float64()*(r.to-r.from))
	}
	return r.format(r.from * math.Pow(r.to/r.from, random.Float64()))
}

// format writes a number as it is set: durations to a hundredth of a millisecond, shares to a thousandth.
func (r Range) format(x float64) string {
	switch r.kind {
	case kindWhole:
		return strconv.Itoa(int(math.Round(x)))
	case kindDuration:
		d := time.Duration(x)
		if d >= 100*time.Millisecond {
			return d.Round(time.Millisecond).String()
		}
		return d.Round(10 * time.Microsecond).String()
	case kindShare:
		return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64)
	case kindWord, kindUnknown:
	}
	return ""
}

// check refuses what the parameter may not be.
func (r Range) check(value string) error {
	if r.kind == kindWord {
		if !slices.Contains(r.words, value) {
			return errNotOneOf(r.words...)
		}
		return nil
	}
	x, err := r.read(value)
	if err != nil {
		return err
	}
	if !(x >= r.least && x <= r.most) {
		return fmt.Errorf("want %s … %s", r.format(r.least), r.format(r.most))
	}
	return nil
}

func (r Range) read(value string) (float64, error) {
	switch r.kind {
	case kindWhole:
		n, err := strconv.ParseInt(value, 10, 64)
		return float64(n), err
	case kindDuration:
		d, err := time.ParseDuration(value)
		return float64(d), err
	case kindShare:
		return strconv.ParseFloat(value, 64)
	case kindWord, kindUnknown:
	}
	return 0, fmt.Errorf("has no range")
}

// String is the range in words: "1 … 256, drawn of 1 … 40".
func (r Range) String() string {
	if r.kind == kindWord {
		all := strings.Join(r.words, ", ")
		if r.drawn < len(r.words) {
			return all + "; drawn: " + strings.Join(r.words[:r.drawn], ", ")
		}
		return all
	}
	all := r.format(r.least) + " … " + r.format(r.most)
	if cmp.Compare(r.from, r.least) != 0 || cmp.Compare(r.to, r.most) != 0 {
		all += "; drawn: " + r.format(r.from) + " … " + r.format(r.to)
	}
	if r.none > 0 {
		all += ", or 0"
	}
	return all
}
