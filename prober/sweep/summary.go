package sweep

import (
	"slices"
	"time"
)

// Summary counts the probes of a book.
type Summary struct {
	Probes int
	States map[State]int
	// Unseen is how many were sent as far as this host knows, but not seen to leave: their answers have no time.
	Unseen int
	Times  // of the probes that were answered and timed, but for those whose SYN was sent again
}

// Times are what round trips come to: the number of them, the least, quantiles and the most.
type Times struct {
	Timed                      int
	Least, P50, P90, P99, Most time.Duration
}

// Summarize counts.
func (b *Book) Summarize() Summary {
	s := Summary{Probes: b.n, States: map[State]int{}}
	var states [256]int // of every State there can be
	var took []int64
	for i := range b.n {
		r := b.at(i)
		states[r.state]++
		if r.sent == 0 && r.state != NotSent {
			s.Unseen++
		}
		if r.took >= 0 && r.again == 0 && (r.state == Accepted || r.state == Refused) {
			took = append(took, r.took)
		}
	}
	for state, n := range states {
		if n > 0 {
			s.States[State(state)] = n
		}
	}
	s.Times = timesOf(took)
	return s
}

// timesOf sorts what probes took, in ns.
func timesOf(took []int64) (t Times) {
	if t.Timed = len(took); t.Timed == 0 {
		return t
	}
	slices.Sort(took)
	at := func(per int) time.Duration { return time.Duration(took[(len(took)-1)*per/100]) }
	t.Least, t.P50, t.P90, t.P99, t.Most = at(0), at(50), at(90), at(99), at(100)
	return t
}
