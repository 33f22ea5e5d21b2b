package diagnose

import (
	"cmp"
	"slices"
	"time"
)

// Effect is what a server's own counters did to a verdict.
type Effect string

// The effects. Upgraded: a cause that was named from outside is proven by the server's counter. Named: the counter names what the outside could
// not tell apart. Refuted: the counter that must move did not. Background: it moved no more with our SYNs than without them. Unmatched: it moved
// with them, but not by as much as it should have. Beside: it moved with them as its verdict would have it, but another cause was named from outside
// that it does not contradict. Unsaid: the server does not tell that counter, or too little was asked.
const (
	EffectUpgraded   Effect = "upgraded"
	EffectNamed      Effect = "named"
	EffectRefuted    Effect = "refuted"
	EffectBackground Effect = "background"
	EffectUnmatched  Effect = "unmatched"
	EffectBeside     Effect = "beside"
	EffectUnsaid     Effect = "unsaid"
)

// Testimony is what the servers' counters say to one verdict.
type Testimony struct {
	Verdict Verdict
	Effect  Effect
	// Counter is the one that testifies; Means says what it counts, and Others what else moves it.
	Counter, Means, Others string
	// Servers are whose counters were read, and by how much each rose while our SYNs were sent in vain.
	Servers []ServerCount
	// Expected is by how much it should have risen: one for each SYN of ours that went without an answer. Seen is by how much it did rise in the
	// intervals in which these were sent, all servers together.
	Expected, Seen int64
	// Intervals are those with such SYNs, in Moved of them it rose by half of what was expected or more. Quiet are as long, without any; in
	// QuietMoved of them it rose as much.
	Intervals, Moved, Quiet, QuietMoved int
	// QuietTime is the length of the quiet intervals together.
	QuietTime time.Duration
	// Background is the rate a second at which it rose in the quiet intervals.
	Background float64
	// P is the chance of Moved by chance, given QuietMoved (Fisher's exact test, one-sided), held against Alpha. 1: not tested.
	P, Alpha float64
	// State says what the listener's own queues were at the readings around these SYNs, where they were read; else empty.
	State string
	// Bursts are the counts burst by burst.
	Bursts []BurstCount
	// Why is the sentence for people.
	Why string
}

// ServerCount is one server's part.
type ServerCount struct {
	Server, Source, Kernel string
	Seen                   int64
	Absent                 bool // it does not tell the counter
}

// BurstCount is what one burst should have moved and what moved meanwhile.
type BurstCount struct {
	Label          string
	Arms           string // SYNs in vain by arm, as in "T0−2 8, T0 0"
	Expected, Seen int64
}

// Joined puts the causes in order again, and the headline with them, after a testimony has changed them. Where it left none, the notes have the
// word.
func (d *Diagnosis) Joined() {
	slices.SortStableFunc(d.Causes, func(a, b Cause) int { return cmp.Compare(b.Level, a.Level) })
	d.Headline = headline(d)
}

// Explaining is the finding with the observations, by index, whose losses it accounts for.
func (f Finding) Explaining(observations []int) Finding {
	f.explains = slices.Clone(observations)
	return f
}
