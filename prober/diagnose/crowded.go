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

// A packet from a device that has no queue of its own (loopback, veth, tun, and any under RPS) waits in the backlog of a CPU. Where that is longer
// than net.core.netdev_max_backlog it is dropped before any tap sees it, and counted: /proc/net/softnet_stat, second column (net/core/dev.c
// enqueue_to_backlog, 6.18; netif_rx, 2.6.32). The queues are the machine's: who floods them from another network namespace floods them for all. What leaves by a veth
// waits in one as well, behind the tap. So a packet that is missing may have been lost here, whichever way it went.
//
// A device drops too, behind the tap on the way out and before it on the way in, and counts it (devices.go).
//
// One drop is one packet: of what a burst misses, all but as many as this host dropped meanwhile were lost elsewhere, for certain. A burst is set
// aside where it dropped a quarter of that or more, and then no cause whose claim is loss is named but from the other bursts. What tells by contrast
// (the TSval, the size, the second use of a flow, who is asked for an address) is left alone: a backlog knows nothing of these, and its drops fall as
// those of a lossy path do, against which these rules stand anyway.
//
// On a busy host that drops a few of millions all the time, that alone would excuse everything for ever. There the share decides: moments at which
// our SYNs were sent are hit far more often than the worst CPU drops.
const (
	quarter = 4
	// clumped is how many times more of our packets than of all of that CPU's may be dropped: drops come in clumps, and what else a CPU takes may pass
	// other queues (net_rx_action serves the backlog in turn with the devices, 64 packets each).
	clumped = 10
	// excusable is the chance, at any look, to hold this host innocent of losses that it made itself.
	excusable = 1e-4
)

// The names of the counters in observations: what all CPUs dropped, and what that one dropped and took that dropped the largest share.
const (
	softnetDropped        = "softnet.dropped"
	softnetWorstDropped   = "softnet.worst_dropped"
	softnetWorstProcessed = "softnet.worst_processed"
)

// crowding is what this host's own backlog may have done to the round.
type crowding struct {
	// aside are the bursts, by index, whose losses may be this host's own; dropped and missing are theirs.
	aside            map[int]bool
	dropped, missing int
	// backlog and devices are who dropped them.
	backlog int
	devices deviceDrops
	// crowded and quiet count the bursts with drops here and without any, and those of them that miss something.
	crowded, quiet silences
	squeezed       int64
	// same are the numbers of missing packets, each different, that a device counted as dropped to the very packet; short: in a burst more were missing than this host
	// dropped.
	same  map[int]bool
	short bool
}

func readCrowding(in *Input) crowding {
	c := crowding{aside: map[int]bool{}, devices: deviceDrops{}, same: map[int]bool{}}
	if !slices.ContainsFunc(in.Observations, func(o observe.Observation) bool { return droppedHere(&o) > 0 }) {
		return c
	}
	odds := map[int]wager{}
	total := wager{}
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Counters == nil || len(o.Attempts)+len(o.Transfers)+len(o.Pings) == 0 {
			continue
		}
		drops, lost := droppedHere(o), missing(o)
		if drops <= 0 {
			c.quiet.add(lost > 0)
			continue
		}
		c.crowded.add(lost > 0)
		if c.short = c.short || int64(lost) > drops; lost > 0 && int64(lost) == droppedOut(o) {
			c.same[lost] = true
		}
		odds[i] = bet(o)
		total.add(odds[i])
		if quarter*drops >= int64(lost) && lost > 0 {
			c.aside[i] = true
		}
	}
	innocent := total.worth() >= 1/excusable
	for i := range in.Observations {
		if w := odds[i]; c.aside[i] && innocent && w.worth() > 1 {
			delete(c.aside, i)
		}
		if c.aside[i] {
			o := &in.Observations[i]
			c.dropped += int(droppedHere(o))
			c.backlog += int(o.Counters[softnetDropped])
			c.devices.add(o)
			c.missing += missing(o)
			c.squeezed += o.Counters["softnet.time_squeeze"]
		}
	}
	return c
}

// missing counts the packets of a burst that had no effect, at the least: SYNs, ACKs that were not heard or data not acknowledged, echo requests,
// questions for an address, and moments of loss in a transfer, where what is dropped at once may be many segments in one.
func missing(o *observe.Observation) int {
	n := 0
	for i := range o.Attempts {
		n += missingSYNs(&o.Attempts[i]) + unheard(&o.Attempts[i])
	}
	for i := range o.Pings {
		if p := &o.Pings[i]; p.Sent() && p.Answer() == nil {
			n++
		}
	}
	for i := range o.Transfers {
		for _, h := range []Heading{Towards, Back} {
			c := carried(o, &o.Transfers[i], h)
			n += c.Moments
		}
	}
	for _, p := range ours(o) {
		if p.to.IsZero() {
			n += p.requests
		}
	}
	return n
}

// missingSYNs counts the SYNs of an attempt that had no effect in time, those apart that never reached the tap.
func missingSYNs(a *observe.Attempt) int {
	if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown || a.Outcome == observe.LocalDrop {
		return 0
	}
	f, _ := readFate(a)
	return max(f.lost(), a.Lost-a.Unseen, 0)
}

// unheard counts the segments behind a raw handshake that seem not to have arrived: a SYN-ACK is repeated after our ACK, data is never acknowledged.
func unheard(a *observe.Attempt) int {
	if len(a.Sent) == 0 || a.Sent[0].Flags&wire.RST != 0 {
		return 0
	}
	n := 0
	acked := false
	for i := range a.Answers {
		ans := &a.Answers[i]
		if ans.Kind == observe.SYNACK && ans.At.After(a.Sent[0].At) {
			n++
		}
		acked = acked || ans.Kind != observe.SYNACK && ans.Flags&wire.ACK != 0 && a.ISS.Add(1).Before(ans.Ack)
	}
	if !acked && slices.ContainsFunc(a.Sent, func(s observe.Sent) bool { return s.Length > 0 }) {
		n++
	}
	return n
}

// A wager is staked on the hypothesis that this host's own drops make the losses. At each moment that SYNs left, the share s of them that had no effect is
// held against the most that the backlog can be expected to take, q: by Markov's inequality a stake of the part l of what is there is worth
// 1−l+l·s/q of it then, and no more than itself on average, however the SYNs of one moment hang together. So it ever grows to 1/α with a chance
// of α at most, at any look (J. Ville, Étude critique de la notion de collectif, 1939). Three stakes are laid, for rare losses and for common ones.
type wager [3]float64 // logarithms

func stakes() [3]float64 { return [3]float64{0.5, 0.1, 0.02} }

func (w *wager) add(o wager) {
	for k := range w {
		w[k] += o[k]
	}
}

// worth is what the stakes came to on average.
func (w *wager) worth() float64 {
	sum := 0.0
	for _, l := range w {
		sum += math.Exp(l) / float64(len(w))
	}
	return sum
}

// bet lays the stakes on one burst. Where the share of the worst CPU is not known nothing is won.
func bet(o *observe.Observation) wager {
	var w wager
	worst := worstHere(o)
	if worst <= 0 {
		return w
	}
	most := min(1, clumped*worst)
	for _, v := range volleys(o) {
		for k, l := range stakes() {
			w[k] += math.Log1p(l * (share(v)/most - 1))
		}
	}
	return w
}

// volley is how far apart SYNs leave that share one moment of the backlog.
const volley = 50 * time.Millisecond

// volleys sorts the SYNs of a burst by the moments at which they left.
func volleys(o *observe.Observation) []silences {
	type sent struct {
		at   time.Time
		lost bool
	}
	var all []sent
	for i := range o.Attempts {
		a := &o.Attempts[i]
		n := missingSYNs(a)
		for k := range a.SYNs {
			if at := a.SYNs[k].At; !at.IsZero() {
				all = append(all, sent{at, k < n})
			}
		}
	}
	slices.SortFunc(all, func(a, b sent) int { return a.at.Compare(b.at) })
	var out []silences
	var first time.Time
	for _, s := range all {
		if first.IsZero() || s.at.Sub(first) > volley {
			out, first = append(out, silences{}), s.at
		}
		out[len(out)-1].add(s.lost)
	}
	return out
}

// claimsLoss reports whether what a verdict claims is that packets were lost, at random, by flow, by number or all of them: as a backlog loses them too
// (by flow where RPS chooses the CPU by the flow's hash, net/core/dev.c get_rps_cpu).
func (v Verdict) claimsLoss() bool {
	return slices.Contains([]Verdict{SYNStallUnclassified, ForwardSYNLoss, SYNACKLoss, PathLoss, ECMPPathLoss, BlackholeBackend, SYNRateLimited, SNATPortRace, SNATPortExhaustion,
		ConntrackTableFull, SYNQueueFullDrop, AcceptQueueOverflow, ACLDrop, ReversePathFilter, LocalARPUnresolved, RemoteARPUnresolved}, v)
}

// excused holds what a rule found against this host's own drops: a cause that claims loss, and is not proven, stands as the bursts make it that were not set aside,
// or is left open.
func (in *Input) excused(check func(*Input) []Finding, found []Finding) []Finding {
	touched := func(f Finding) bool { return f.Level >= Suspected && f.Level < Proven && f.Verdict.claimsLoss() }
	if len(in.crowding.aside) == 0 || !slices.ContainsFunc(found, touched) {
		return found
	}
	clean := check(in.uncrowded())
	for i := range found {
		f := &found[i]
		if !touched(*f) {
			continue
		}
		if k := slices.IndexFunc(clean, func(g Finding) bool { return g.Verdict == f.Verdict && g.Level >= Suspected }); k >= 0 {
			*f = clean[k]
			f.Evidence = append(f.Evidence, fmt.Sprintf("%d bursts are left out of this, in which this host itself dropped about as many packets as they miss", len(in.crowding.aside)))
			continue
		}
		f.Level = Inconclusive
		f.Settle = "bursts during which this host drops nothing: " + in.crowding.String()
		f.explains = nil
	}
	return found
}

// uncrowded is the round without the bursts that are set aside, whose places stay.
func (in *Input) uncrowded() *Input {
	out := *in
	out.Observations = slices.Clone(in.Observations)
	for i := range in.crowding.aside {
		o := &in.Observations[i]
		out.Observations[i] = observe.Observation{Label: o.Label, Started: o.Started, Finished: o.Finished, NextHop: o.NextHop}
	}
	out.crowding, out.read = crowding{}, &readOnce{}
	return &out
}

func (c *crowding) String() string {
	return fmt.Sprintf("%s dropped %s packets while %s of ours went missing", c.who("its"), number(c.dropped), number(c.missing))
}

// checkCrowded: this host's own backlog, or a device of it, dropped about as many packets as a burst misses, or more. It is named where nothing is missing but then.
func checkCrowded(in *Input) []Finding {
	c := &in.crowding
	if len(c.aside) == 0 {
		return nil
	}
	f := Finding{
		Verdict: ProberLocalDrop, Level: Inconclusive, P: fisher(c.crowded, c.quiet),
		Summary: fmt.Sprintf("%s dropped %s packets during %d bursts that miss %s: these may be lost here, and not on the way", c.who("this host's"), number(c.dropped), len(c.aside),
			number(c.missing)),
		Evidence: []string{
			fmt.Sprintf("of %d bursts with such drops %d miss something, of %d without %d", c.crowded.n, c.crowded.silent, c.quiet.n, c.quiet.silent),
		},
		Disproof: c.disproof(),
		Remedy:   c.remedy(),
		Settle:   "the same bursts while this host drops nothing, or from another vantage",
		Wants:    []Want{{Kind: plan.KindConnect, Why: "is anything missing while this host drops nothing?", Most: 4}},
	}
	f.Evidence = append(c.sources(), f.Evidence...)
	if c.squeezed > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("time_squeeze: %s times a CPU left packets waiting, its turn over", number(int(c.squeezed))))
	}
	exact := c.coincidence()
	if c.quiet.silent > 0 || min(f.P, exact) >= 1e-2 {
		return []Finding{f}
	}
	f.Level, f.Settle, f.Wants = Suspected, "", nil
	if f.P < 1e-2 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("that only bursts with drops here miss anything happens by chance with p = %.2g (Fisher, one-sided)", f.P))
	}
	if exact < 1e-2 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d different numbers of missing packets are what a device counted in that burst, to the packet: by chance with p ≤ %.2g", len(c.same), exact))
	}
	f.P = min(f.P, exact)
	for i := range in.Observations {
		if c.aside[i] {
			f.explains = append(f.explains, i)
		}
	}
	return []Finding{f}
}

// readCrowded is about the round so far, a burst without counters apart.
func readCrowded(in *Input) answer {
	if !slices.ContainsFunc(in.Observations, func(o observe.Observation) bool { return o.Counters != nil }) {
		return unknown
	}
	c := readCrowding(in)
	return answerOf(len(c.aside) > 0)
}
