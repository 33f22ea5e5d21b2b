package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// overdue are flows whose SYN-ACK came when their burst was over, and that no lost answer explains: it was long under way, and what their burst lacked
// was late, not lost.
type overdue struct {
	n     int
	worst time.Duration
}

// readOverdue leaves out the bursts that readSteadiness does.
func readOverdue(in *Input) overdue {
	var o overdue
	came := map[wire.Flow][]observe.Belated{}
	for i := range in.Observations {
		for _, b := range in.Observations[i].Belated {
			came[b.Flow] = append(came[b.Flow], b)
		}
	}
	if len(came) == 0 {
		return o
	}
	fastest := fastestTo(in)
	for i := range in.Observations {
		if x := &in.Observations[i]; warm(x) && !aside(x.Kind) && !in.explained[i] {
			o.add(x, came, fastest)
		}
	}
	return o
}

func (o *overdue) add(x *observe.Observation, came map[wire.Flow][]observe.Belated, fastest map[netip.AddrPort]time.Duration) {
	for j := range x.Attempts {
		a := &x.Attempts[j]
		for k := range came[a.Flow] {
			if took, ok := cameLate(a, &came[a.Flow][k], fastest[a.Flow.Dst]); ok {
				o.n++
				o.worst = max(o.worst, took)
				break
			}
		}
	}
}

// explains reports whether late answers are too common beside so many lost ones to take those for lost.
func (o overdue) explains(lost int) bool { return o.n >= fewLate && o.n*oneLateIn >= lost }

func (o overdue) String() string {
	return fmt.Sprintf("the SYN-ACKs of %d flows came after their burst was over, up to %s after their SYN and not when a listener repeats by itself", o.n,
		o.worst.Round(time.Millisecond))
}

// overdue leaves open what late answers may explain.
func (f Finding) overdue(o overdue) Finding {
	f.Summary += fmt.Sprintf("; answers of %d flows came when nobody waited for them any more", o.n)
	f.Settle = "answers that come in time: " + o.String() + ", so a late one is not known to be lost"
	f.Wants = []Want{{Kind: plan.KindDirection, Why: "do single SYNs have late answers, if they are waited for?", Most: 1}}
	return f
}

// cameLate reports whether a SYN-ACK that came after its burst had been long under way, and how long after the SYN that it echoes it came. A listener
// whose answer was lost repeats it by itself, on its own rungs from the last SYN that reached it: what comes then says nothing. Off them it was late if
// nothing had been answered, if it was sent before what came first, or if its SYN made the request after one that had left later.
func cameLate(a *observe.Attempt, b *observe.Belated, fastest time.Duration) (time.Duration, bool) {
	echoed := func(s observe.SYN) bool { return s.HasTS && s.TSval == b.TSecr && !s.At.IsZero() && s.At.Before(b.At) }
	k := slices.IndexFunc(a.SYNs, echoed)
	if !b.HasTS || k < 0 || slices.ContainsFunc(a.SYNs[k+1:], echoed) {
		return 0, false
	}
	took := b.At.Sub(a.SYNs[k].At)
	if took < fastest+farLate || listenerRung(took-fastest) {
		return 0, false
	}
	if first := firstSYNACK(a); first != nil {
		return took, a.Answered > k || first.HasTS && b.TSval.Before(first.TSval)
	}
	repeated := func(s observe.SYN) bool { return listenerRung(b.At.Sub(s.At) - fastest) }
	return took, !slices.ContainsFunc(a.SYNs, repeated)
}
