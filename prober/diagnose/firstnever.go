package diagnose

// firstNever reports whether no first SYN of any flow was answered in time, though repeats were, and far more of these than chance allows: what loses packets at random makes no
// difference between a flow's first and those behind it. A device that drops the first packet of each flow, or each flow's first ones on either way, does.
func firstNever(fs []fate) bool {
	first, later := silences{}, silences{}
	for i := range fs {
		f := &fs[i]
		if f.answered && f.lost() == 0 {
			return false
		}
		first.n, first.silent = first.n+1, first.silent+1
		if f.sent > 1 {
			later.n += f.sent - 1
			later.silent += f.sent - 1
		}
		if f.answered {
			later.silent--
		}
	}
	return later.n > later.silent && fisher(first, later) < neverByChance
}

// neverByChance is the level of firstNever: it is asked once in a round.
const neverByChance = 1e-4

const firstDropped = "why no first SYN of any flow is answered, and repeats are: that is no loss at random, but a device that drops what begins a flow (protection from floods, or one that sets flows up " +
	"slowly)"
