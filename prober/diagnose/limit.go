package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// LimitScope says for whom a limit on SYNs counts.
type LimitScope string

// The scopes. Shared: the addresses that were compared draw on one bucket. OwnEach: each address has its own. OneSource: one address is limited and the
// other is not.
const (
	ScopeOpen      LimitScope = ""
	ScopeShared    LimitScope = "shared"
	ScopeOwnEach   LimitScope = "per_source"
	ScopeOneSource LimitScope = "one_source"
)

// RateLimit is what a round found of a limit on SYNs.
type RateLimit struct {
	// RateLow and RateHigh bound the SYNs a second that come through.
	RateLow, RateHigh float64
	// BurstLow and BurstHigh bound how many come through at once; BurstHigh 0: no bound was found. Both are 0 where Exact is not set.
	BurstLow, BurstHigh int
	// Exact: one token bucket within these bounds accounts for every SYN of the round, and none outside them does. Else the rate is what
	// came through in steady bursts.
	Exact bool
	Scope LimitScope
	// Sources are what SYNs from each address met side by side, the usual one first; none where only one address asked.
	Sources []LimitedSource
	// AtOnce is the most handshakes of ours that were open at one time in steady bursts which lost SYNs.
	AtOnce int

	slack time.Duration
}

// LimitedSource is what SYNs from one address met while another asked beside it.
type LimitedSource struct {
	Addr            netip.Addr
	Asked, Answered int
	// PerSecond came through, from the first of either address that did not.
	PerSecond float64
}

// leastSlack is how much later or earlier a SYN may reach the limiter than its fellows: one tick of a kernel with HZ=100, which xt_limit counts in.
const leastSlack = 10 * time.Millisecond

// readLimit reads a limit that lets through rate SYNs a second; rates are what came through each steady burst.
func (d denial) readLimit(in *Input, rates []float64) RateLimit {
	l := RateLimit{RateLow: slices.Min(rates), RateHigh: slices.Max(rates), slack: max(leastSlack, rttSpread(in)), AtOnce: openAtOnce(in)}
	near := l.RateLow
	rows, sources := d.bySources(in)
	if len(rows) < 2 {
		l.take(fitBuckets(near, l.slack, d.arrivals(in, nil)))
		return l
	}
	single := l.compare(rows, sources)
	alone := d.arrivals(in, func(a netip.Addr) bool { return a == sources[0] })
	models := []model{
		{ScopeShared, [][]arrival{d.arrivals(in, nil)}},
		{ScopeOwnEach, [][]arrival{alone, rows[1]}},
		{ScopeOneSource, [][]arrival{alone}},
	}
	l.Scope = l.byCounts(single)
	fits := map[LimitScope]fit{}
	for _, m := range models {
		if f, ok := fitBuckets(near, l.slack, m.rows...); ok {
			fits[m.scope] = f
		}
	}
	l.settle(fits)
	return l
}

// model is one way in which the SYNs of two addresses may be counted: a bucket for each row.
type model struct {
	scope LimitScope
	rows  [][]arrival
}

// byCounts is for whom the limit counts, by how many SYNs a second came through from each of two addresses side by side; single is what the usual one got
// just before. The bucket of two gives both together what it gives one; two buckets give each as much. The bounds lie between.
func (l *RateLimit) byCounts(single float64) LimitScope {
	usual, other := &l.Sources[0], &l.Sources[1]
	total, least := usual.PerSecond+other.PerSecond, min(usual.PerSecond, other.PerSecond)
	kept := usual.PerSecond / single
	switch {
	case single <= 0 || 4*(usual.Asked-usual.Answered) < usual.Asked:
		return ScopeOpen
	case other.Answered == other.Asked && other.Asked >= 12 && kept >= 0.75:
		return ScopeOneSource
	case total <= 4*single/3 && kept <= 0.8 && least > 0 && 4*(other.Asked-other.Answered) >= other.Asked:
		return ScopeShared
	case least >= 0.75*single && total >= 5*single/3 && total <= 5*single/2 && other.Answered < other.Asked:
		return ScopeOwnEach
	}
	return ScopeOpen
}

// settle holds the counts against the buckets that account for every SYN: where only another scope's do, nothing is claimed. That one address is not limited
// at all takes a bucket known to be too small for what passed.
func (l *RateLimit) settle(fits map[LimitScope]fit) {
	f, ok := fits[l.Scope]
	_, shared := fits[ScopeShared]
	_, own := fits[ScopeOwnEach]
	switch l.Scope {
	case ScopeShared:
		if !ok && own {
			l.Scope = ScopeOpen
		}
	case ScopeOwnEach:
		if !ok && shared {
			l.Scope = ScopeOpen
		}
	case ScopeOneSource:
		if !ok || own || shared || f.most == 0 {
			l.Scope = ScopeOpen
		}
	case ScopeOpen:
	}
	if l.Scope == ScopeOpen {
		f, ok = fits[ScopeOneSource] // what the usual address met, whoever else counts
	}
	l.take(f, ok)
}

// take adopts the range of a fit.
func (l *RateLimit) take(f fit, ok bool) {
	if ok {
		l.RateLow, l.RateHigh, l.BurstLow, l.BurstHigh, l.Exact = f.low, f.high, f.least, f.most, true
	}
}

// compare counts what came through from each of two addresses side by side, and returns how many SYNs a second came through from the usual one just before:
// it began alone. Of each only what came after its first loss counts, when its bucket was empty, and of the time alone the later part. 0: there is too little to compare.
func (l *RateLimit) compare(rows [][]arrival, sources []netip.Addr) (single float64) {
	began, joined := rows[0][0].at, rows[1][0].at
	until := later(rows[0][len(rows[0])-1].at, rows[1][len(rows[1])-1].at)
	settled := began.Add(joined.Sub(began) * 2 / 5)
	_, _, single = cameThrough(rows[0], later(settled, firstDrop(rows[0])), joined)
	from := later(joined, firstDrop(rows[1]))
	for i, row := range rows {
		s := LimitedSource{Addr: sources[i]}
		s.Asked, s.Answered, _ = cameThrough(row, joined, until.Add(1))
		_, _, s.PerSecond = cameThrough(row, from, until.Add(1))
		l.Sources = append(l.Sources, s)
	}
	if from.After(joined.Add(until.Sub(joined) * 3 / 5)) {
		return 0 // too little time is left after its bucket was empty
	}
	return single
}

func firstDrop(row []arrival) time.Time {
	if i := slices.IndexFunc(row, func(a arrival) bool { return a.fate == dropped }); i >= 0 {
		return row[i].at
	}
	return time.Time{}
}

// cameThrough counts the SYNs of a time and those of them that came through, in all and a second.
func cameThrough(row []arrival, from, until time.Time) (asked, n int, perSecond float64) {
	for _, a := range row {
		if !a.at.Before(from) && a.at.Before(until) {
			asked++
			if a.fate == passed {
				n++
			}
		}
	}
	if d := until.Sub(from).Seconds(); d > 0 {
		perSecond = float64(n) / d
	}
	return asked, n, perSecond
}

// bursts is how many bursts from two addresses are worth making: one where there is only one address.
func (l *RateLimit) bursts() int {
	if len(l.Sources) < 2 {
		return 1
	}
	return 2
}

// tells says what was found of the limit, a sentence each.
func (l *RateLimit) tells() []string {
	var out []string
	if l.Exact {
		out = append(out, fmt.Sprintf("one token bucket accounts for every SYN of the round: %s (SYNs may arrive %s apart from their order)", l, l.slack.Round(time.Millisecond)))
	} else {
		out = append(out, "no one token bucket accounts for every SYN: others draw on it as well, SYNs are lost besides, or it counts another way; the rate is what was left to this host")
	}
	if l.AtOnce > 0 {
		out = append(out, fmt.Sprintf("it is the rate, and not how many are open at once: SYNs were lost while no more than %d of ours was half-open, each reset within a round trip; a queue of "+
			"requests or of connections holds more than that", l.AtOnce))
	}
	if len(l.Sources) < 2 {
		return out
	}
	var each []string
	for _, s := range l.Sources {
		each = append(each, fmt.Sprintf("%d of %d from %s (%.1f a second)", s.Answered, s.Asked, s.Addr, s.PerSecond))
	}
	return append(out, "asked from two addresses in turn, in an order drawn by lot: "+strings.Join(each, ", ")+" came through: "+l.Scope.meaning())
}

// String is rate and burst in words.
func (l *RateLimit) String() string {
	rate := fmt.Sprintf("%.1f to %.1f a second", l.RateLow, l.RateHigh)
	switch {
	case !l.Exact:
		return rate
	case l.BurstHigh == 0:
		return fmt.Sprintf("%s, %d or more at once", rate, l.BurstLow)
	case l.BurstHigh == l.BurstLow:
		return fmt.Sprintf("%s, %d at once", rate, l.BurstLow)
	}
	return fmt.Sprintf("%s, %d to %d at once", rate, l.BurstLow, l.BurstHigh)
}

func (s LimitScope) meaning() string {
	switch s {
	case ScopeShared:
		return "both draw on one bucket. It counts all sources together, or their network, or a NAT before it makes them one"
	case ScopeOwnEach:
		return "each has a bucket of its own. It counts by source address, or two ways have a limiter each"
	case ScopeOneSource:
		return "only the first is limited. A rule names it, or exempts the other, or the other's allowance is larger"
	case ScopeOpen:
	}
	return "this does not settle whether they share one"
}

// brief ends a summary with for whom the limit counts.
func (s LimitScope) brief() string {
	switch s {
	case ScopeShared:
		return ", for both addresses of this host together"
	case ScopeOwnEach:
		return " for each source address"
	case ScopeOneSource:
		return ", from this address but not from another of this host"
	case ScopeOpen:
	}
	return ""
}
