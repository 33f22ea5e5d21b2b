package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// Where answers that were not lost come hundreds of milliseconds late now and then, nothing can be read from lateness: an answer that comes soon after
// a repeat may be that to the SYN before it, and one that comes after a second need not be a listener's own repeat. A host that is short of
// processor time, at any place of the path or here, does that, and what it holds back it lets go all at once.
const (
	lateBeside   = 100 * time.Millisecond // and ten times the fastest round trip
	fewLate      = 3
	oneLateIn    = 20
	sameInstant  = 20 * time.Millisecond
	fewInstants  = 3
	timesFastest = 10
)

// steadiness is how single SYNs fared that were answered before any repeat.
type steadiness struct {
	n, late int
	worst   time.Duration
	// at are the moments at which the late ones came.
	at []time.Time
}

// outnumbered reports whether answers that were lost, by the moments at which their successors came, are far more than the pauses that late answers show
// could pass for: of pauses that end at any time no more end in the windows in which a repeat is answered, ours or the listener's own.
func (s steadiness) outnumbered(moments int) bool {
	return stats.BinomialAtLeast(moments, moments+momentsOf(s.at), listenersOwn) < naming
}

// momentsOf counts times, those of one instant as one.
func momentsOf(at []time.Time) int {
	slices.SortFunc(at, time.Time.Compare)
	n := 0
	var last time.Time
	for _, t := range at {
		if last.IsZero() || t.Sub(last) > sameInstant {
			n++
		}
		last = t
	}
	return n
}

// unsteady reports whether late answers are too common to take lateness for loss.
func (s steadiness) unsteady() bool { return s.late >= fewLate && s.late*oneLateIn >= s.n }

func (s steadiness) String() string {
	return fmt.Sprintf("%d of %d answers to SYNs that were not repeated came far later than the fastest, up to %s", s.late, s.n, s.worst.Round(time.Millisecond))
}

// readSteadiness leaves out bursts that waited for a link address, and those that a finding has explained.
func readSteadiness(in *Input) steadiness {
	fastest := map[netip.AddrPort]time.Duration{}
	var s steadiness
	var took []*observe.Attempt
	for i := range in.Observations {
		o := &in.Observations[i]
		if !warm(o) || aside(o.Kind) || in.explained[i] {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			slow := a.Late == observe.LateSlow
			if !slow && (a.RTT == 0 || a.Retransmissions > 0) {
				continue
			}
			took = append(took, a)
			if f, ok := fastest[a.Flow.Dst]; !slow && (!ok || a.RTT < f) {
				fastest[a.Flow.Dst] = a.RTT
			}
		}
	}
	for _, a := range took {
		d := a.RTT
		if a.Late == observe.LateSlow {
			d = a.Handshake
		}
		s.n++
		if d > lateBeside && d > timesFastest*fastest[a.Flow.Dst] {
			s.late++
			s.worst = max(s.worst, d)
			s.at = append(s.at, endedAt(a))
		}
	}
	return s
}

// instants counts the moments at which the answers came that speak for lost ones before them. One pause that ends lets many go at once.
func instants(fs []fate) int {
	var at []time.Time
	for i := range fs {
		if ans := firstSYNACK(fs[i].a); fs[i].back > 0 && ans != nil {
			at = append(at, ans.At)
		}
	}
	return momentsOf(at)
}

// timing sorts the answers that speak for lost ones before them, of flows that had repeated their SYN, by what they answer. A listener answers the first repeat
// at once (net/ipv4/tcp_minisocks.c tcp_check_req, 2.6.32 to 6.18), so where answers are lost most of those that come are to repeats. Answers that come only
// when a listener repeats by itself, over the heads of ours, are as well those of one that is slow by about as much.
type timing struct {
	prompt, own, either int
	// alone are the answers to only SYNs that came when a listener repeats by itself, late those that came far too late and not then.
	alone, late int
}

// slow reports whether the answers may all have been slow ones.
func (t timing) slow() bool {
	return t.prompt == 0 || t.own >= fewTold && t.own > t.prompt || t.late >= fewTold && 2*t.late >= t.alone
}

// farLate is how much longer than the fastest round trip an only SYN's answer takes that is late.
const farLate = 500 * time.Millisecond

func readTiming(in *Input, fs []fate) timing {
	fastest := fastestTo(in)
	var t timing
	for i := range fs {
		a, fast := fs[i].a, fastest[fs[i].a.Flow.Dst]
		ans, last := firstSYNACK(a), fs[i].a.Retransmissions
		switch {
		case ans == nil || last >= len(a.SYNs) || a.Answered < 0:
		case last == 0 && fs[i].back > 0:
			t.alone++
		case last == 0 && a.RTT >= fast+farLate:
			t.late++
		case last > 0 && fs[i].back > 0:
			t.repeated(ans.At.Sub(a.SYNs[last].At), ans.At.Sub(a.SYNs[a.Answered].At), fast)
		}
	}
	return t
}

// repeated counts an answer that came since after a repeat, and total after the SYN that it answers.
func (t *timing) repeated(since, total, fast time.Duration) {
	near := since <= 2*fast+10*time.Millisecond
	rung := slices.ContainsFunc(plan.ListenerRTOs(), func(rto time.Duration) bool { return plan.OnListenerRung(total-fast, rto) })
	switch {
	case near && rung:
		t.either++
	case near:
		t.prompt++
	default:
		t.own++
	}
}
