package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// listenerRTO is when a listener repeats a SYN-ACK at the soonest (TCP_TIMEOUT_INIT, include/net/tcp.h, Linux ≥ 3.1; 3 s before), less the
// coarseness of its timers.
const listenerRTO = time.Second - 10*time.Millisecond

// checkRemoteQueue: every SYN left, the peer (or the router before it) asked who we are, and of its SYN-ACKs only those to the last
// SYNs came; the others had to wait for a repeat.
func checkRemoteQueue(in *Input) []Finding {
	var best []Finding
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		for _, p := range theirs(o) {
			if f, ok := remoteQueue(in, i, p); ok && (best == nil || f.Level > best[0].Level) {
				best = []Finding{f}
			}
		}
	}
	return best
}

func remoteQueue(in *Input, i int, p pending) (Finding, bool) {
	o := &in.Observations[i]
	ctl, slowest := remoteControl(in, i)
	w, ok := answeredLate(o, p, slowest)
	pat := w.pattern()
	if !ok || pat.run == 0 || pat.survivors == 0 {
		return Finding{}, false
	}
	back, forward := told(w.order[:pat.run])
	// An echo of a repeat says that the first SYN never arrived: then no SYN-ACK to it was lost. A few may be so on a lossy path.
	if forward > back && forward > 1 {
		return Finding{}, false
	}
	// What is lost behind the first survivor must be what the path loses anyhow.
	tail := stats.Arm{Hits: pat.after, N: pat.after + pat.survivors}
	if stats.FisherGreater(tail, stats.Arm{Hits: ctl.lost, N: ctl.n}) < 1e-2 {
		return Finding{}, false
	}
	e := remoteEvidence{pattern: pat, ctl: ctl, chance: pat.chance(ctl), back: back, healed: warmRepeat(in, i, pat.n, repeated)}
	return remoteOverflow(in, i, p, &w, e), true
}

func repeated(a *observe.Attempt) bool { return !a.Prompt() }

// remoteControl counts the first SYNs of the round that were sent while nobody asked for us, those that had no answer in time, and
// the slowest round trip of the others.
func remoteControl(in *Input, not int) (c control, slowest time.Duration) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if i == not || aside(o.Kind) || !warm(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			f, ok := readFate(a)
			if !ok {
				continue
			}
			c.n++
			if f.lost() > 0 || !f.answered {
				c.lost++
			}
			if a.RTT < listenerRTO {
				slowest = max(slowest, a.RTT)
			}
		}
	}
	return c, slowest
}

// answeredLate takes the attempts whose SYN left before the far side's question was answered, in SYN order: those whose answer came as soon
// as the question was answered, and those that had to wait for a repeat. False: too many fit neither, or the two cannot be told apart.
func answeredLate(o *observe.Observation, p pending, slowest time.Duration) (w waiting, ok bool) {
	if p.to.IsZero() {
		return w, false
	}
	var odd int
	for _, a := range firstSYNOrder(o) {
		left := a.SYNs[0].At
		if a.Flow.Src.Addr().WithZone("") != p.addr || left.After(p.to) || a.Outcome == observe.NotSent {
			continue
		}
		prompt := p.to.Add(10*time.Millisecond + 3*slowest)
		repeat := left.Add(listenerRTO)
		if len(a.SYNs) > 1 && !a.SYNs[1].At.IsZero() && a.SYNs[1].At.Before(repeat) {
			repeat = a.SYNs[1].At
		}
		ans := settled(a)
		switch {
		case ans != nil && ans.At.Before(p.from):
			continue // it was sent before the question: whoever asked knew us then
		case ans != nil && ans.At.Before(prompt) && ans.At.Before(repeat):
			w.lost = append(w.lost, false)
		case ans == nil || !ans.At.Before(repeat):
			w.lost = append(w.lost, true)
		default:
			odd++
			continue
		}
		w.order = append(w.order, a)
	}
	return w, odd*10 <= len(w.order)
}

// settled is the SYN-ACK, or the RST that refuses, of an attempt; nil: none came.
func settled(a *observe.Attempt) *observe.Answer {
	for k := range a.Answers {
		if a.Answers[k].Kind == observe.SYNACK || a.Answers[k].Kind == observe.RST {
			return &a.Answers[k]
		}
	}
	return nil
}

// told counts the attempts whose echo says that the first SYN had arrived, and those whose echo says that it had not.
func told(list []*observe.Attempt) (back, forward int) {
	for _, a := range list {
		switch {
		case a.Answered == 0:
			back++
		case a.Answered > 0:
			forward++
		}
	}
	return back, forward
}

// remoteEvidence is what speaks for a queue on the far side.
type remoteEvidence struct {
	pattern
	ctl    control
	chance float64
	back   int  // of the run: SYNs that are known to have arrived
	healed bool // a warm burst as large lost nothing
}

// level: one lost answer is a suspicion at most, and none at all where nothing says that its SYN had arrived. Where the path loses
// something anyhow, order is evidence and no proof.
func (e *remoteEvidence) level() Level {
	clean := e.after == 0 && e.ctl.lost == 0
	switch {
	case e.run == 1 && (e.back == 0 || !clean || e.chance >= 1e-2):
		return Inconclusive
	case e.run == 1:
		return Suspected
	case e.chance < 1e-4 && e.healed && clean:
		return Proven
	case e.chance < 1e-4:
		return Confirmed
	case e.chance < 1e-2:
		return Suspected
	}
	return Inconclusive
}

func remoteOverflow(in *Input, i int, p pending, w *waiting, e remoteEvidence) Finding {
	o := &in.Observations[i]
	took, _ := p.took()
	f := Finding{
		explains: []int{i},
		Verdict:  RemoteARPQueueOverflow, Level: e.level(), P: e.chance,
		Summary: fmt.Sprintf("%d of %d first SYN-ACKs were dropped by the neighbour queue of %s while it asked for %s; the last %d survived",
			e.run, e.n, asker(o, p.by), p.addr, e.survivors),
		Evidence: []string{
			fmt.Sprintf("all %d SYNs left; at %s %s asked for %s, and had our answer %s later", e.n, stamp(o, p.from), asker(o, p.by), p.addr, took.Round(10*time.Microsecond)),
			fmt.Sprintf("then answers came at once to connects %s; connects %s, the first %d, had to wait for a repeat", spell(survivors(w)), spell(w.order[:e.run]), e.run),
			fmt.Sprintf("of %d other SYNs of the round, sent while nobody asked, %d were lost; losses at random begin the burst so with p = %.2g", e.ctl.n, e.ctl.lost, e.chance),
		},
		Disproof: "a SYN-ACK to one of the earlier SYNs before its repeat; a warm repeat of the same burst that loses as many",
		Remedy: fmt.Sprintf("raise net.ipv4.neigh.<dev>.unres_qlen_bytes (net.ipv6 for IPv6) on %s (unres_qlen before 3.3, default 3 packets; 65,536 bytes from 3.3, 212,992 from "+
			"4.14); let new hosts announce themselves (arping -U, arp_notify=1), or keep the entry warm", asker(o, p.by)),
	}
	if e.back > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d of the late answers echo the first SYN, which therefore had arrived: its answer was lost", e.back))
	}
	if e.after > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d of the later ones were lost as well, no more than the path loses anyhow", e.after))
	}
	if e.healed {
		f.Evidence = append(f.Evidence, "the same burst again, with both sides resolved, lost nothing")
	}
	if f.Level < Suspected {
		f.Settle = "a larger burst from an address that the far side does not know yet"
	}
	if f.Level < Confirmed {
		f.Wants = moreControl()
	}
	return f
}

func survivors(w *waiting) []*observe.Attempt {
	var out []*observe.Attempt
	for i, l := range w.lost {
		if !l {
			out = append(out, w.order[i])
		}
	}
	return out
}

// hop says what an address that this host asks for is to a burst: the target itself, or the next hop towards it.
func hop(o *observe.Observation, a netip.Addr) string {
	if isTarget(o, a) {
		return a.String()
	}
	return fmt.Sprintf("the next hop %s", a)
}

// asker says who asked for us: the target, the router that our SYNs go to, or another one that hands us the answers.
func asker(o *observe.Observation, by netip.Addr) string {
	direct := o.NextHop.IsValid() && isTarget(o, o.NextHop.WithZone(""))
	switch {
	case !by.IsValid():
		return "the far side"
	case isTarget(o, by):
		return by.String()
	case direct && by.Is6() && by.IsLinkLocalUnicast():
		return fmt.Sprintf("the target (asking as %s)", by)
	case by == o.NextHop.WithZone(""):
		return fmt.Sprintf("the router %s (its queue, not the target's)", by)
	}
	return fmt.Sprintf("%s (a router of this segment: its queue, not the target's)", by)
}

// isTarget reports whether a burst is aimed at an address.
func isTarget(o *observe.Observation, a netip.Addr) bool {
	return slices.ContainsFunc(o.Attempts, func(t observe.Attempt) bool { return t.Flow.Dst.Addr().WithZone("") == a })
}
