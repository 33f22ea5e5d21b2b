package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// reasons are why attempts ended as they did, the most frequent first. Reasons alike but for their times are one.
func reasons(attempts []*observe.Attempt) []string {
	type group struct {
		text   string
		n      int
		lo, hi time.Duration
	}
	var groups []*group
	for _, a := range attempts {
		if a.Reason == "" {
			continue
		}
		text, d := withoutTime(a.Reason)
		i := slices.IndexFunc(groups, func(g *group) bool { return g.text == text })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{text: text, lo: d, hi: d})
		}
		g := groups[i]
		g.n, g.lo, g.hi = g.n+1, min(g.lo, d), max(g.hi, d)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return b.n - a.n })
	out := make([]string, 0, len(groups))
	for _, g := range groups {
		times := short(g.lo)
		if g.hi > g.lo {
			times += " to " + short(g.hi)
		}
		out = append(out, fmt.Sprintf("%d × %s", g.n, strings.Replace(g.text, timeHere, times, 1)))
	}
	return out
}

// timeHere stands for the first duration of a reason.
const timeHere = "\x00"

// withoutTime takes the first duration out of a reason, so that reasons can be counted.
func withoutTime(reason string) (string, time.Duration) {
	words := strings.Split(reason, " ")
	for i, w := range words {
		if d, err := time.ParseDuration(w); err == nil && w != "0" {
			words[i] = timeHere
			return strings.Join(words, " "), d
		}
	}
	return reason, 0
}
