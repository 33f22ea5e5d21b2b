package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// tooLate is how long an answer to a question for a link address may take before whoever waits for it repeats its first packet (the
// first RTO of Linux ≥ 3.1: TCP_TIMEOUT_INIT, include/net/tcp.h).
const tooLate = time.Second

// What silence must amount to before nobody is said to answer for an address: as many requests as Linux sends before it gives up (mcast_solicit,
// Documentation/networking/ip-sysctl.rst, 6.18), over as long as it takes for it with the usual second between two.
const (
	vainRequests = 3
	vainTime     = 2 * time.Second
)

// vainAfter is how long a question must have been listened for before it counts as not answered in time: a little less than the 900 ms that the
// prober's own questions wait.
const vainAfter = 850 * time.Millisecond

// asking is what became, over the round, of this host's questions for one address.
type asking struct {
	requests int
	first    time.Time // request of all
	last     time.Time // moment until which somebody listened for an answer
	answered bool
	// prompt, late and vain count the questions that were answered in time, after tooLate, and not within vainAfter.
	prompt, late, vain int
	// others were asked for too, and answered.
	others int
	// since is when the earliest question was put that no answer has followed; the next answer may be to it.
	since time.Time
}

func askings(in *Input, addr netip.Addr) asking {
	var a asking
	for i := range in.Observations {
		o := &in.Observations[i]
		for _, x := range observe.Exchanges(o.Neighbor) {
			switch {
			case x.Outgoing && x.Asked == addr:
				a.add(o, &x)
			case x.Outgoing && len(x.Claims) > 0:
				a.others++
			}
		}
	}
	return a
}

func (a *asking) add(o *observe.Observation, x *observe.Exchange) {
	took, answered := x.Took()
	a.answered = a.answered || answered
	if !trusted(o) {
		return
	}
	a.requests += x.Requests
	if a.first.IsZero() || x.First.Before(a.first) {
		a.first = x.First
	}
	if o.Finished.After(a.last) {
		a.last = o.Finished
	}
	switch {
	case answered && took >= tooLate:
		a.late++
	case answered && (a.since.IsZero() || x.Answered().Sub(a.since) < tooLate):
		a.prompt++
	case !answered && a.since.IsZero():
		a.since = x.First
	}
	if answered {
		a.since = time.Time{}
	} else if o.Finished.Sub(x.First) >= vainAfter {
		a.vain++
	}
}

// checkLocalUnresolved: this host asked for the next hop, and nothing answered, or so late that connects had repeated their SYNs in vain.
func checkLocalUnresolved(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || tableFulls(o) > 0 {
			continue
		}
		for _, p := range ours(o) {
			w := queued(o, p)
			took, open := p.took()
			switch {
			case len(w.order) == 0 || p.requests < 2 || leftBefore(&w, p) > 0:
			case open && !slices.Contains(w.lost, false) && !anyAccepted(w.order):
				return []Finding{localDead(in, o, p, len(w.order))}
			case !open && took >= tooLate:
				return []Finding{localLate(in, o, p, &w)}
			}
		}
	}
	return nil
}

// leftBefore counts the connects of w that did not wait for the answer.
func leftBefore(w *waiting, p pending) int {
	n := 0
	for _, a := range w.order {
		if len(a.SYNs) > 0 && a.SYNs[0].At.Before(p.to) {
			n++
		}
	}
	return n
}

// localDead: silence names the neighbour where it was asked several times over seconds and answered to nothing in the whole round; whoever is
// heard at any time is there, and what was lost then are frames.
func localDead(in *Input, o *observe.Observation, p pending, n int) Finding {
	a := askings(in, p.addr)
	f := Finding{
		Verdict: LocalARPUnresolved, Level: Proven,
		Summary: fmt.Sprintf("nobody answers for %s: %d requests left, no reply came, and no SYN of %d connects left this host",
			p.addr, p.requests, n),
		Evidence: []string{
			fmt.Sprintf("first request at %s, %d in all, no answer until the burst ended", stamp(o, p.from), p.requests),
			fmt.Sprintf("%d connects counted their SYNs in TCP_INFO; the tap saw none", n),
			fmt.Sprintf("over the round %d requests in %s, none answered", a.requests, a.last.Sub(a.first).Round(100*time.Millisecond)),
		},
		Disproof: fmt.Sprintf("a reply from %s, or a SYN of these connects on the wire", p.addr),
		Remedy:   "bring the address up on its segment, or correct the route or netmask that makes this host ask for it here",
	}
	if a.others > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("other addresses of the segment were asked for %d times and answered", a.others))
	}
	switch {
	case a.answered || anyAnswered(in):
		f.Level, f.Settle = Inconclusive, "an answer came at another time of the round: further first contacts (--forget-neighbor)"
		f.Summary += ", though it was there at another time of the round"
	case a.requests < vainRequests || a.last.Sub(a.first) < vainTime:
		f.Level, f.Settle = Inconclusive, "more requests, over seconds"
		f.Wants = []Want{{Kind: plan.KindConnect, Why: "does the next hop answer at all?", Most: 3}}
	}
	return f
}

// slowEnds is how much longer than a round trip of TCP an answer must have taken before it is the neighbour that is slow, and not all that goes
// between the two, or this host.
const slowEnds = 10

func localLate(in *Input, o *observe.Observation, p pending, w *waiting) Finding {
	took, _ := p.took()
	a := askings(in, p.addr)
	f := Finding{
		Verdict: LocalARPUnresolved, Level: Confirmed, explains: within(in, o),
		Summary: fmt.Sprintf("%s answers too late: this host asked %d times in %s, and %d connects waited for it inside this host",
			p.addr, p.requests, took.Round(time.Millisecond), len(w.order)),
		Evidence: []string{
			fmt.Sprintf("first request at %s, %d in all, answered after %s", stamp(o, p.from), p.requests, took.Round(time.Millisecond)),
			fmt.Sprintf("no SYN of these connects left before the answer; SYNs and their repeats then left together (%d were lost for good in the queue)", losses(w)),
			fmt.Sprintf("questions for it in the round: %d answered within a second, %d later, %d not while they were listened for", a.prompt, a.late, a.vain),
		},
		Disproof: fmt.Sprintf("a prompt answer from %s to the first request; a SYN that left before it", p.addr),
		Remedy: "find what delays or loses the requests or their answers: a busy control plane (gateways police ARP), a saturated or flapping link, storm control, " +
			"a sleeping host; a permanent entry (ip neigh replace … nud permanent) bridges the time",
	}
	rtt := usualRTT(o)
	switch {
	case rtt*slowEnds > took:
		f.Level, f.Settle = Inconclusive, "a quieter hour, for the host or for the path"
		f.Summary += fmt.Sprintf("; but its TCP took %s as well, so more than this answer was slow", rtt.Round(time.Millisecond))
	case a.prompt > 0:
		f.Level, f.Settle = Inconclusive, "more first contacts (--forget-neighbor)"
		f.Summary += "; asked again it answered at once: one lost frame looks the same"
	case a.late+a.vain < 2:
		f.Level, f.Settle = Inconclusive, "is it as late when it is asked again?"
		f.Wants = []Want{{Kind: plan.KindResolve, Why: f.Settle, Most: 2}}
	}
	return f
}

// usualRTT is the median of what answers to the SYNs of a burst took on the wire; 0: no SYN was answered.
func usualRTT(o *observe.Observation) time.Duration {
	var all []time.Duration
	for i := range o.Attempts {
		if rtt := o.Attempts[i].RTT; rtt > 0 {
			all = append(all, rtt)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// anyAnswered reports whether any SYN of the round had an answer: somebody is at the next hop. The ICMP error by which this host tells itself
// that it has given up (net/ipv4/arp.c arp_error_report, 6.18) is none.
func anyAnswered(in *Input) bool {
	for a := range attempts(in) {
		own := a.Flow.Src.Addr().Unmap()
		if slices.ContainsFunc(a.Answers, func(x observe.Answer) bool { return x.Kind != observe.ICMP || x.From.Unmap() != own }) {
			return true
		}
	}
	return false
}

// tableFulls is how many entries the kernel's neighbour tables had no room for during a burst (net/core/neighbour.c neigh_alloc, 6.18).
func tableFulls(o *observe.Observation) int64 {
	return o.Counters["arp_cache.table_fulls"] + o.Counters["ndisc_cache.table_fulls"]
}

func losses(w *waiting) int {
	p := w.pattern()
	return p.run + p.after
}

// within is the index of an observation of the round.
func within(in *Input, o *observe.Observation) []int {
	for i := range in.Observations {
		if &in.Observations[i] == o {
			return []int{i}
		}
	}
	return nil
}

func anyAccepted(list []*observe.Attempt) bool {
	return slices.ContainsFunc(list, func(a *observe.Attempt) bool { return a.Outcome == observe.Accepted })
}
