package diagnose

import (
	"fmt"
	"strings"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// remedyRecycle is what to do about a server that was met directly.
const remedyRecycle = "set net.ipv4.tcp_tw_recycle=0 on the server (it is gone since 4.12). Until then every client behind one address with another clock is refused for up to 60 s " +
	"after the server closes a connection; switching the clients' timestamps off is no remedy on CentOS 7's 3.10. On the server, TcpExt PAWSPassive (3.10: and ListenDrops) grows by one " +
	"for each SYN refused"

// checkFlip: after a prime that the server closed first, silence begins exactly two ticks below the primed TSval.
func checkFlip(in *Input) []Finding {
	if !in.has(plan.KindPrime) {
		return unprimed(in)
	}
	f, ok := readFlip(in.Observations)
	if !ok {
		return []Finding{neverClosed(in)}
	}
	if f.bursts == 0 {
		return nil
	}
	switch f.state() {
	case flipHolds:
		return []Finding{f.proven(in)}
	case flipAnswers:
		return []Finding{f.ruledOut(in)}
	case flipShifted:
		return []Finding{f.shifted()}
	case flipAsking, flipOpen, flipDeaf:
	}
	if f.arms[0].silent == 0 {
		return nil
	}
	return []Finding{{Verdict: TWRecyclePAWSDrop, Level: Inconclusive, P: f.test.P(),
		Summary: fmt.Sprintf("after a prime with TSval %d: %s; not enough to tell a memory of that TSval from loss", f.prime.T0, f.table()),
		Settle:  "more blocks of the four TSvals, on a path that loses less"}}
}

// unprimed says why a prime that was permitted was not made.
func unprimed(in *Input) []Finding {
	if !in.Priming.May || !in.has(plan.KindSticky) {
		return nil
	}
	why := PrimeRisk(in)
	if why == "" || in.Priming.Anyway {
		return nil
	}
	return []Finding{{Verdict: TWRecyclePAWSDrop, Level: Inconclusive,
		Summary: "not primed, since others may share what would be primed: " + why,
		Settle:  "a source address that nobody shares, the real server itself, or --prime-anyway on the word of whoever owns both"}}
}

// neverClosed: nothing was primed.
func neverClosed(in *Input) Finding {
	f := Finding{Verdict: TWRecyclePAWSDrop, Level: Inconclusive, Evidence: tried(primes(in.Observations)),
		Summary: "the server never closed a connection first, so it had nothing to remember: whether it keeps TSvals per host is not known",
		Settle:  "a request after which this service closes the connection itself (--prime-with)"}
	if unstamped(in.Observations) {
		f.Summary = "the connections that were to prime the server came back without our timestamps, so it had nothing to remember: whether it keeps TSvals per host is not testable from here"
		f.Settle = "a way to the server on which nothing takes timestamps away, and net.ipv4.tcp_timestamps=1 on it"
	}
	return f
}

// unstamped reports whether every connection of the primes that was answered lacked our timestamp.
func unstamped(seen []observe.Observation) bool {
	n, bare := 0, 0
	for _, flows := range primes(seen) {
		for i := range flows {
			switch flows[i].end {
			case endUnstamped:
				n, bare = n+1, bare+1
			case endLost, endOpen, endReset, endMoved, endClosed:
				n++
			case endUnknown, endUnsent, endSilent, endRefused:
			}
		}
	}
	return n > 0 && n == bare
}

// table is the arms as a sentence.
func (f *flip) table() string {
	names := [4]string{"T0−2", "T0−1", "T0", "T0+10⁶"}
	var parts []string
	for k, a := range f.arms {
		parts = append(parts, fmt.Sprintf("%s %d of %d silent", names[k], a.silent, a.n))
	}
	return strings.Join(parts, ", ")
}

// ruledOut: T0−2 was answered after a prime.
func (f *flip) ruledOut(in *Input) Finding {
	oldest := f.arms[0]
	out := Finding{Verdict: TWRecyclePAWSDrop, Level: NotApplicable,
		Summary: fmt.Sprintf("per-host PAWS is ruled out here: the server closed a connection with TSval %d first, and still answered %d of %d SYNs two ticks older", f.prime.T0,
			oldest.n-oldest.silent, oldest.n),
		Evidence: []string{f.how(), f.table()}}
	switch {
	case f.cookied(in.Observations):
		out.Level = Inconclusive
		out.Summary = "SYN cookies are in force, and the server does not look at TSvals then: whether it keeps them per host is not testable now"
		out.Evidence = append(out.Evidence, "the TSvals of all SYN-ACKs end in the same six bits, as those of SYN cookies do")
		out.Settle = "the same when the server is not under pressure (net.ipv4.tcp_syncookies=1 and a SYN queue that is not full)"
	case !f.prime.Certain:
		out.Level = Inconclusive
		out.Summary = fmt.Sprintf("two ticks below TSval %d SYNs are answered, but whether the server took notice of that TSval is not certain: our last segments may have been lost", f.prime.T0)
		out.Settle = "a prime on a path that loses less"
	case oldest.silent > 0:
		out.Level = Inconclusive
		out.Summary = fmt.Sprintf("after a prime with TSval %d: %s; one server that remembers it would answer none of the first", f.prime.T0, f.table())
		out.Settle = "each real server by itself, on a path that loses less"
	}
	return out
}

// shifted: the server remembers something newer than the prime.
func (f *flip) shifted() Finding {
	return Finding{Verdict: TWRecyclePAWSDrop, Level: Inconclusive,
		Summary:  fmt.Sprintf("the server remembers a newer TSval from this address than ours: %s after a prime with %d", f.table(), f.prime.T0),
		Evidence: []string{f.how(), "others whose connections the server closes come from the same address, or arrive at it through one"},
		Settle:   "an address that nobody else uses, or the remembered TSval itself"}
}

// how tells how the server was primed.
func (f *flip) how() string {
	s := fmt.Sprintf("primed with TSval %d on a connection that the server closed first (%s): every segment of ours carried it, and we acknowledged the server's FIN", f.prime.T0, f.prime.By)
	if f.prime.Certain {
		return s + ", which the server confirmed by acknowledging ours"
	}
	return s
}

// proven writes the finding of a flip that holds.
func (f *flip) proven(in *Input) Finding {
	rest := f.rest()
	out := Finding{
		Verdict: TWRecyclePAWSDrop, Level: Proven, P: f.test.P(),
		Summary: fmt.Sprintf("the server remembers %d from this address and drops SYNs more than one tick older: %d of %d silent at T0−2, %d of %d from T0−1 on",
			f.prime.T0, f.arms[0].silent, f.arms[0].n, rest.silent, rest.n),
		Evidence: []string{
			f.how(), f.table(),
			fmt.Sprintf("asked in %d blocks of the four in random order: of the blocks with one silence, T0−2 was it in %d of %d; by chance one in four (sequential test, α = %.0e, p = %.2g)",
				f.blocks, f.hits(), f.test.N(), flipAlpha, f.test.P()),
			"no loss or overload turns on one tick",
		},
		Disproof: "an answer at T0−2 within 59 s of the prime; silence at T0−1",
		Remedy:   remedyRecycle,
		explains: append([]int(nil), f.index...),
	}
	s := f.sides(in.Observations)
	out.compared(&s)
	out.Evidence = append(out.Evidence, f.controlStory()...)
	out.Evidence = append(out.Evidence, bareStory(in, f)...)
	out.Evidence = append(out.Evidence, healing(in)...)
	for i := range in.Observations {
		switch in.Observations[i].Kind {
		case plan.KindPrime, plan.KindBare, plan.KindHeal, plan.KindSides:
			out.explains = append(out.explains, i)
		default:
		}
	}
	return out
}

// hits is in how many of the informative blocks T0−2 was the silent one: all of them, since an answered one ends the flip.
func (f *flip) hits() int { return f.test.N() }

// controlStory tells what the same TSvals met from an address that did not prime.
func (f *flip) controlStory() []string {
	c := f.controls()
	old := f.control[0]
	switch {
	case c.n == 0:
		return nil
	case old.n >= flipLeast && old.silent == old.n:
		return []string{fmt.Sprintf("from the control address T0−2 was as silent (%d of %d): the server sees both addresses as one, so a NAT stands between", old.silent, old.n)}
	case old.silent < old.n:
		return []string{fmt.Sprintf("the same TSvals from the control address, which did not prime, in the same blocks: T0−2 %d of %d silent, the others %d of %d: it is this address that the server "+
			"refuses", old.silent, old.n, c.silent-old.silent, c.n-old.n)}
	}
	return []string{fmt.Sprintf("from the control address %d of %d were silent: too many to serve as a control", c.silent, c.n)}
}

// bareStory tells what SYNs without timestamps met beside such at T0: a hint at the version, and never a control.
func bareStory(in *Input, f *flip) []string {
	var bare, with silences
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindBare || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			s := &bare
			if len(a.SYNs) > 0 && a.SYNs[0].HasTS {
				s = &with
			}
			s.count(f.answer(a))
		}
	}
	head := fmt.Sprintf("SYNs without timestamps: %d of %d silent, beside %d of %d at T0", bare.silent, bare.n, with.silent, with.n)
	switch {
	case bare.n < 4 || with.n < 4 || with.silent*2 > with.n:
		return nil
	case bare.silent == bare.n:
		return []string{head + ": as CentOS 7's 3.10.0-1160, and kernels with commit a26552afe894, do; switching the clients' timestamps off would make it worse"}
	case bare.silent*2 < bare.n:
		return []string{head + ": as 2.6.32 and mainline 3.10 do"}
	}
	return []string{head}
}
