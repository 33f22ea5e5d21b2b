package diagnose

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// cookieBits of a TSval hold the client's options where a SYN-ACK is a cookie: window scale, SACK and ECN
// (net/ipv4/syncookies.c cookie_init_timestamp, TSBITS, 6.18 and 3.10; net/netfilter/nf_synproxy_core.c synproxy_init_timestamp_cookie does the
// same). What is added to the clock, for a pair of addresses or for a flow, is the same for all SYNs of one flow.
const cookieBits = 6

// fewFlows is the least number of flows whose TSvals are read for cookies.
const fewFlows = 4

// lowBits compares the TSvals of SYN-ACKs on one and the same flow, made for one SYN after another with the same options.
type lowBits struct {
	// flows had two such SYN-ACKs at least, and the clock moved between them; alike are those of which the last bits never changed.
	flows, alike int
	// kept are those of at least three SYN-ACKs each whose last bits never changed, though no clock of a usual rate makes their steps: by chance 1 in 4,096 flows
	// of a clock of another rate.
	kept int
	// rates are clocks that would account for all steps seen: where one of them does, it is a clock and no cookie.
	rates []float64
	// jitter is by how many seconds the round trips of these answers differ.
	jitter float64
}

func readLowBits(in *Input) lowBits {
	l := lowBits{rates: usualRates()}
	var flows [][]observe.Answer
	var trips []time.Duration
	var own []float64 // of each flow, by how many seconds its round trips differ
	for a := range trustedAttempts(in) {
		if a.Via != plan.Raw || len(a.SYNs) < 2 || !a.SYNs[0].HasTS {
			continue
		}
		list, from := made(a), len(trips)
		for k := range list {
			if n := slices.IndexFunc(a.SYNs, func(s observe.SYN) bool { return s.TSval == list[k].TSecr }); n >= 0 && len(list) > 1 {
				trips = append(trips, list[k].At.Sub(a.SYNs[n].At))
			}
		}
		flows, own = append(flows, list), append(own, spread(trips[from:]))
	}
	l.jitter = spread(trips)
	for i, list := range flows {
		l.add(list, own[i])
	}
	return l
}

// spread is by how many seconds round trips differ: an answer comes so much later, or earlier, than the clock was read for it.
func spread(trips []time.Duration) float64 {
	if len(trips) == 0 {
		return 0
	}
	return (slices.Max(trips) - slices.Min(trips)).Seconds()
}

// usualRates are the clocks of TSvals, in Hz, that stacks have.
func usualRates() []float64 { return []float64{100, 250, 1000} }

// made lists the SYN-ACKs that answer different SYNs of an attempt.
func made(a *observe.Attempt) []observe.Answer {
	var out []observe.Answer
	seen := map[wire.TSval]bool{}
	for k := range a.Answers {
		if ans := a.Answers[k]; ans.Kind == observe.SYNACK && ans.HasTS && !seen[ans.TSecr] {
			seen[ans.TSecr] = true
			out = append(out, ans)
		}
	}
	return out
}

// add enters the SYN-ACKs of a flow whose round trips differ by so many seconds.
func (l *lowBits) add(list []observe.Answer, jitter float64) {
	alike, moved, own := true, false, usualRates()
	unlike := func(hz float64, ticks int32, took, jitter float64) bool {
		return math.Abs(float64(ticks)-hz*took) > 2+hz*jitter
	}
	for k := 1; k < len(list); k++ {
		ticks, took := list[k].TSval.Sub(list[k-1].TSval), list[k].At.Sub(list[k-1].At).Seconds()
		moved = moved || ticks != 0
		alike = alike && ticks >= 0 && ticks%(1<<cookieBits) == 0
		l.rates = slices.DeleteFunc(l.rates, func(hz float64) bool { return unlike(hz, ticks, took, l.jitter) })
		own = slices.DeleteFunc(own, func(hz float64) bool { return unlike(hz, ticks, took, jitter) })
	}
	if !moved {
		return
	}
	l.flows++
	if alike {
		l.alike++
	}
	if alike && len(list) >= 3 && len(own) == 0 {
		l.kept++
	}
}

// cookies: on every flow the last bits stay, though the clock moves, and no clock of a usual rate does that.
func (l *lowBits) cookies() bool {
	return l.flows >= fewFlows && l.alike == l.flows && len(l.rates) == 0
}

// checkCookies: SYN-ACKs are cookies, by their TSvals or because they are never repeated. That is no fault.
func checkCookies(in *Input) []Finding {
	held, repeated := holds(in)
	if repeated > 0 {
		return nil
	}
	f := Finding{Verdict: SYNCookiesActive, Level: LevelUnknown,
		Summary:  "SYNs are answered by SYN cookie: a flood of others fills the queue, tcp_syncookies=2, or a SYN proxy stands in front; clients connect as ever",
		Disproof: "a SYN-ACK that is repeated when nobody acknowledges it",
		Remedy:   "none needed; if the server does so in ordinary load, raise the listen backlog, net.core.somaxconn and net.ipv4.tcp_max_syn_backlog",
	}
	if l := readLowBits(in); l.cookies() {
		f.Level, f.P = Confirmed, math.Pow(1.0/(1<<cookieBits), float64(l.flows))
		f.Evidence = append(f.Evidence, fmt.Sprintf("the last %d bits of the TSval stay the same in all SYN-ACKs of each of %d flows while the clock moves on: a cookie keeps the client's options there",
			cookieBits, l.flows))
	}
	if held >= 4 {
		f.Level = max(f.Level, Suspected)
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d SYN-ACKs that nobody acknowledged were not repeated: no request was kept", held))
	}
	if f.Level < Suspected {
		return nil
	}
	return []Finding{f}
}

// The times at which the one repeat of a listener that defers is looked for: later than the first repeat of one whose queue is full.
const deferredFrom = 1500 * time.Millisecond

// checkDeferred: a connection that is left silent draws one SYN-ACK more after seconds, and data are acknowledged at once. A full
// accept queue repeats from the first second on, and ignores data too.
func checkDeferred(in *Input) []Finding {
	n, hit := 0, 0
	var at time.Duration
	for _, s := range services(in, plan.KindIdle) {
		n++
		if d, early := firstRepeat(s.a); d >= deferredFrom && !early && s.acked && !s.reset {
			hit++
			at = d
		}
	}
	if hit < 3 || 4*hit < 3*n {
		return nil
	}
	return []Finding{{
		Verdict: DeferAcceptBenign, Level: Confirmed,
		Summary: fmt.Sprintf("%d of %d connections that said nothing drew the SYN-ACK again after %s, and their first data were taken: the listener waits for data (TCP_DEFER_ACCEPT)",
			hit, n, at.Round(100*time.Millisecond)),
		Evidence: []string{
			"a listener that defers drops the bare ACK of a handshake and asks once more when its time is over (net/ipv4/tcp_minisocks.c tcp_check_req, 6.18)",
			"no SYN-ACK came again within the first second, as it does where an accept queue is full",
		},
		Disproof: "data that such a connection does not acknowledge",
		Remedy:   "none needed; a monitor that connects and stays silent should send a request",
	}}
}

// firstRepeat is how long after the first SYN-ACK the next one came that answers no SYN of ours; early: there was one before deferredFrom.
func firstRepeat(a *observe.Attempt) (after time.Duration, early bool) {
	first := firstSYNACK(a)
	for k := range a.Answers {
		ans := &a.Answers[k]
		if ans.Kind != observe.SYNACK || ans == first || ans.At.Sub(lastSYN(a)) < repeatAfter {
			continue
		}
		d := ans.At.Sub(first.At)
		if d < deferredFrom {
			return d, true
		}
		if after == 0 {
			after = d
		}
	}
	return after, false
}
