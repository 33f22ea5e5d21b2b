package diagnose

import (
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// lostHere reports whether an attempt's first SYN was lost inside this host.
func lostHere(a *observe.Attempt) bool { return a.Unseen > 0 || a.Outcome == observe.LocalDrop }

// queued takes the kernel attempts that began while p was pending, in the order of connect(2): those whose first SYN was lost inside this
// host, and those whose first SYN left once the answer had come.
func queued(o *observe.Observation, p pending) waiting {
	var w waiting
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if a.Via != plan.Kernel || a.Kernel == nil || len(a.SYNs) > 0 && a.SYNs[0].At.Before(p.from) {
			continue
		}
		if !p.to.IsZero() && a.Kernel.Started.After(p.to) {
			continue
		}
		w.order = append(w.order, a)
	}
	slices.SortStableFunc(w.order, func(a, b *observe.Attempt) int { return a.Kernel.Started.Compare(b.Kernel.Started) })
	for _, a := range w.order {
		w.lost = append(w.lost, a.Unseen > 0 || len(a.SYNs) == 0)
	}
	return w
}

// checkLocalQueue: connects began while the next hop was being resolved; the neighbour queue (net/core/neighbour.c
// __neigh_event_send, 6.18: drops from the head once unres_qlen_bytes is passed) kept only the last ones.
func checkLocalQueue(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		for _, p := range ours(o) {
			if f, ok := localQueue(in, i, p); ok {
				return []Finding{f}
			}
		}
	}
	return nil
}

func localQueue(in *Input, i int, p pending) (Finding, bool) {
	o := &in.Observations[i]
	w := queued(o, p)
	pat := w.pattern()
	if pat.run == 0 || pat.after > 0 || pat.survivors == 0 || p.to.IsZero() || lostElsewhere(o, w.order) {
		return Finding{}, false
	}
	ctl := localControl(in, i)
	if ctl.lost > 0 {
		return Finding{}, false // this host loses SYNs with warm entries as well
	}
	e := localEvidence{
		chance: pat.chance(ctl), healed: warmRepeat(in, i, pat.n, lostHere), expected: in.Queue.fits(pat.survivors),
		counted: o.Counters["arp_cache.unresolved_discards"] >= int64(pat.run),
	}
	return localOverflow(in, i, p, &w, ctl, e), true
}

// localControl counts the SYNs of the round that left, or should have, while this host asked for nobody, and those lost inside it.
func localControl(in *Input, not int) control {
	var c control
	for i := range in.Observations {
		o := &in.Observations[i]
		if i == not || !trusted(o) || len(ours(o)) > 0 {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown {
				continue
			}
			c.n++
			if lostHere(a) {
				c.lost++
			}
		}
	}
	return c
}

// localEvidence is what speaks for the queue beside the order of the losses.
type localEvidence struct {
	chance   float64
	healed   bool // a warm burst as large lost nothing here
	counted  bool // the kernel's own counter
	expected bool // as many survived as the settings of the device say
}

// level: the flip and its healing, or the counter, prove; the order alone convinces only when chance cannot make it.
func (e *localEvidence) level() Level {
	switch {
	case e.chance < 1e-2 && e.counted, e.chance < 1e-4 && e.healed:
		return Proven
	case e.chance < 1e-4, e.chance < 1e-2 && e.healed && e.expected:
		return Confirmed
	case e.chance < 1e-2, e.healed && e.expected:
		return Suspected
	}
	return Inconclusive
}

func localOverflow(in *Input, i int, p pending, w *waiting, ctl control, e localEvidence) Finding {
	o, pat := &in.Observations[i], w.pattern()
	took, _ := p.took()
	f := Finding{
		explains: []int{i},
		Verdict:  LocalARPQueueOverflow, Level: e.level(), P: e.chance,
		Summary: fmt.Sprintf("%d of %d first SYNs were dropped by this host's own neighbour queue while it asked for %s; only the last %d survived",
			pat.run, pat.n, hop(o, p.addr), pat.survivors),
		Evidence: []string{
			fmt.Sprintf("this host asked for %s at %s; the answer took %s", p.addr, stamp(o, p.from), took.Round(10*time.Microsecond)),
			fmt.Sprintf("connects %s never put their first SYN on the wire, though TCP_INFO counts it and its repeat", spell(w.order[:pat.run])),
			fmt.Sprintf("connects %s left right after the answer: exactly the last %d; of %d other SYNs of the round none was lost in this host",
				spell(w.order[pat.run:]), pat.survivors, ctl.n),
		},
		Disproof: "a first SYN of the lost ones on the wire; a warm repeat of the same burst that loses as many",
		Remedy: "raise net.ipv4.neigh.<dev>.unres_qlen_bytes (net.ipv6 for IPv6) on this host (unres_qlen before 3.3, where the default is 3 packets; 65,536 bytes from 3.3, " +
			"212,992 from 4.14); keep the entry warm, or open connections to a new host one at a time",
	}
	if e.healed {
		f.Evidence = append(f.Evidence, "the same burst again, with the entry resolved, lost nothing in this host")
	}
	if e.expected {
		f.Evidence = append(f.Evidence, fmt.Sprintf("the settings of the device keep %s, as many as survived", in.Queue))
	}
	if e.counted {
		f.Evidence = append(f.Evidence, fmt.Sprintf("unresolved_discards rose by %d", o.Counters["arp_cache.unresolved_discards"]))
	}
	if f.Level < Suspected {
		f.Settle = "a larger burst at the next first contact, or --forget-neighbor, which makes one"
	}
	if f.Level < Confirmed {
		f.Wants = moreControl()
	}
	return f
}

// lostElsewhere reports whether a connect outside the pending time also lost its first SYN inside this host: then the queue is not
// the whole explanation.
func lostElsewhere(o *observe.Observation, order []*observe.Attempt) bool {
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if a.Via == plan.Kernel && a.Unseen > 0 && !slices.Contains(order, a) {
			return true
		}
	}
	return false
}
