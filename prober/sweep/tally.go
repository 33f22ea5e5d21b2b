package sweep

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Outcome is what a target came to, all of its probes together.
type Outcome uint8

// The outcomes, but for OutcomeUnknown in the order in which they ask for attention. OutcomeUnknown: the capture lost frames, or the sweep was
// cut short, before it could be told.
const (
	OutcomeUnknown Outcome = iota
	Stalls                 // every probe was accepted, but some only late: see Result.Stalled
	Mixed                  // some probes ended otherwise than the others
	Quiet                  // no probe was answered
	Unreached              // ICMP errors for every probe
	Refuses                // RSTs for every probe
	Unsent                 // this host did not send them all
	Answers                // every probe was accepted at once
	outcomes
)

// Outcomes are all, those first that ask for attention.
func Outcomes() []Outcome {
	return []Outcome{Stalls, Mixed, Quiet, Unreached, Refuses, Unsent, OutcomeUnknown, Answers}
}

// Target is all probes of one target.
type Target struct {
	Dst     netip.AddrPort
	Probes  int
	By      [states]int // probes by State
	Stalled int         // of the accepted
	SYNs    int         // sent, as far as this host knows
	// Least and Most are the times of the answers, SYN-ACK or RST, from the first SYN on; 0: none was timed.
	Least, Most time.Duration
	// Why is the name of the first ICMP error that ended a probe, or what LeaveOut was told; "": neither.
	Why string
}

func (t *Target) add(r *Result) {
	t.Probes++
	t.By[r.State]++
	if r.State != NotSent {
		t.SYNs += 1 + r.Again
	}
	switch {
	case r.State == Unreachable:
		if t.Why == "" {
			t.Why = (&wire.ICMPError{Type: r.ICMPType, Code: r.ICMPCode, V6: t.Dst.Addr().Is6()}).Name()
		}
	case r.Timed && r.State != NotSent:
		if t.Least == 0 || r.Took < t.Least {
			t.Least = r.Took
		}
		t.Most = max(t.Most, r.Took)
	}
	if r.Stalled() {
		t.Stalled++
	}
}

// Outcome judges the probes together. That some were answered and others not is told whatever is not known of still others.
func (t *Target) Outcome() Outcome {
	kinds, one := 0, OutcomeUnknown
	for _, k := range []struct {
		state State
		all   Outcome
	}{{Accepted, Answers}, {Refused, Refuses}, {Unreachable, Unreached}, {Silent, Quiet}} {
		if t.By[k.state] > 0 {
			kinds, one = kinds+1, k.all
		}
	}
	switch {
	case kinds > 1:
		return Mixed
	case t.By[Pending]+t.By[Unseen]+t.By[StateUnknown] > 0:
		return OutcomeUnknown
	case t.By[NotSent]+t.By[Dropped] > 0:
		return Unsent
	case one == Answers && t.Stalled > 0:
		return Stalls
	}
	return one
}

// Tally counts targets as their probes come in, those of one target one after the other. Its zero value is empty.
type Tally struct {
	// Each, where set, is told of every target once all of its probes have come in.
	Each func(*Target)

	Targets int
	By      [outcomes]int // targets by Outcome
	SYNs    int
	Slowest Target // of those that answer
	runs    [outcomes][]Run
	beyond  [outcomes]int // targets in runs that are not kept
	took    []int64
	open    Target
}

// Add takes one probe.
func (t *Tally) Add(r Result) {
	if t.open.Probes > 0 && t.open.Dst != r.Flow.Dst {
		t.Close()
	}
	if t.open.Probes == 0 {
		t.open = Target{Dst: r.Flow.Dst}
	}
	t.open.add(&r)
	if r.Timed && r.State == Accepted && !r.Stalled() {
		t.took = append(t.took, int64(r.Took))
	}
}

// LeaveOut takes a target to which nothing was sent, and why.
func (t *Tally) LeaveOut(dst netip.AddrPort, probes int, s State, why string) {
	t.Close()
	x := Target{Dst: dst, Probes: probes, Why: why}
	x.By[s] = probes
	t.count(x)
}

// Close ends the last target.
func (t *Tally) Close() {
	if x := t.open; x.Probes > 0 {
		t.open = Target{}
		t.count(x)
	}
}

func (t *Tally) count(x Target) {
	o := x.Outcome()
	t.Targets++
	t.By[o]++
	t.SYNs += x.SYNs
	if o == Answers {
		if x.Most > t.Slowest.Most {
			t.Slowest = x
		}
	} else {
		t.run(o, x)
	}
	if t.Each != nil {
		t.Each(&x)
	}
}

// Times are the handshakes of probes that were accepted and did not stall.
func (t *Tally) Times() Times { return timesOf(t.took) }

// Run is targets of one outcome whose addresses follow each other at one port.
type Run struct {
	First, Last netip.Addr
	N           int
	Worst       Target // that which took longest
}

// Kept bounds the runs of each outcome that a tally keeps.
const Kept = 1000

func (t *Tally) run(o Outcome, x Target) {
	runs := t.runs[o]
	if n := len(runs); n > 0 {
		last := &runs[n-1]
		if last.Worst.Dst.Port() == x.Dst.Port() && last.Last.Next() == x.Dst.Addr() && last.Worst.Why == x.Why {
			last.Last = x.Dst.Addr()
			last.N++
			if x.Most > last.Worst.Most {
				last.Worst = x
			}
			return
		}
	}
	if len(runs) >= Kept {
		t.beyond[o]++
		return
	}
	t.runs[o] = append(runs, Run{First: x.Dst.Addr(), Last: x.Dst.Addr(), N: 1, Worst: x})
}

// Runs are the targets of an outcome other than Answers, in runs, and how many more targets there are.
func (t *Tally) Runs(o Outcome) (runs []Run, more int) { return t.runs[o], t.beyond[o] }

// Ill names n targets at most that a diagnosis could explain, one of each run: those first that ask for attention.
func (t *Tally) Ill(n int) []netip.AddrPort {
	var out []netip.AddrPort
	for _, o := range []Outcome{Stalls, Mixed, Quiet, Unreached, Refuses} {
		for _, r := range t.runs[o] {
			if len(out) == n {
				return out
			}
			out = append(out, r.Worst.Dst)
		}
	}
	return out
}
