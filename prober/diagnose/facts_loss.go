package diagnose

import "github.com/vipprobe/vipprobe/prober/plan"

func readDead(in *Input) answer {
	t := sum(fates(in, plan.KindSticky))
	partial := t.flows - t.dead - t.whole
	switch {
	case t.flows < fewAttempts:
		return unknown
	case t.dead > 0 && t.whole > 0 && partial <= t.flows/8:
		return yes
	case partial > t.flows/8, t.whole >= 2*16:
		return no
	}
	return unknown
}

// directed are the flows whose echoes tell the direction of a loss.
func directed(in *Input) tally {
	return sum(fates(in, plan.KindSticky, plan.KindEven, plan.KindDirection, plan.KindServed))
}

func readForward(in *Input) answer { return direction(directed(in).forward, directed(in)) }

func readBack(in *Input) answer { return direction(directed(in).back, directed(in)) }

// direction is yes from two losses of one direction on, no where four were told and none of them, or but one of many, was of it.
func direction(n int, t tally) answer {
	switch {
	case n >= 2:
		return yes
	case t.forward+t.back >= 4*(n+1):
		return no
	}
	return unknown
}

func readUnevenness(in *Input) answer {
	e := readEven(in)
	switch {
	case len(e.asked) == 0 || e.total < 4:
		return unknown
	case e.clean() > 0 && e.chance() < 1e-2:
		return yes
	}
	return no
}

func readHead(in *Input) answer {
	t := sum(fates(in, plan.KindQuadrants, plan.KindSticky, plan.KindConnect, plan.KindSYN))
	if t.flows < fewAttempts || t.lost() == 0 || t.dead == t.flows {
		return unknown
	}
	return answerOf(headPattern(in))
}

func readTogether(in *Input) answer {
	c := readConcurrency(in)
	switch {
	case c.together.silent == 0 || c.apart.n < 16:
		return unknown
	case c.apart.silent == 0 || c.collide():
		return yes
	}
	return no
}

// losing is yes where flows of a kind lost SYNs, no where enough of them lost none.
func losing(in *Input, k plan.Kind, least int) answer {
	switch t := sum(fates(in, k)); {
	case t.lost() > 0:
		return yes
	case t.flows >= least:
		return no
	}
	return unknown
}

func readPaced(in *Input) answer { return losing(in, plan.KindPaced, 6) }

func readOther(in *Input) answer { return losing(in, plan.KindOther, 6) }

func readStack(in *Input) answer {
	sent, resets := strays(in)
	if sent == 0 {
		return unknown
	}
	return answerOf(resets > 0)
}

func readOtherSource(in *Input) answer {
	list := readSources(in)
	if len(list) < 2 || list[0].target.n == 0 || list[0].target.silent < list[0].target.n {
		return unknown
	}
	for _, s := range list[1:] {
		if s.target.n > 0 && s.target.silent == 0 {
			return yes
		}
	}
	return no
}

// completed counts the handshakes that we completed and that ended in one way.
func completed(in *Input, hit func(*service) bool) answer {
	n, hits := 0, 0
	for _, s := range services(in, plan.KindServed) {
		n++
		if hit(&s) {
			hits++
		}
	}
	switch {
	case n == 0:
		return unknown
	case 2*hits > n:
		return yes
	case hits == 0:
		return no
	}
	return unknown
}

func readIgnored(in *Input) answer {
	return completed(in, func(s *service) bool { return s.repeats > 0 && !s.reset && !s.acked })
}

func readAborted(in *Input) answer {
	return completed(in, func(s *service) bool { return s.reset && s.plain && s.after < repeatAfter })
}

func readHollow(in *Input) answer {
	return completed(in, func(s *service) bool { return s.silent && s.repeats == 0 })
}

func readLarge(in *Input) answer {
	small, big, _, _ := readSizes(in)
	switch {
	case small.n == 0 || big.n == 0 || small.silent == small.n:
		return unknown
	case big.silent == big.n && small.silent == 0:
		return yes
	case big.silent == 0:
		return no
	}
	return unknown
}

func readReuse(in *Input) answer {
	u := readUses(in)
	lost, beside := u.lostBeside()
	switch {
	case u.flows+u.alive < 4:
		return unknown
	case u.answered[1] == u.flows:
		return no
	case u.flows >= 4 && u.answered[1] == 0 && lost*reuseOdd <= beside:
		return yes
	}
	return unknown
}

func readKeeps(in *Input) answer {
	held, repeated := holds(in)
	if held == 0 {
		return unknown
	}
	return answerOf(repeated > 0)
}
