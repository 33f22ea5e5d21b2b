package diagnose

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// ownClock is the timestamp clock of this host's kernel as its SYNs show it.
type ownClock struct {
	n      int
	single bool       // all SYNs lie on one line of 1,000 Hz
	val    wire.TSval // at the time at
	at     time.Time
}

// clockSlack is how far SYNs of one clock may lie off its line: timer ticks and scheduling, in ms ticks.
const clockSlack = 60

// readOwnClock looks at the kernel SYNs of all bursts. Linux ≥ 4.13 ticks at 1,000 Hz whatever its HZ (net/ipv4/tcp_output.c, tcp_clock_ts), and
// adds an offset that is one per host pair, or per connection (net/core/secure_seq.c; by port again in some).
func readOwnClock(in *Input) ownClock {
	var c ownClock
	c.single = true
	for i := range in.Observations {
		for j := range in.Observations[i].Attempts {
			a := &in.Observations[i].Attempts[j]
			if a.Via != plan.Kernel || len(a.SYNs) == 0 || !a.SYNs[0].HasTS || a.SYNs[0].At.IsZero() {
				continue
			}
			s := &a.SYNs[0]
			if c.n > 0 {
				want := c.val.Add(s.At.Sub(c.at).Milliseconds())
				if d := s.TSval.Sub(want); d > clockSlack || d < -clockSlack {
					c.single = false
				}
			}
			c.n++
			c.val, c.at = s.TSval, s.At
		}
	}
	return c
}

// now is the clock's value at t.
func (c *ownClock) now(t time.Time) wire.TSval { return c.val.Add(t.Sub(c.at).Milliseconds()) }
