package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Set replaces the value of its name; a profile has each name once.
func (p *Profile) Set(v Value) {
	if old, ok := p.Value(v.Name); ok {
		*old = v
		return
	}
	p.Values = append(p.Values, v)
}

// Difference is one trait in which two hosts differ.
type Difference struct {
	Trait Trait
	A, B  Value
}

func (d *Difference) String() string {
	return fmt.Sprintf("%s: %s, not %s", d.Trait.Title, shown(&d.B), shown(&d.A))
}

func shown(v *Value) string {
	switch {
	case !v.Known():
		return "not measured"
	case v.HasNumber && v.Unit != "" && v.Unit != "s":
		return v.Text + " " + v.Unit
	}
	return v.Text
}

// Compare lists in what b differs from a, the gravest first. What one of them lacks is no difference; see Uncompared.
func Compare(a, b *Profile) []Difference {
	var out []Difference
	for _, t := range Traits() {
		x, ok := a.Value(t.Name)
		y, also := b.Value(t.Name)
		if ok && also && x.Known() && y.Known() && !same(&t, x, y) {
			out = append(out, Difference{t, *x, *y})
		}
	}
	slices.SortStableFunc(out, func(x, y Difference) int { return cmp.Compare(y.Trait.Weight, x.Trait.Weight) })
	return out
}

// Uncompared lists the traits that only one of two profiles knows.
func Uncompared(a, b *Profile) []Trait {
	var out []Trait
	for _, t := range Traits() {
		x, ok := a.Value(t.Name)
		y, also := b.Value(t.Name)
		if (ok && x.Known()) != (also && y.Known()) {
			out = append(out, t)
		}
	}
	return out
}

// same reports whether two known values may be those of one kind of host. Distance is no property of a host: the time of a handshake never
// differs by less than a factor of ten.
func same(t *Trait, x, y *Value) bool {
	switch {
	case x.State == Varies || y.State == Varies:
		return x.State == y.State
	case !x.HasNumber || !y.HasNumber:
		return x.Text == y.Text
	case t.Name == HandshakeTime:
		return far(x.Number, y.Number) < 10
	}
	xl, xh := x.bounds()
	yl, yh := y.bounds()
	slack := t.Slack * max(math.Abs(x.Number), math.Abs(y.Number))
	return xl <= yh+slack && yl <= xh+slack
}

func far(x, y float64) float64 {
	if min(x, y) <= 0 {
		return 1
	}
	return max(x, y) / min(x, y)
}

// bounds are the numbers that a value may be.
func (v *Value) bounds() (low, high float64) {
	switch v.State {
	case AtLeast:
		return v.Low, math.Inf(1)
	case Between:
		return v.Low, v.High
	case Measured, Varies, NotMeasured:
	}
	return v.Number, v.Number
}

// Alike are hosts that agree in every trait that they both know, and what sets them apart from the first group.
type Alike struct {
	Members []int // indices into the profiles
	Differs []Difference
}

// Group puts profiles together that agree. The largest group is first: of hosts that should be alike it is what they should be like; the
// others are the odd ones out, the smallest and gravest first.
func Group(profiles []*Profile) []Alike {
	var groups []Alike
	for i, p := range profiles {
		k := slices.IndexFunc(groups, func(g Alike) bool {
			return !slices.ContainsFunc(g.Members, func(m int) bool { return len(Compare(profiles[m], p)) > 0 })
		})
		if k < 0 {
			groups = append(groups, Alike{})
			k = len(groups) - 1
		}
		groups[k].Members = append(groups[k].Members, i)
	}
	if len(groups) == 0 {
		return nil
	}
	slices.SortStableFunc(groups, func(a, b Alike) int { return cmp.Compare(len(b.Members), len(a.Members)) })
	usual := profiles[groups[0].Members[0]]
	for i := range groups[1:] {
		g := &groups[i+1]
		g.Differs = Compare(usual, profiles[g.Members[0]])
	}
	slices.SortStableFunc(groups[1:], func(a, b Alike) int {
		return cmp.Or(cmp.Compare(len(a.Members), len(b.Members)), cmp.Compare(gravest(b.Differs), gravest(a.Differs)))
	})
	return groups
}

func gravest(list []Difference) Weight {
	var w Weight
	for i := range list {
		w = max(w, list[i].Trait.Weight)
	}
	return w
}

// Sentence says how far a host is from a usual one.
func Sentence(list []Difference) string {
	if len(list) == 0 {
		return "no difference"
	}
	var parts []string
	for i := range list {
		parts = append(parts, list[i].String())
	}
	return strings.Join(parts, "; ")
}
