package pulse

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// Cursor hands out the places of a list of source ports in a circle, for one destination from one source, such that none returns within
// plan.PortQuarantine. It remembers when each quarter of the list was last left, not each port: it is exact enough to refuse too early
// by at most a quarter of the list, and never too late. Its zero value has handed out nothing.
type Cursor struct {
	at   int
	left [quarters]time.Duration // when a place of it was last handed out; 0: never
}

const quarters = 4

// CursorPorts is how many ports a list must have for bursts of n connections every interval, the quarter that is refused included.
func CursorPorts(n int, interval time.Duration) int {
	return (plan.PortsNeeded(n, interval) + n) * quarters / (quarters - 1)
}

// Take reserves n places of a list of size and returns the first; the others follow it in the circle. now is monotonic and above 0. false:
// some of them were used too recently, or the list is too short.
func (c *Cursor) Take(n, size int, now time.Duration) (first int, ok bool) {
	if n <= 0 || n > size {
		return 0, false
	}
	first = c.at % size
	for i := range n {
		p := (first + i) % size
		if last := c.left[quarter(p, size)]; enters(p, size) && last != 0 && now-last < plan.PortQuarantine {
			return 0, false
		}
	}
	for i := range n {
		c.left[quarter((first+i)%size, size)] = now
	}
	c.at = (first + n) % size
	return first, true
}

// Start moves the circle to a place of its own, so that a program which begins anew does not at once use what its predecessor did.
func (c *Cursor) Start(place int) { c.at = place }

func quarter(p, size int) int { return p * quarters / size }

// enters reports whether place p is the first of its quarter: those behind it are as fresh as it was.
func enters(p, size int) bool { return p == 0 || quarter(p-1, size) != quarter(p, size) }
