package diagnose

import (
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// denial is what becomes of a SYN that is over a limit: nothing is heard of it (nft drop), an RST refuses it (nft reject with tcp reset, net/ipv4/netfilter/
// nf_reject_ipv4.c nf_send_reset, 6.18), or an ICMP error does (reject with icmpx). Linux sends no more than one such error a second to a peer, six at once
// (net.ipv4.icmp_ratelimit, net/ipv4/icmp.c icmpv4_xrlim_allow, 6.18), so that with ICMP most are silent.
type denial uint8

const (
	swallowed denial = iota
	byReset
	byICMP
)

// refusing are the denials with a word.
func refusing() []denial { return []denial{byReset, byICMP} }

// word is what a limit does with a SYN, told of several.
func (d denial) word() string {
	switch d {
	case byReset:
		return "refused by RST"
	case byICMP:
		return "refused by ICMP"
	case swallowed:
	}
	return "lost"
}

// refuses reports whether an answer turns a SYN of an attempt away in this manner.
func (d denial) refuses(a *observe.Attempt, ans *observe.Answer) bool {
	switch d {
	case byReset:
		return ans.Kind == observe.RST && ans.Ack == a.ISS.Add(1)
	case byICMP:
		return ans.Kind == observe.ICMP && ans.Ends() && (ans.ICMPType == 3 && ans.From.Is4() || ans.ICMPType == 1 && ans.From.Is6()) // destination unreachable
	case swallowed:
	}
	return false
}

// legible reports whether an attempt was answered as such a limit lets it be, and otherwise not at all.
func (d denial) legible(a *observe.Attempt) bool {
	if a.Unseen > 0 {
		return false
	}
	for k := range a.Answers {
		if ans := &a.Answers[k]; ans.Kind != observe.SYNACK && !d.refuses(a, ans) {
			return false
		}
	}
	return true
}

// handshakes is an attempt without its refusals: the answers that echo a SYN.
func (d denial) handshakes(a *observe.Attempt) *observe.Attempt {
	if d == swallowed {
		return a
	}
	only := *a
	only.Answers = slices.DeleteFunc(slices.Clone(a.Answers), func(ans observe.Answer) bool { return ans.Kind != observe.SYNACK })
	return &only
}

// denied reports whether SYN n of an attempt, to which no SYN-ACK came, was over the limit for all that is known. Where a limit refuses by RST, silence is loss
// on the way; where by ICMP, it is what comes of most.
func (d denial) denied(a *observe.Attempt, n int) bool {
	if d != byReset {
		return true
	}
	return slices.ContainsFunc(a.Answers, func(ans observe.Answer) bool {
		return d.refuses(a, &ans) && ans.At.After(a.SYNs[n].At) && (n+1 == len(a.SYNs) || ans.At.Before(a.SYNs[n+1].At))
	})
}

// fared says how the first SYN of an attempt fared at a limit; perhaps where it cannot be told.
func (d denial) fared(a *observe.Attempt) bucketFate {
	switch {
	case a.Outcome == observe.Accepted && a.Retransmissions == 0:
		return passed
	case d == byReset && a.Outcome == observe.Refused && a.Retransmissions == 0, d == byICMP && (a.Outcome == observe.Unreachable || a.Outcome == observe.TimedOut):
		return dropped
	}
	return perhaps
}

// counts are how many flows of the bursts of some kinds were turned away, by their first SYNs.
func (d denial) counts(in *Input, kinds ...plan.Kind) silences {
	var s silences
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || in.explained[i] || !slices.Contains(kinds, o.Kind) {
			continue
		}
		for j := range o.Attempts {
			if x := d.fared(&o.Attempts[j]); x != perhaps {
				s.add(x == dropped)
			}
		}
	}
	return s
}

// spoken counts the attempts that were turned away in this manner.
func (d denial) spoken(in *Input) int {
	n := 0
	for a := range attempts(in) {
		if slices.ContainsFunc(a.Answers, func(ans observe.Answer) bool { return d.refuses(a, &ans) }) {
			n++
		}
	}
	return n
}

// emptied reports whether of the first burst that was answered in part, or of most such bursts, the first SYNs passed and later ones were refused. A refusal takes no
// time, so that a token may come in the middle of the bursts that follow, or none at all: then the first burst may have passed whole and the others not, until a steady
// one shows no token either.
func (d denial) emptied(in *Input) bool {
	if d.spoken(in) < fewTold {
		return false
	}
	policy := d == byICMP && prohibited(in)
	passedWhole, refusedWhole := 0, 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || !trusted(o) {
			continue
		}
		first, both := d.firstPass(o)
		s := d.counts(&Input{Observations: in.Observations[i : i+1], explained: map[int]bool{}}, o.Kind)
		switch {
		case both && passedWhole > 0 && refusedWhole > 0:
			return policy
		case both:
			return first || d.headPattern(in)
		case s.n == 0:
		case s.silent > 0:
			refusedWhole++
		case refusedWhole > 0:
			return false // it came back whole: no token does that
		default:
			passedWhole++
		}
	}
	if !policy || passedWhole == 0 || refusedWhole == 0 {
		return false
	}
	m := d.metering(in)
	return m.bursts == 0 || len(m.rates) > 0
}

// prohibited reports whether all ICMP errors to the SYNs of a round say that a policy forbids them: a pool that is empty now and then says that nobody is there.
func prohibited(in *Input) bool {
	for a := range attempts(in) {
		for k := range a.Answers {
			if a.Answers[k].Kind == observe.ICMP && !strings.Contains(a.Answers[k].ICMPName, "prohibited") {
				return false
			}
		}
	}
	return true
}

// RefusesOver reports whether the first SYNs of bursts were answered and later ones refused, by RST or by ICMP: as a limit does that has a word for what is over it.
func RefusesOver(in Input) bool {
	in.explained = map[int]bool{}
	return slices.ContainsFunc(refusing(), func(d denial) bool { return d.emptied(&in) })
}
