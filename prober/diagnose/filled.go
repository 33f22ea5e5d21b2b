package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// filled is what connections of ours say of the accept queue whose last places they may have taken: a listener that is full drops the third segment of
// a handshake, and all data behind it, and goes on repeating its SYN-ACK (net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock, sk_acceptq_is_full,
// 2.6.32 … 6.18), while connections that have a place acknowledge data though nobody accepts them. A filter that counts SYNs lets pass what follows
// a SYN that it let pass.
type filled struct {
	// live acknowledged data; ignored did not, and their SYN-ACK came again though it had been acknowledged. lost are the segments that
	// these drew no answer to.
	live, ignored, lost int
	// other did neither: a reset, or silence.
	other int
	// p is the chance that a path which loses packets whatever they are lost just these.
	p float64
}

// readFilled looks at the connections of the round that were completed and sent data, until SYNs began to go unanswered.
func readFilled(in *Input) filled {
	var f filled
	var passed silences
	for _, k := range []plan.Kind{plan.KindServed, plan.KindSizes} {
		for _, s := range services(in, k) {
			f.add(&s)
		}
	}
	passed.n = f.live
	for i := range in.Observations {
		if o := &in.Observations[i]; trusted(o) && (o.Kind == plan.KindStray || o.Kind == plan.KindOther) {
			for j := range o.Attempts {
				passed.add(len(o.Attempts[j].Answers) == 0)
			}
		}
	}
	f.p = fisher(silences{f.lost, f.lost}, passed)
	return f
}

func (f *filled) add(s *service) {
	switch {
	case s.acked:
		f.live++
	case s.repeats > 0 && !s.reset:
		f.ignored++
		f.lost += len(s.a.Sent)
	default:
		f.other++
	}
}

// level is how firmly these connections say that the queue is full. One that has a place is wanted beside those that have none: it acknowledged data
// of the same moment, so that the way was open.
func (f *filled) level() Level {
	switch {
	case f.live == 0 || f.ignored == 0 || f.other > f.ignored+f.live:
		return Inconclusive
	case f.p < 1e-4 && f.ignored > 1:
		return Confirmed
	case f.p < 1e-2:
		return Suspected
	}
	return Inconclusive
}

func (f *filled) String() string {
	return fmt.Sprintf("%d connections that had been begun before acknowledged data, and of %d the SYN-ACK came again though it had been acknowledged, and data was not: %d segments without effect; "+
		"a path that loses packets whatever they are does that with p = %.2g (Fisher, one-sided)", f.live, f.ignored, f.lost, f.p)
}

// fullListener names the queue on what its connections say.
func (f *filled) fullListener(g Finding, in *Input, accepted int) Finding {
	g.Level, g.P = f.level(), f.p
	g = tellFull(g, in, accepted)
	g.Evidence = append(g.Evidence, f.String())
	g.Disproof = "data acknowledged on one of the connections whose SYN-ACK was repeated; a SYN answered while nothing was accepted"
	return g
}
