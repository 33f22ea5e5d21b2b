package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// uses is what flows asked three times showed.
type uses struct {
	flows    int
	answered [3]int // by the first, second and third SYN
	// alive are flows that the far side still had at the second use, which was answered with the first one's sequence number: our RST was lost. They
	// count among flows only where all second uses were answered.
	alive       int
	fresh       int // flows beside the second use
	freshServed int
	// lostElsewhere counts the SYNs lost in all other bursts.
	lostElsewhere int
	bursts        []int
}

// lostBeside counts the SYNs without an answer that were no second use, of how many.
func (u *uses) lostBeside() (lost, of int) {
	return u.flows - u.answered[2] + u.fresh - u.freshServed, u.flows + u.fresh
}

// lost counts all SYNs of flows that had been answered before.
func (u *uses) lost() int { return 2*u.flows - u.answered[1] - u.answered[2] }

func readUses(in *Input) uses {
	var u uses
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || aside(o.Kind) || in.explained[i] {
			continue
		}
		if o.Kind == plan.KindReuse && len(o.Arms) == 2 {
			u.bursts = append(u.bursts, i)
			u.add(o)
			continue
		}
		for j := range o.Attempts {
			if f, ok := readFate(&o.Attempts[j]); ok {
				u.lostElsewhere += f.lost()
			}
		}
	}
	return u
}

func (u *uses) add(o *observe.Observation) {
	for j := range o.Attempts {
		a := &o.Attempts[j]
		switch {
		case a.Arm == o.Arms[1].Name:
			u.fresh++
			if a.Outcome == observe.Accepted {
				u.freshServed++
			}
		case len(a.SYNs) >= 3:
			u.use(a)
		}
	}
}

// use counts a flow, where its first use began at all. An answer is told by the TSval that it echoes, since it may come after the next SYN has left.
func (u *uses) use(a *observe.Attempt) {
	first := echo(a, 0)
	if first == nil {
		return
	}
	if slices.ContainsFunc(a.Answers, func(x observe.Answer) bool {
		return x.Kind == observe.SYNACK && x.Seq == first.Seq && !x.At.Before(a.SYNs[1].At)
	}) {
		u.alive++
		return
	}
	u.flows++
	for k := range u.answered {
		if echoed(a, k) {
			u.answered[k]++
		}
	}
}

// reuseOdd: of so many other SYNs at the same moments one may be lost.
const reuseOdd = 5

// checkReuse: of the SYNs of one flow asked three times, exactly the second was lost, on every flow: a balancer took it for a ghost of the
// connection that had ended before, dropped it and its own state, and let the next pass (IPVS before 5.9: net/netfilter/ipvs/ip_vs_core.c
// is_new_conn_expected, conn_reuse_mode=1).
func checkReuse(in *Input) []Finding {
	u := readUses(in)
	n, second, third, fresh, freshServed := u.flows, u.answered[1], u.answered[2], u.fresh, u.freshServed
	lost, beside := u.lostBeside()
	if n < 4 || second > 0 || fresh < n || lost*reuseOdd > beside {
		return nil
	}
	// If the second SYNs were lost by chance, at the rate at which all others of the round were lost at the very most:
	lost += u.lostElsewhere + 1
	rate := float64(lost) / float64(lost+2*n)
	f := Finding{
		Verdict: IPVSPortReuseDrop, Level: Confirmed, P: math.Pow(rate, float64(n)), explains: u.bursts,
		Summary: fmt.Sprintf("a flow that was used before loses exactly its first SYN: %d of %d; the one before it and the repeat were answered", n-second, n),
		Evidence: []string{
			fmt.Sprintf("first use: %d of %d answered; same ports again: %d of %d; once more: %d of %d", u.answered[0], n, second, n, third, n),
			fmt.Sprintf("fresh ports at the same moments: %d of %d answered", freshServed, fresh),
			"so it is not the moment: the balancer drops the SYN of a port it still holds, whatever its TSval",
		},
		Disproof: "the same loss on source ports that were never used; a second use that is answered",
		Remedy: "IPVS before Linux 5.9: upgrade, or set net.ipv4.vs.conn_reuse_mode=0 (not with real servers that leave) or net.ipv4.vs.conntrack=0; otherwise let clients " +
			"use more source ports",
	}
	if f.P > 1e-4 || in.bursts(plan.KindReuse) < 2 {
		f.Level = Inconclusive
		f.Wants = []Want{{Kind: plan.KindReuse, Why: "the same at other intervals", Most: 2}}
	}
	return []Finding{f}
}

// answeredSYN reports whether a SYN-ACK came between the k-th SYN of an attempt and the next.
func answeredSYN(a *observe.Attempt, k int) bool {
	for x := range a.Answers {
		ans := &a.Answers[x]
		if ans.Kind == observe.SYNACK && !ans.At.Before(a.SYNs[k].At) && (k+1 >= len(a.SYNs) || ans.At.Before(a.SYNs[k+1].At)) {
			return true
		}
	}
	return false
}

// checkLocalDrop: SYNs that this host's own TCP counts never reached its wire, and no neighbour was being asked for: a packet filter or a queue of
// the prober's own machine drops them.
func checkLocalDrop(in *Input) []Finding {
	hit, n := 0, 0
	var explains []int
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || in.explained[i] || len(o.Neighbor) > 0 {
			continue
		}
		found := false
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Via != plan.Kernel || a.Kernel == nil || !a.Kernel.HasInfo {
				continue
			}
			n++
			if a.Unseen > 0 || a.Outcome == observe.LocalDrop {
				hit++
				found = true
			}
		}
		if found {
			explains = append(explains, i)
		}
	}
	if hit < 2 {
		return nil
	}
	level, wants := Confirmed, []Want(nil)
	if len(explains) < 2 || hit < 3 {
		level, wants = Inconclusive, []Want{{Kind: plan.KindConnect, Why: "does this host lose SYNs again?", Most: 4}}
	}
	return []Finding{{
		Wants:   wants,
		Verdict: ProberLocalDrop, Level: level, explains: explains,
		Summary:  fmt.Sprintf("SYNs of %d of %d connects were lost inside this host: its TCP counts them, its wire never saw them", hit, n),
		Evidence: []string{"TCP_INFO counts more SYNs than the tap saw leave; no neighbour was being asked for, so no ARP queue holds them"},
		Disproof: "the missing SYNs on another tap of this host's device",
		Remedy:   "look at this host: nftables/iptables OUTPUT and POSTROUTING, the qdisc of the device (tc -s qdisc), a full conntrack table; the network is innocent of these",
	}}
}
