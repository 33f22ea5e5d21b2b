package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// An accept queue that is short, and emptied all the time, overflows within a burst where handshakes are over at once: the connections that are complete take its
// places, and while they do SYNs are dropped (net/ipv4/tcp_input.c tcp_conn_request: sk_acceptq_is_full, 4.10 … 6.18; before, only while two requests or more were fresh, tcp_v4_conn_request up to 3.16), until the
// application comes to accept. SYNs that never become connections take no place in it, so that bursts of them, as many and as dense, lose none. What counts SYNs,
// or has only so much room for packets, drops those as well.

// overrun is what bursts of connections that our kernel completes show beside bursts of SYNs that were reset.
type overrun struct {
	// complete counts the first SYNs of bursts of connections, reset those of bursts of raw SYNs, more at one moment than connections fit.
	complete, reset silences
	// spaced counts the SYNs of the round's usual raw bursts, a few milliseconds apart: what has a rate drops of these, too.
	spaced silences
	// overfull are the bursts of connections that lost some, late in their burst; least and most are how many were answered at once in them.
	overfull    []int
	least, most int
	// large is the largest burst of raw SYNs that lost none; between, whether one lay between overfull ones.
	large   int
	between bool
	// other: a burst of connections lost others than late ones.
	other bool
}

// atOnceSpan is how long SYNs may take to count as at one moment: a bucket that lets 500 a second through has room for one more by then.
const atOnceSpan = 2 * time.Millisecond

func readOverrun(in *Input) overrun {
	var v overrun
	for i := range in.Observations {
		if o := &in.Observations[i]; o.Kind == plan.KindConnect && trusted(o) && !in.explained[i] {
			v.connections(o, i)
		}
	}
	if len(v.overfull) == 0 {
		return v
	}
	for i := range in.Observations {
		switch o := &in.Observations[i]; {
		case !trusted(o):
		case o.Kind == plan.KindVolley:
			v.raw(o, i)
		case o.Kind == plan.KindQuadrants || o.Kind == plan.KindSticky:
			for _, a := range firstSYNOrder(o) {
				good, _ := swallowed.atOnce(a)
				v.spaced.add(!good)
			}
		}
	}
	return v
}

// connections takes a burst of them.
func (v *overrun) connections(o *observe.Observation, index int) {
	answered := 0
	var here silences
	for _, a := range firstSYNOrder(o) {
		if a.Via != plan.Kernel {
			return
		}
		good, told := swallowed.atOnce(a)
		if !told {
			return
		}
		here.add(!good)
		if good {
			answered++
		}
	}
	v.complete.n += here.n
	v.complete.silent += here.silent
	// The application may have come to the queue before the burst was over, so that a late one found room again.
	switch ok, bad, inverted := swallowed.inversions(o); {
	case ok > 0 && bad > 0 && 4*inverted <= ok*bad:
		if len(v.overfull) == 0 || answered < v.least {
			v.least = answered
		}
		v.most = max(v.most, answered)
		v.overfull = append(v.overfull, index)
	case bad > 0:
		v.other = true
	}
}

// raw takes a burst of SYNs that were reset, if enough of them left at one moment.
func (v *overrun) raw(o *observe.Observation, index int) {
	order := firstSYNOrder(o)
	var here silences
	for _, a := range order {
		if a.Via != plan.Raw || len(a.Sent) > len(a.Answers) { // a reset for each answer, and nothing else
			return
		}
		good, told := swallowed.atOnce(a)
		if !told {
			return
		}
		here.add(!good)
	}
	if !dense(order, v.most+1) {
		return
	}
	v.reset.n += here.n
	v.reset.silent += here.silent
	if here.silent > 0 {
		return
	}
	v.large = max(v.large, here.n)
	if index > v.overfull[0] && index < v.overfull[len(v.overfull)-1] {
		v.between = true
	}
}

// dense reports whether n SYNs of a burst, in the order in which they left, left at one moment.
func dense(order []*observe.Attempt, n int) bool {
	for i := 0; i+n <= len(order); i++ {
		if order[i+n-1].SYNs[0].At.Sub(order[i].SYNs[0].At) <= atOnceSpan {
			return true
		}
	}
	return false
}

// checkShortQueue: bursts of connections lose their last, time and again, and bursts of as many SYNs that are reset lose none.
func checkShortQueue(in *Input) []Finding {
	v := readOverrun(in)
	if len(v.overfull) < 2 || v.other || 20*v.spaced.silent > v.spaced.n {
		return nil
	}
	p := fisher(v.complete, v.reset)
	f := Finding{
		Verdict: AcceptQueueOverflow, Level: Inconclusive, P: p,
		Summary: fmt.Sprintf("of connections at once %s fit, and the SYNs behind them are dropped, while of %d SYNs at once that are reset before they are connections none is: the accept queue is too short for a burst",
			fromTo(v.least, v.most), v.large),
		Evidence: []string{
			fmt.Sprintf("%d of %d connections lost their first SYN, late in their burst each time; of %d SYNs that were reset, more of them at one moment, %d: p = %.2g (Fisher, one-sided)",
				v.complete.silent, v.complete.n, v.reset.n, v.reset.silent, p),
			"what counts SYNs, or has room for so many packets, drops those that are reset as well; complete connections alone take places in an accept queue",
		},
		Disproof: "SYNs at once that are reset, and lose their last as well; ListenOverflows on the server that does not move",
		Settle:   "the server's own word (--testimony, or `nstat -az TcpExtListenOverflows` there): what bounds a client's complete connections, and counts no others, looks the same",
		Remedy: "raise the listen backlog, the application's argument of listen(2) and net.core.somaxconn together (the queue holds the lesser of them and one more), and let the application accept sooner; " +
			"ListenOverflows on the server counts each drop",
	}
	const firmly = 1e-4
	if v.reset.silent > 0 {
		return nil
	}
	if v.between && p < 1e-3 {
		f.Level, f.explains = Suspected, v.overfull
	}
	if together := openTogether(in); f.Level == Suspected && p < firmly && together > v.most {
		f.Level, f.Settle = Confirmed, ""
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d connections that were made a few milliseconds apart were open together and acknowledged data: nothing bounds how many a client has", together))
	}
	if v.reset.n > 0 && !v.between {
		f.Wants = append(f.Wants, Want{Kind: plan.KindConnect, Why: "do connections at once lose their last again, after SYNs that lost none?", Most: 4})
	}
	if v.reset.n == 0 || p >= firmly {
		f.Wants = append(f.Wants, Want{Kind: plan.KindVolley, Why: "are as many SYNs at once answered that never become connections?", Most: 4})
	}
	return []Finding{f}
}

// openTogether is the most connections of one burst that acknowledged data, each open until the burst was over.
func openTogether(in *Input) int {
	most := 0
	for i := range in.Observations {
		if in.Observations[i].Kind != plan.KindServed {
			continue
		}
		live := 0
		for _, s := range services(&Input{Observations: in.Observations[i : i+1]}, plan.KindServed) {
			if s.acked {
				live++
			}
		}
		most = max(most, live)
	}
	return most
}

// fromTo writes a range of numbers.
func fromTo(least, most int) string {
	if least == most {
		return fmt.Sprint(most)
	}
	return fmt.Sprintf("%d to %d", least, most)
}
