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

// pending is a time during which an address was being asked for and had not answered.
type pending struct {
	addr     netip.Addr
	from, to time.Time // to is zero when no answer came
	requests int
}

// ours lists the addresses that this host asked for during the burst.
func ours(o *observe.Observation) []pending {
	return resolutions(o, true)
}

func resolutions(o *observe.Observation, outgoing bool) []pending {
	var all []pending
	for i := range o.Neighbor {
		e := &o.Neighbor[i]
		switch {
		case e.Kind == observe.NeighborRequest && e.Outgoing == outgoing && e.Target != e.Sender:
			k := slices.IndexFunc(all, func(p pending) bool { return p.addr == e.Target && p.to.IsZero() })
			if k < 0 {
				all = append(all, pending{addr: e.Target, from: e.At, requests: 1})
				continue
			}
			all[k].requests++
		case e.Kind == observe.NeighborReply && e.Outgoing != outgoing:
			for k := range all {
				if all[k].addr == e.Sender && all[k].to.IsZero() {
					all[k].to = e.At
				}
			}
		}
	}
	return all
}

// queued splits the kernel attempts that began while p was pending, in the order of connect(2), into those whose first SYN was
// lost inside this host and those whose first SYN left once the answer had come.
func queued(o *observe.Observation, p pending) (order []*observe.Attempt, lost []bool) {
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if a.Via != plan.Kernel || a.Kernel == nil || len(a.SYNs) > 0 && a.SYNs[0].At.Before(p.from) {
			continue
		}
		if !p.to.IsZero() && a.Kernel.Started.After(p.to) {
			continue
		}
		order = append(order, a)
	}
	slices.SortStableFunc(order, func(a, b *observe.Attempt) int { return a.Kernel.Started.Compare(b.Kernel.Started) })
	for _, a := range order {
		lost = append(lost, a.Unseen > 0 || len(a.SYNs) == 0)
	}
	return order, lost
}

// tail reports whether the survivors are exactly the last ones, and how many there are.
func tail(lost []bool) (survivors int, contiguous bool) {
	for _, l := range lost {
		if !l {
			survivors++
		}
	}
	for i, l := range lost {
		if l != (i < len(lost)-survivors) {
			return survivors, false
		}
	}
	return survivors, true
}

// checkLocalUnresolved: this host asked for the next hop and nothing answered; the SYNs never left.
func checkLocalUnresolved(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		for _, p := range ours(o) {
			order, lost := queued(o, p)
			if !p.to.IsZero() || len(order) == 0 || p.requests < 2 || slices.Contains(lost, false) || anyAccepted(order) {
				continue
			}
			return []Finding{{
				Verdict: LocalARPUnresolved, Level: Proven,
				Summary: fmt.Sprintf("nobody answers for %s: %d requests left, no reply came, and no SYN of %d connects left this host",
					p.addr, p.requests, len(order)),
				Evidence: []string{
					fmt.Sprintf("first request at %s, %d in all, no answer until the burst ended", stamp(o, p.from), p.requests),
					fmt.Sprintf("%d connects counted their SYNs in TCP_INFO; the tap saw none", len(order)),
				},
				Disproof: fmt.Sprintf("a reply from %s, or a SYN of these connects on the wire", p.addr),
				Remedy:   "bring the address up on its segment, or correct the route or netmask that makes this host ask for it here",
			}}
		}
	}
	return nil
}

func anyAccepted(list []*observe.Attempt) bool {
	return slices.ContainsFunc(list, func(a *observe.Attempt) bool { return a.Outcome == observe.Accepted })
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
	order, lost := queued(o, p)
	survivors, contiguous := tail(lost)
	drops := len(lost) - survivors
	if drops == 0 || survivors == 0 || p.to.IsZero() || !contiguous || lostElsewhere(o, order) {
		return Finding{}, false
	}
	chance := stats.ContiguousTail(len(lost), survivors)
	healed := warmRepeat(in, i, len(order))
	counted := o.Counters["arp_cache.unresolved_discards"] >= int64(drops)
	f := Finding{
		explains: []int{i},
		Verdict:  LocalARPQueueOverflow, Level: queueLevel(chance, healed, counted), P: chance,
		Summary: fmt.Sprintf("%d of %d first SYNs were dropped by this host's own neighbour queue while it asked for %s; only the last %d survived",
			drops, len(order), p.addr, survivors),
		Evidence: []string{
			fmt.Sprintf("this host asked for %s at %s; the answer took %s", p.addr, stamp(o, p.from), p.to.Sub(p.from).Round(10*time.Microsecond)),
			fmt.Sprintf("connects %s never put their first SYN on the wire, though TCP_INFO counts it and its repeat", spell(order[:drops])),
			fmt.Sprintf("connects %s left right after the answer: exactly the last %d, which random loss does once in %.0f",
				spell(order[drops:]), survivors, 1/chance),
		},
		Disproof: "a first SYN of the lost ones on the wire; a warm repeat of the same burst that loses as many",
		Remedy: "raise net.ipv4.neigh.<dev>.unres_qlen_bytes on this host (unres_qlen before 3.3, where the default is 3 packets; 65,536 bytes from 3.3, " +
			"212,992 from 4.14); keep the entry warm, or open connections to a new host one at a time",
	}
	if healed {
		f.Evidence = append(f.Evidence, "the same burst again, with the entry resolved, lost nothing")
	}
	if counted {
		f.Evidence = append(f.Evidence, fmt.Sprintf("unresolved_discards rose by %d", o.Counters["arp_cache.unresolved_discards"]))
	}
	return f, true
}

// queueLevel: the flip and its healing, or the counter, prove; the tail alone convinces only when chance cannot make it.
func queueLevel(chance float64, healed, counted bool) Level {
	switch {
	case healed && (counted || chance < 1e-2), counted && chance < 1e-2:
		return Proven
	case chance < 1e-4:
		return Confirmed
	case healed || chance < 1e-2:
		return Suspected
	}
	return Inconclusive
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

// warmRepeat reports whether another burst of the round, at least as large and with nobody being asked for, lost nothing.
func warmRepeat(in *Input, not, size int) bool {
	for i := range in.Observations {
		o := &in.Observations[i]
		if i == not || !trusted(o) || len(o.Attempts) < size || len(ours(o)) > 0 || len(resolutions(o, false)) > 0 {
			continue
		}
		clean := true
		for j := range o.Attempts {
			a := &o.Attempts[j]
			clean = clean && a.Outcome == observe.Accepted && a.Retransmissions == 0
		}
		if clean {
			return true
		}
	}
	return false
}

// checkRemoteQueue: every SYN left, the peer (or the router before it) asked who we are, and of its SYN-ACKs only those to the last
// SYNs came; the others had to wait for a repeat.
func checkRemoteQueue(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		for _, p := range resolutions(o, false) {
			if f, ok := remoteQueue(in, i, p); ok {
				return []Finding{f}
			}
		}
	}
	return nil
}

func remoteQueue(in *Input, i int, p pending) (Finding, bool) {
	o := &in.Observations[i]
	order, lost := answeredLate(o, p)
	survivors, contiguous := tail(lost)
	drops := len(lost) - survivors
	if drops == 0 || survivors == 0 || !contiguous || len(ours(o)) > 0 {
		return Finding{}, false
	}
	chance := stats.ContiguousTail(len(lost), survivors)
	healed := warmRepeat(in, i, len(order))
	return Finding{
		explains: []int{i},
		Verdict:  RemoteARPQueueOverflow, Level: queueLevel(chance, healed, false), P: chance,
		Summary: fmt.Sprintf("%d of %d first SYN-ACKs were dropped by the neighbour queue of the host (or router) that asked for %s; the last %d survived",
			drops, len(order), p.addr, survivors),
		Evidence: []string{
			fmt.Sprintf("all %d SYNs left; at %s the far side asked for %s", len(order), stamp(o, p.from), p.addr),
			fmt.Sprintf("SYN-ACKs came at once for connects %s only: exactly the last %d, which random loss does once in %.0f",
				spell(order[drops:]), survivors, 1/chance),
			fmt.Sprintf("connects %s were answered after a repeat", spell(order[:drops])),
		},
		Disproof: "a SYN-ACK to one of the earlier SYNs before its repeat; a warm repeat of the same burst that loses as many",
		Remedy: "raise net.ipv4.neigh.<dev>.unres_qlen_bytes on the far host (unres_qlen before 3.3, default 3 packets); let new hosts announce " +
			"themselves, or keep the entry warm",
	}, true
}

// answeredLate lists the attempts whose SYN left before the far side's question was answered, in SYN order, and which of them had
// no answer to that first SYN.
func answeredLate(o *observe.Observation, p pending) (order []*observe.Attempt, late []bool) {
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() || a.Flow.Src.Addr() != p.addr {
			continue
		}
		if a.Unseen > 0 || (!p.to.IsZero() && a.SYNs[0].At.After(p.to)) {
			continue
		}
		order = append(order, a)
	}
	slices.SortStableFunc(order, func(a, b *observe.Attempt) int { return a.SYNs[0].At.Compare(b.SYNs[0].At) })
	for _, a := range order {
		late = append(late, a.Outcome != observe.Accepted || a.Retransmissions > 0)
	}
	return order, late
}

// stamp is a time within a burst, from its start.
func stamp(o *observe.Observation, t time.Time) string {
	return "+" + t.Sub(o.Started).Round(10*time.Microsecond).String()
}

// spell lists attempts by index, runs shortened: "0–6, 9".
func spell(list []*observe.Attempt) string {
	var idx []int
	for _, a := range list {
		idx = append(idx, a.Index)
	}
	slices.Sort(idx)
	s := ""
	for i := 0; i < len(idx); {
		j := i
		for j+1 < len(idx) && idx[j+1] == idx[j]+1 {
			j++
		}
		if s != "" {
			s += ", "
		}
		s += fmt.Sprint(idx[i])
		if j > i {
			s += fmt.Sprintf("–%d", idx[j])
		}
		i = j + 1
	}
	return s
}
