package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Verdict names a cause. The names are the same on every face: JSON, metrics, catalogue.
type Verdict string

// Level says how firmly a verdict stands.
type Level uint8

// The levels, weakest first in what they claim. Proven: a flip and its healing, a counter or an oracle. Confirmed: p < 1e-4
// against a control. Suspected: p < 1e-2.
const (
	LevelUnknown Level = iota
	NotApplicable
	Inconclusive
	Suspected
	Confirmed
	Proven
)

// Levels lists every level, strongest first.
func Levels() []Level { return []Level{Proven, Confirmed, Suspected, Inconclusive, NotApplicable} }

func (l Level) String() string {
	switch l {
	case Proven:
		return "proven"
	case Confirmed:
		return "confirmed"
	case Suspected:
		return "suspected"
	case Inconclusive:
		return "inconclusive"
	case NotApplicable:
		return "not_applicable"
	case LevelUnknown:
	}
	return "unknown"
}

// Finding is one rule's answer to one question, whether or not it names a cause.
type Finding struct {
	Verdict Verdict
	Level   Level
	// Summary is one sentence for a tired person, figures included.
	Summary string
	// Evidence lists what was seen, a sentence each; attempts are named by index and arm.
	Evidence []string
	// Disproof says what observation would refute the verdict.
	Disproof string
	// Remedy says what to change and where, with the kernel versions that it holds for.
	Remedy string
	// Arms is the table behind a comparison: what was asked, how often, and how often it was answered.
	Arms []Arm
	// P is the probability of the evidence under the best innocent explanation, where the rule is a statistical one; else 0.
	P float64
	// Settle says, for an inconclusive finding, what would settle it.
	Settle string
	// Wants are the experiments that would settle it, or make it firmer.
	Wants []Want
	// limit is what was found of the limit that the finding names.
	limit *RateLimit
	// explains are the observations whose losses the finding accounts for.
	explains []int
}

// Arm is one row of the table behind a finding: shots alike but for one variable.
type Arm struct {
	Name     string
	TSval    wire.TSval // of its SYNs, where HasTSval
	HasTSval bool
	N        int
	Answered int
	Silent   int
	// P is the one-sided chance of as many silent against all other arms together; 0: not tested.
	P float64
}

// Explains lists the observations, by index, whose losses the finding accounts for; none where it does not say.
func (f *Finding) Explains() []int { return slices.Clone(f.explains) }

// OfNeighbor reports whether a verdict is about link addresses: whose frames are evidence for it.
func (v Verdict) OfNeighbor() bool {
	return slices.Contains([]Verdict{LocalARPQueueOverflow, RemoteARPQueueOverflow, LocalARPUnresolved, RemoteARPUnresolved, NeighTableOverflow,
		StaleNeighborAfterFailover, DuplicateAddress, NeighborFlapping}, v)
}

// Want is an experiment that would separate causes, why, and how many bursts of its kind are wanted at most (0: as many as may be).
type Want struct {
	Kind plan.Kind
	Why  string
	Most int
}

// Wants lists what the findings of a diagnosis ask for, firmest finding first, each kind once.
func (d *Diagnosis) Wants() []Want {
	var out []Want
	seen := map[plan.Kind]bool{}
	for _, group := range [][]Finding{d.Causes, d.Notes} {
		for i := range group {
			for _, w := range group[i].Wants {
				if !seen[w.Kind] {
					seen[w.Kind] = true
					out = append(out, w)
				}
			}
		}
	}
	return out
}

// Cause is a finding that the diagnosis names.
type Cause = Finding

// Diagnosis is the one answer of a round: no cause and Healthy, one cause, or several at once.
type Diagnosis struct {
	// Causes are the named ones (suspected or firmer), firmest first. Two faults are two causes.
	Causes []Cause
	// Notes are findings that are no fault or that could not be decided: inconclusive, not applicable, benign.
	Notes []Finding
	// FirstContact says whether either side had to resolve the other, and what became of what waited for it.
	FirstContact FirstContact
	// Testimony is what the servers' own counters say to the causes; none where nobody was asked, or nobody's counters had anything to say.
	Testimony []Testimony
	// Headline is the one line on top of every report.
	Headline string
	// Measurements are figures that stand beside the causes: no faults.
	Measurements []Measurement
	// Stacks are the stacks that answer at the address, where there are several, that of most flows first.
	Stacks []Stack
	// Responders are those that answer at the address as their timestamp clocks tell them apart.
	Responders Responders
	// RateLimit is what was found of a limit on SYNs; nil where none is named.
	RateLimit *RateLimit
	// Clocks are the timestamp clocks that were seen, where a named cause is about them.
	Clocks []ClockSeries
	// Started and Finished bound what was observed.
	Started, Finished time.Time
}

// Healthy reports whether nothing was named and something was measured.
func (d *Diagnosis) Healthy() bool {
	return len(d.Causes) == 1 && d.Causes[0].Verdict == Healthy
}
