package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
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
