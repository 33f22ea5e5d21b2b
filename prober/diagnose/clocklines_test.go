package diagnose

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// clocked is a pool as its SYN-ACKs' timestamps show it.
type clocked struct {
	hosts         []uint32 // the rates of their clocks
	flows, bursts int
	rtt, jitter   time.Duration
	each          bool // offsets per connection
	cookies       bool // the low six bits are options
	jump          bool // the only clock is set halfway
}

// readings draws the SYN-ACKs, and who made each.
func (c *clocked) readings(r *rand.Rand) (list []reading, who []int) {
	start := time.Unix(1_700_000_000, 0)
	base := make([]wire.TSval, len(c.hosts))
	for i := range base {
		base[i] = wire.TSval(r.Uint32())
	}
	for b := range c.bursts {
		for i := range c.flows / c.bursts {
			sent := start.Add(time.Duration(b)*7*time.Second + time.Duration(i)*300*time.Microsecond)
			rtt := c.rtt + time.Duration(r.Float64()*float64(c.jitter))
			made := sent.Add(time.Duration(r.Float64() * float64(rtt)))
			h := r.IntN(len(c.hosts))
			val := base[h].Add(int64(made.Sub(start).Seconds() * (1 + 1e-4) * float64(c.hosts[h])))
			switch {
			case c.each:
				val = wire.TSval(r.Uint32())
			case c.jump && 2*b >= c.bursts:
				val = val.Add(1 << 30)
			case c.cookies && r.IntN(2) == 0:
				if low := val&^63 | 39; low > val {
					val = low - 64
				} else {
					val = low
				}
			}
			list = append(list, reading{&observe.Attempt{}, val, sent, sent.Add(rtt)})
			who = append(who, h)
		}
	}
	return list, who
}

// TestClockLines: never more clocks than there are, no clock of two hosts' flows, and nearly all that there are.
func TestClockLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		pool clocked
		most int
		all  float64 // least share of the draws in which all are found; 0: none may be
		hz   bool    // the rates as well
	}{
		{"one host", clocked{hosts: []uint32{1000}, flows: 40, bursts: 4, rtt: time.Millisecond}, 1, 1, true},
		{"one host, 60 ms that vary by 40", clocked{hosts: []uint32{250}, flows: 40, bursts: 4, rtt: 60 * time.Millisecond, jitter: 40 * time.Millisecond}, 1, 1, true},
		{"three of 1,000 Hz", clocked{hosts: []uint32{1000, 1000, 1000}, flows: 48, bursts: 4, rtt: time.Millisecond}, 3, 0.99, true},
		{"four of 100, 250, 300 and 1,000 Hz, 30 ms", clocked{hosts: []uint32{100, 250, 300, 1000}, flows: 80, bursts: 5, rtt: 30 * time.Millisecond, jitter: 10 * time.Millisecond}, 4, 0.99, true},
		{"three in one burst: no rates", clocked{hosts: []uint32{1000, 250, 100}, flows: 40, bursts: 1, rtt: time.Millisecond}, 3, 0.99, false},
		{"two with cookies", clocked{hosts: []uint32{1000, 1000}, flows: 40, bursts: 2, rtt: time.Millisecond, cookies: true}, 2, 0.99, true},
		{"microseconds", clocked{hosts: []uint32{1_000_000, 1000}, flows: 40, bursts: 4, rtt: time.Millisecond}, 2, 0.99, true},
		{"near miss: one clock, set halfway", clocked{hosts: []uint32{1000}, flows: 40, bursts: 4, rtt: time.Millisecond, jump: true}, 1, 1, true},
		{"near miss: one clock of 2 Hz", clocked{hosts: []uint32{2}, flows: 40, bursts: 4, rtt: time.Millisecond}, 1, 0, false},
		{"near miss: one clock of 700 Hz", clocked{hosts: []uint32{700}, flows: 40, bursts: 4, rtt: time.Millisecond}, 1, 0, false},
		{"near miss: offsets per connection", clocked{hosts: []uint32{1000}, flows: 400, bursts: 10, rtt: 60 * time.Millisecond, each: true}, 0, 0, false},
		{"near miss: two flows", clocked{hosts: []uint32{1000}, flows: 2, bursts: 1, rtt: time.Millisecond}, 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const draws = 300
			all := 0
			for seed := range uint64(draws) {
				list, who := c.pool.readings(rand.New(rand.NewPCG(seed, 17)))
				lines := clockLines(list)
				if len(lines) > c.most {
					t.Fatalf("draw %d: %d clocks: %+v", seed, len(lines), lines)
				}
				if len(lines) == c.most {
					all++
				}
				for _, l := range lines {
					for _, f := range l.of {
						if who[f] != who[l.of[0]] {
							t.Errorf("draw %d: a clock of hosts %d and %d", seed, who[f], who[l.of[0]])
						}
					}
					if want := c.pool.hosts[who[l.of[0]]]; c.hz && l.hz != want && !(l.hz == 0 && len(l.of) < 4) || !c.hz && c.all > 0 && l.hz != 0 {
						t.Errorf("draw %d: %d Hz of %d flows, its clock ticks at %d", seed, l.hz, len(l.of), want)
					}
				}
			}
			if share := float64(all) / draws; share < c.all {
				t.Errorf("all clocks found in %.3f of the draws, want %.3f", share, c.all)
			}
		})
	}
}
