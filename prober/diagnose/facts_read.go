package diagnose

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// tallyOf counts the attempts at the target that no finding explains, and those for which hit holds.
func tallyOf(in *Input, hit func(*observe.Attempt) bool) (n, hits int) {
	for a := range unexplained(in) {
		if a.Outcome == observe.OutcomeUnknown || a.Outcome == observe.NotSent {
			continue
		}
		n++
		if hit(a) {
			hits++
		}
	}
	return n, hits
}

// seen is yes on the first hit, no on none of enough attempts, else unknown.
func seen(in *Input, least int, hit func(*observe.Attempt) bool) answer {
	n, hits := tallyOf(in, hit)
	switch {
	case hits > 0:
		return yes
	case n >= least:
		return no
	}
	return unknown
}

func troubled(a *observe.Attempt) bool {
	return a.Outcome != observe.Accepted || a.Retransmissions > 0 && !hurried(a) || a.Unseen > 0
}

func readTrouble(in *Input) answer { return seen(in, fewAttempts, troubled) }

func readStepped(in *Input) answer {
	if len(in.Observations) == 0 {
		return unknown
	}
	return answerOf(slices.ContainsFunc(in.Observations, func(o observe.Observation) bool { return o.ClockStep != 0 }))
}

func readUnseen(in *Input) answer {
	return seen(in, 1, func(a *observe.Attempt) bool {
		return a.Via == plan.Kernel && (a.Unseen > 0 || a.Outcome == observe.LocalDrop)
	})
}

// during looks at the troubled bursts that were watched: yes if hit holds in one, no if in none, unknown where there is none.
func during(in *Input, hit func(*observe.Observation) bool) answer {
	out := unknown
	for i := range in.Observations {
		o := &in.Observations[i]
		if in.explained[i] || aside(o.Kind) || !trusted(o) || !slices.ContainsFunc(o.Attempts, func(a observe.Attempt) bool { return troubled(&a) }) {
			continue
		}
		if hit(o) {
			return yes
		}
		out = no
	}
	return out
}

func readAsking(in *Input) answer {
	return during(in, func(o *observe.Observation) bool { return len(ours(o)) > 0 })
}

func readUnfound(in *Input) answer {
	return during(in, func(o *observe.Observation) bool {
		return slices.ContainsFunc(ours(o), func(p pending) bool { return p.to.IsZero() && p.requests >= 2 })
	})
}

func readAsked(in *Input) answer {
	return during(in, func(o *observe.Observation) bool { return len(resolutions(o, false)) > 0 })
}

// readHealed compares the first kernel burst with the next.
func readHealed(in *Input) answer {
	var bursts []*observe.Observation
	for i := range in.Observations {
		if o := &in.Observations[i]; o.Kind == plan.KindConnect && !in.explained[i] {
			bursts = append(bursts, o)
		}
	}
	bad := func(o *observe.Observation) bool {
		return slices.ContainsFunc(o.Attempts, func(a observe.Attempt) bool { return troubled(&a) })
	}
	if len(bursts) < 2 || !bad(bursts[0]) {
		return unknown
	}
	return answerOf(!bad(bursts[1]))
}

func readOwners(in *Input) answer {
	out := unknown
	for _, list := range claims(in) {
		for i := range list {
			if list[i].mac != list[0].mac {
				return yes
			}
		}
		out = no
	}
	return out
}

func readAnswered(in *Input) answer {
	return seen(in, 4, func(a *observe.Attempt) bool { return a.Outcome == observe.Accepted || len(a.Answers) > 0 })
}

func readRefused(in *Input) answer {
	return seen(in, 4, func(a *observe.Attempt) bool { return a.Outcome == observe.Refused })
}

func readErrors(in *Input) answer {
	return seen(in, 4, func(a *observe.Attempt) bool {
		return a.Outcome == observe.Unreachable && slices.ContainsFunc(a.Answers, func(x observe.Answer) bool { return x.Kind == observe.ICMP })
	})
}

func readTurns(in *Input) answer {
	for _, f := range checkPool(in) {
		if f.Verdict == VIPPoolEmpty {
			return yes
		}
	}
	n, served := 0, 0
	for _, m := range moments(in) {
		n++
		if m.served {
			served++
		}
	}
	if n >= fewAttempts && (served == 0 || served == n) {
		return no
	}
	return unknown
}

func readTSval(in *Input) answer {
	q := readQuadrants(in)
	if q.bursts < 2 {
		return unknown
	}
	inside, outside := split(sumArms(q.learn, q.test), q.refused())
	switch {
	case fisher(inside, outside) < 1e-3:
		return yes
	case min(inside.n, outside.n) >= 16 && share(inside)-share(outside) < 0.1:
		return no
	}
	return unknown
}

func readEcho(in *Input) answer { return found(in, checkEcho(in)) }

func readOldACK(in *Input) answer { return found(in, checkBareACK(in)) }

func readRejected(in *Input) answer { return found(in, checkClientReject(in)) }

// found is yes where a rule found something, no where it had enough to look at and did not.
func found(in *Input, list []Finding) answer {
	if len(list) > 0 {
		return yes
	}
	if n, answered := tallyOf(in, func(a *observe.Attempt) bool { return len(a.Answers) > 0 }); n >= fewAttempts && answered > 0 {
		return no
	}
	return unknown
}

func readLate(in *Input) answer {
	switch s := readSlowness(in); {
	case s.single >= 3 && s.single >= s.prompt:
		return yes
	case s.prompt >= fewAttempts:
		return no
	}
	return unknown
}
