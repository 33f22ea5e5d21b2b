package sweep

import (
	"math/bits"
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

// timesOf finds the quantiles of what probes took, in ns, and leaves it in another order.
func timesOf(took []int64) (t Times) {
	n := len(took)
	if t.Timed = n; n == 0 {
		return t
	}
	t.Least, t.Most = time.Duration(slices.Min(took)), time.Duration(slices.Max(took))
	from := 0 // nothing before it is more than what follows
	for _, q := range []struct {
		per int
		to  *time.Duration
	}{{50, &t.P50}, {90, &t.P90}, {99, &t.P99}} {
		at := (n - 1) * q.per / 100
		settle(took[from:], at-from)
		*q.to = time.Duration(took[at])
		from = at
	}
	return t
}

// settle puts at k what sorting would, nothing greater before it and nothing less behind it: quickselect in place, by three-way partitions since
// many times are equal, and a sort of what is left where partitions do not shrink it.
func settle(v []int64, k int) {
	for tries := 2 * bits.Len(uint(len(v))); tries > 0 && len(v) > 32; tries-- {
		a, b, c := v[0], v[len(v)/2], v[len(v)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		less, greater := 0, len(v)
		for i := 0; i < greater; {
			switch x := v[i]; {
			case x < pivot:
				v[i], v[less] = v[less], x
				less++
				i++
			case x > pivot:
				greater--
				v[i], v[greater] = v[greater], x
			default:
				i++
			}
		}
		switch {
		case k < less:
			v = v[:less]
		case k >= greater:
			v, k = v[greater:], k-greater
		default:
			return
		}
	}
	slices.Sort(v)
}
