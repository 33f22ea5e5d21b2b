package diagnose

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// draw is one flow in the order in which flows began, and whether it met what is counted.
type draw struct {
	at  time.Time
	hit bool
}

// shareConfidence is that of every interval of a share of flows.
const shareConfidence = 0.99

// flowShare says what share of flows meets something. The exact interval holds where a member is drawn anew for each flow, as a hash of the 4-tuple
// does. A balancer that deals its members out in turn draws nothing: our flows then meet what their place among all clients' flows
// lets them meet, and no interval follows from their number.
func flowShare(draws []draw) string {
	s := flowPart(draws)
	if s.InTurn {
		return fmt.Sprintf("%.0f %% of our flows, in turn: members are dealt out one after the other, and other clients' share may be another", 100*s.Low)
	}
	return fmt.Sprintf("%.0f–%.0f %% of the flows, %.0f %% sure where members are drawn anew for each", 100*s.Low, 100*s.High, 100*shareConfidence)
}

// FlowShare is what share of a round's flows met something, 0 … 1, as an exact interval (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934) of 99 %. InTurn: flows
// were dealt out one after the other, so that there is no interval and Low and High are the share of these flows.
type FlowShare struct {
	Low, High float64
	InTurn    bool
}

// String is for a table: an interval, or one share.
func (s FlowShare) String() string {
	if s.InTurn {
		return fmt.Sprintf("%.0f %% in turn", 100*s.Low)
	}
	return fmt.Sprintf("%.0f–%.0f %%", 100*s.Low, 100*s.High)
}

func flowPart(draws []draw) FlowShare {
	hits := 0
	for _, d := range draws {
		if d.hit {
			hits++
		}
	}
	if dealtOut(draws) {
		own := float64(hits) / float64(len(draws))
		return FlowShare{own, own, true}
	}
	ci := stats.ClopperPearson(stats.Arm{Hits: hits, N: len(draws)}, shareConfidence)
	return FlowShare{Low: ci.Low, High: ci.High}
}

// dealtOut reports whether the hits lie more evenly among the flows, in order of time, than 1 random order in 100 does.
func dealtOut(draws []draw) bool {
	slices.SortStableFunc(draws, func(a, b draw) int { return a.at.Compare(b.at) })
	hits, last, least, most := 0, -1, len(draws), 0
	for i, d := range draws {
		if !d.hit {
			continue
		}
		if hits++; last >= 0 {
			least, most = min(least, i-last), max(most, i-last)
		}
		last = i
	}
	return hits >= 3 && hits < len(draws) && evenChance(len(draws), hits, most-least, 1e-2) < 1e-2
}

// evenChance is the chance that of n places, h of them marked at random, the gaps between marked neighbours differ by no more than spread: all
// ways with gaps of g to g+spread, less those without a gap of g, for every least gap g. Where it is enough or more, it is not told how much more.
func evenChance(n, h, spread int, enough float64) float64 {
	chance, all := 0.0, math.Exp(logChoose(n, h))
	for g := 1; g*(h-1) < n && chance < enough; g++ {
		chance += (placings(n, h, g, g+spread) - placings(n, h, g+1, g+spread)) / all
	}
	return chance
}

// placings counts the ways to mark h of n places so that all gaps between neighbours lie between lo and hi.
func placings(n, h, lo, hi int) float64 {
	sums := make([]float64, n) // of the gaps so far, by their sum
	below := make([]float64, n+1)
	sums[0] = 1
	for range h - 1 {
		for at, ways := range sums {
			below[at+1] = below[at] + ways
		}
		for at := range sums {
			sums[at] = below[max(at-lo+1, 0)] - below[max(at-hi, 0)]
		}
	}
	all := 0.0
	for span, ways := range sums {
		all += ways * float64(n-span)
	}
	return all
}
