package prober

import (
	"errors"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// lot is what was sent within a few milliseconds.
type lot struct {
	from, to    int
	first, sent time.Duration // when the first and the last of its probes were handed over
	last        time.Duration // the same of the latest SYNs
	again       int           // repeats
	awaited     int           // as last counted
	blind       bool          // the capture lost frames while it waited
}

// lotTime is how long a lot is added to.
const lotTime = 10 * time.Millisecond

// again sends the SYNs that are due once more, as many as go at a time, and returns how many, and when the next are due.
func (c *course) again(now time.Duration) (n int, due time.Duration, err error) {
	due = never
	for k := range c.rungs {
		at := repeatAt(k + 1)
		for ; c.rungs[k] < len(c.lots); c.rungs[k]++ {
			l := &c.lots[c.rungs[k]]
			if l.sent+at > now { // never sooner: an answer in time is to be told from one to the repeat
				due = min(due, l.sent+at)
				break
			}
			if n, err = c.repeat(l, k+1, now); n > 0 || err != nil {
				return n, due, err
			}
		}
	}
	return 0, due, nil
}

// never is later than any sweep ends.
const never = time.Duration(1) << 62

// repeatAt is when SYN number k is sent, from the first on: 1 s, 3 s, 7 s.
func repeatAt(k int) time.Duration { return time.Second<<k - time.Second }

// repeat sends every SYN of a lot again that has no answer, and returns how many.
func (c *course) repeat(l *lot, number int, now time.Duration) (int, error) {
	if l.again >= number {
		return 0, nil
	}
	l.again, l.last = number, now
	c.mu.Lock()
	var runs [][2]int // of probes side by side
	n := 0
	for i := l.from; i < l.to; i++ {
		switch last := len(runs) - 1; {
		case !c.book.Repeat(i):
			continue
		case last >= 0 && runs[last][1] == i:
			runs[last][1]++
		default:
			runs = append(runs, [2]int{i, i + 1})
		}
		n++
	}
	c.mu.Unlock()
	l.awaited = n
	var errs []error
	for _, r := range runs {
		errs = append(errs, c.volley(r[0], r[1]))
	}
	c.refuse()
	return n, errors.Join(errs...)
}

// unanswered counts the flows of the last plan.PortQuarantine that drew nothing. The caller holds the lock of the book.
func (c *course) unanswered(now time.Duration) int {
	for c.fresh < len(c.lots) && now-c.lots[c.fresh].first >= plan.PortQuarantine {
		c.fresh++
	}
	n := 0
	for k := c.fresh; k < len(c.lots); k++ {
		l := &c.lots[k]
		if l.awaited == 0 {
			continue
		}
		l.awaited = 0
		for i := l.from; i < l.to; i++ {
			if c.book.Unanswered(i) {
				l.awaited++
			}
		}
		n += l.awaited
	}
	return n
}
