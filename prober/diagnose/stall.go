package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// slowFrom is where a first answer counts as slow: it comes later than most of the first wait of a Linux ladder.
const slowFrom = 700 * time.Millisecond

// slowness is what a round shows of late first answers.
type slowness struct {
	late []time.Duration
	n    int
	// single counts the SYNs that were never repeated and were answered late, prompt those answered in time.
	single, prompt int
	// served counts all that were answered in time at the first SYN, the kernel's connects too.
	served   int
	explains []int
}

func readSlowness(in *Input) slowness {
	var s slowness
	fastest := fastestTo(in)
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || in.explained[i] {
			continue
		}
		before := len(s.late)
		for j := range o.Attempts {
			s.add(&o.Attempts[j], fastest[o.Attempts[j].Flow.Dst])
		}
		if len(s.late) > before {
			s.explains = append(s.explains, i)
		}
	}
	return s
}

// add counts one; trip is the fastest round trip to its destination, which a listener's own repeat takes besides.
func (s *slowness) add(a *observe.Attempt, trip time.Duration) {
	s.n++
	if a.Outcome != observe.Accepted {
		return
	}
	if a.Retransmissions == 0 && a.Handshake < slowFrom {
		s.served++
	}
	if hurried(a) {
		s.prompt++
		return
	}
	onRung := func(d time.Duration) bool { return listenerRung(d) || listenerRung(d-trip) }
	alone := false
	if a.Via == plan.Raw && len(a.SYNs) == 1 {
		alone = a.RTT >= slowFrom && !onRung(a.RTT)
		if alone {
			s.single++
		} else {
			s.prompt++
		}
	}
	repeated := (a.Late == observe.LateSlow || a.Late == observe.LateAmbiguous) && !onRung(a.Handshake)
	if alone || repeated {
		s.late = append(s.late, a.Handshake)
	}
}

// mostlySlow is how many late answers there must be for each prompt one.
const mostlySlow = 3

// checkSlow: SYNs were repeated although their first answer was only late. Single SYNs that are never repeated tell it best: what
// answers them after so long was on its way all the time.
func checkSlow(in *Input) []Finding {
	sl := readSlowness(in)
	late, n, single, explains := sl.late, sl.n, sl.single, sl.explains
	if len(late) == 0 {
		return nil
	}
	lo, hi := late[0], late[0]
	for _, d := range late {
		lo, hi = min(lo, d), max(hi, d)
	}
	f := Finding{
		Verdict: SlowPathNotStall, Level: Inconclusive, explains: explains,
		Summary: fmt.Sprintf("%d of %d handshakes took %s to %s because the answer was slow; no SYN was lost",
			len(late), n, lo.Round(time.Millisecond), hi.Round(time.Millisecond)),
		Evidence: []string{
			fmt.Sprintf("%d SYNs that were never repeated were answered after %s or more", single, slowFrom),
			"each late SYN-ACK echoes the TSval of the first SYN, which therefore had arrived",
		},
		Disproof: "a SYN-ACK that echoes the repeat; single SYNs answered at once",
		Remedy:   "look for queueing (bufferbloat, a shaper, an overloaded balancer) and not for loss",
		Settle:   "single SYNs, never repeated: are they answered late?",
	}
	// A few late among many prompt ones may be a lost answer and the listener's repeat of it, or somebody on the way who was kept waiting for a
	// processor; a slow path is slow mostly.
	if single >= 3 && single >= mostlySlow*sl.prompt && len(late) >= mostlySlow*sl.served && len(explains) >= 2 {
		f.Level = Confirmed
	}
	return []Finding{f}
}

// listenerRung reports whether a SYN-ACK so long after its SYN is likely the listener's own repeat.
func listenerRung(d time.Duration) bool {
	return slices.ContainsFunc(plan.ListenerRTOs(), func(rto time.Duration) bool { return plan.OnListenerRung(d, rto) })
}

// checkStalls reports stalls and time-outs that no other rule explains. One lost SYN is no verdict: the finding is
// inconclusive and says what would settle it.
func checkStalls(in *Input) []Finding {
	m := readMishaps(in)
	stalled, failed, n := len(m.stalls), m.failed, m.n
	if stalled+failed == 0 {
		return nil
	}
	f := Finding{
		Verdict: SYNStallUnclassified, Level: Suspected,
		Summary:  fmt.Sprintf("%d of %d connections stalled and %d failed%s; the cause is not separated yet", stalled, n, failed, m.how()),
		Evidence: append(repeatCounts(in, m.stalls), m.tells()...),
		Disproof: "no SYN repeated over a round of the same size",
		Remedy:   separating(in),
		Settle:   "a raw burst beside the kernel's, a cold and a warm burst, and the direction of the loss",
	}
	if settle := unsure(in, m.stalls, failed, n); settle != "" {
		f.Level, f.Settle = Inconclusive, settle
	}
	if outage(in) {
		f.Settle = "a longer look: a whole burst was silent, and others were served as a whole"
		f.Wants = []Want{{Kind: plan.KindPaced, Why: "does the address come and go?", Most: 2}}
	}
	if text, ok := nothingAnswered(in); ok {
		f.Summary = text
		f.Disproof = "any answer to a SYN"
	}
	f.Evidence = append(f.Evidence, "ladder in force, s: "+strings.TrimSpace(in.Ladder.String()))
	return []Finding{f}
}

// separating says how to come to a cause that is not separated yet: a probe has made no experiment, a diagnosis has made all it could.
func separating(in *Input) string {
	captured, experiments := false, false
	for i := range in.Observations {
		o := &in.Observations[i]
		captured = captured || o.Captured
		experiments = experiments || o.Kind != plan.KindConnect && o.Kind != plan.KindSYN && o.Kind != plan.KindCheck
	}
	switch {
	case !captured:
		return "run the experiments that separate the causes left, as root or with CAP_NET_RAW, without which they cannot be made: vipprobe diagnose"
	case !experiments:
		return "run the experiments that separate the causes left: vipprobe diagnose"
	}
	return "meet the real servers directly as well (vipprobe diagnose --member), ask for the server's own counters (--testimony), or capture at both ends " +
		"in the same minute (--evidence)"
}

// stallNoise is the share of connects that stall on a path which nobody would call faulty.
const stallNoise = 1e-3

// unsure says what would settle whether stalls and failures of n attempts are any, or nothing where they are.
func unsure(in *Input, stalls []*observe.Attempt, failed, n int) string {
	few := func(bad int) bool {
		return bad < 3 && bad*20 < n || bad <= 1 || stats.BinomialAtLeast(bad, n, stallNoise) >= 1e-2
	}
	if few(len(stalls) + failed) {
		return "more attempts: so few are no verdict where one connect in 1,000 may stall"
	}
	if steady := readSteadiness(in); steady.unsteady() {
		return "a quieter hour: " + steady.String() + ", so what seems lost may be late"
	}
	if over := readOverdue(in); over.explains(len(stalls) + failed) {
		return "a quieter hour: " + over.String() + ", so what seems lost may be late"
	}
	if certain, p := pauseChance(in, stalls); few(certain+failed) && p >= 1e-2 {
		return fmt.Sprintf("stalls at more moments: answers held back somewhere for a while, and let go together, look the same once in %.0f times", 1/p)
	}
	return ""
}

// repeatCounts says how many stalled after how many repeats: of the kernel's ladder, or of one of ours.
func repeatCounts(in *Input, stalls []*observe.Attempt) []string {
	kernel, own, most := map[int]int{}, map[int]int{}, 0
	for _, a := range stalls {
		most = max(most, a.Retransmissions)
		if a.Via == plan.Raw {
			own[a.Retransmissions]++
		} else {
			kernel[a.Retransmissions]++
		}
	}
	var counts []string
	for k := 0; k <= most; k++ {
		if kernel[k] > 0 && k > 0 {
			counts = append(counts, fmt.Sprintf("%d after %d repeat(s), at %s", kernel[k], k, rung(in, k)))
		}
		if own[k] > 0 && k > 0 {
			counts = append(counts, fmt.Sprintf("%d raw ones after %d of our own repeats", own[k], k))
		}
		if alone := kernel[k] + own[k]; k == 0 && alone > 0 {
			counts = append(counts, fmt.Sprintf("%d after the listener's own repeat", alone))
		}
	}
	return counts
}

// outage reports whether some bursts to the service went unanswered as a whole, for no reason that a rule knows, and all others were served as a whole.
func outage(in *Input) bool {
	silent, served := 0, 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || !trusted(o) || in.explained[i] || len(o.Attempts) < 4 {
			continue
		}
		n := 0
		for j := range o.Attempts {
			if a := &o.Attempts[j]; a.Late == observe.LateSlow || a.Late == observe.LateAmbiguous {
				return false // answered, if late
			} else if troubled(a) {
				n++
			}
		}
		switch n {
		case 0:
			served++
		case len(o.Attempts):
			silent++
		default:
			return false
		}
	}
	return silent > 0 && served > 0
}

// rung is where on the ladder in force the k-th repeat lies.
func rung(in *Input, k int) string {
	if k < len(in.Ladder.At) {
		return in.Ladder.At[k].String()
	}
	return "a rung beyond the ladder"
}
