package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// Result says how a diagnosis compares with the label.
type Result string

// Right: exactly what is there was named. Inconclusive: too little was named, or too weakly, but nothing false. Wrong: something was
// named that is not there. Skipped: not tried, for the reason given.
const (
	Right        Result = "right"
	Inconclusive Result = "inconclusive"
	Wrong        Result = "wrong"
	Skipped      Result = "skipped"
)

// Judge holds what was named against the label, and says in a sentence what is amiss.
func (l Label) Judge(named []Named) (Result, string) {
	sets := append([][]diagnose.Verdict{l.Verdicts}, l.Or...)
	got := firm(named)
	healthy := anyHas(sets, diagnose.Healthy)
	if !healthy || l.Lossy {
		got = slices.DeleteFunc(got, undecided)
	}
	got, only := l.beside(got)
	switch {
	case l.open() && len(got) == 0:
		return l.told(named)
	case only && healthy:
		return Right, "" // the added loss is all there is
	case only:
		return Inconclusive, "named the added loss only"
	}
	for i, want := range sets {
		if !sameSet(got, want) {
			continue
		}
		if i == 0 && l.Level > strongest(named) {
			return Inconclusive, fmt.Sprintf("only %s, should be %s", strongest(named), l.Level)
		}
		if i == 0 {
			return l.told(named)
		}
		return Right, ""
	}
	for _, v := range got {
		if !anyHas(sets, v) {
			return Wrong, fmt.Sprintf("named %s, which is not there", v)
		}
	}
	if len(got) == 0 {
		return Inconclusive, "no cause was named"
	}
	return Inconclusive, fmt.Sprintf("named %s only", joinVerdicts(got))
}

// Names reports whether what was named is what is there, how firmly ever.
func (l Label) Names(named []diagnose.Verdict) bool {
	l.Level, l.Says = diagnose.LevelUnknown, ""
	all := make([]Named, len(named))
	for i, v := range named {
		all[i] = Named{Verdict: v, Level: diagnose.Confirmed}
	}
	result, _ := l.Judge(all)
	return result == Right
}

// told judges what was rightly named, or left open, by what is said of it.
func (l Label) told(named []Named) (Result, string) {
	if !l.said(named) {
		return Inconclusive, fmt.Sprintf("the evidence does not say %q", l.Says)
	}
	return Right, ""
}

// said reports whether the evidence says what it must.
func (l Label) said(named []Named) bool {
	return l.Says == "" || slices.ContainsFunc(named, func(n Named) bool {
		return slices.ContainsFunc(n.Evidence, func(e string) bool { return strings.Contains(e, l.Says) })
	})
}

// undecided are the verdicts that say honestly that something is wrong but not what: no cause, unless nothing is wrong.
func undecided(v diagnose.Verdict) bool {
	return v == diagnose.SYNStallUnclassified || v == diagnose.InsufficientSamples
}

func anyHas(sets [][]diagnose.Verdict, v diagnose.Verdict) bool {
	return slices.ContainsFunc(sets, func(s []diagnose.Verdict) bool { return slices.Contains(s, v) })
}

// firm are the verdicts that were named as causes, suspected or firmer.
func firm(named []Named) []diagnose.Verdict {
	var out []diagnose.Verdict
	for _, n := range named {
		if n.Level >= diagnose.Suspected {
			out = append(out, n.Verdict)
		}
	}
	return out
}

// strongest is the firmest level of anything named.
func strongest(named []Named) diagnose.Level {
	var l diagnose.Level
	for _, n := range named {
		l = max(l, n.Level)
	}
	return l
}

func sameSet(a, b []diagnose.Verdict) bool {
	if len(a) != len(b) {
		return false
	}
	for _, v := range a {
		if !slices.Contains(b, v) {
			return false
		}
	}
	return true
}

func joinVerdicts(v []diagnose.Verdict) string {
	s := make([]string, len(v))
	for i := range v {
		s[i] = string(v[i])
	}
	return strings.Join(s, ", ")
}
