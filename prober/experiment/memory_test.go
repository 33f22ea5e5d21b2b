package experiment_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// To look closer: go test ./prober/experiment -run TestMemory -v -networks 5000.
var networks = flag.Int("networks", 60, "networks of each kind whose memory is searched")

// past is a network in which a server remembers another clock of our address, and its truth.
type past struct {
	w       *fakenet.World
	servers []*fakenet.Recycle
	from    netip.Addr
	hz      uint32
	every   time.Duration
}

// pastWorld is a server, or a VIP of n, to which another client comes through our address: a clock of hz ticks that stands ahead of ours and
// soon passes 2³² where wrap.
func pastWorld(seed uint64, r *rand.Rand, n int, hz uint32, every time.Duration, loss float64) past {
	var p past
	p.hz, p.every = hz, every
	if n == 1 && r.IntN(2) == 0 {
		p.w = fakenet.RecycleDirect(seed, seed%2 == 0)
		p.from = p.w.Client.Source
		p.servers = []*fakenet.Recycle{p.w.Hosts[0].Recycle}
	} else {
		var b *fakenet.Balancer
		p.w, b = fakenet.VIP(seed, n)
		b.Choose = []fakenet.Policy{fakenet.FlowHash, fakenet.RoundRobin}[r.IntN(2)]
		p.from = b.SNAT.Addrs[0]
		for _, m := range b.Members {
			m.Host.Recycle = &fakenet.Recycle{}
			p.servers = append(p.servers, m.Host.Recycle)
		}
	}
	base := wire.TSval(r.Uint32())
	if r.IntN(4) == 0 {
		base = wire.TSval(0).Add(-int64(hz) * int64(8+r.IntN(4))) // passes 2³² while it is searched
	}
	p.w.Client.Clock = fakenet.Clock{Hz: 1000, Base: base.Add(-ahead(r))}
	for i, s := range p.servers {
		s.Primers = []*fakenet.Primer{{From: p.from, Every: every * time.Duration(n), Since: every * time.Duration(i),
			Clock: fakenet.Clock{Hz: hz, Base: base, Seed: seed}}}
	}
	if hz == 0 {
		for _, s := range p.servers {
			s.Primers[0].Until = every*time.Duration(n) + primed
		}
	}
	p.w.Lose = loss
	p.w.Wait(primed + 2*every*time.Duration(n))
	p.w.OneWay = time.Duration(50e3 * (1 + 100*r.Float64()*r.Float64()))
	return p
}

// says reports whether a sighting is true: at the time between its last question and its answer some server remembered that.
func (p *past) says(s *diagnose.Sighting) bool {
	sent := p.w.Elapsed() - p.w.Now().Sub(s.Answered)
	for _, srv := range p.servers {
		for _, at := range []time.Duration{sent + p.w.OneWay, sent + p.w.OneWay + p.w.Jitter + 50*time.Microsecond} {
			if x, ok := srv.Then(at, p.from); ok && !x.Before(s.Lo) && !s.Hi.Before(x) {
				return true
			}
		}
	}
	return false
}

// tally counts what was said of the memories of many networks.
type tally struct {
	n, exact, wrong, close, named, misnamed int
	errs                                    []string
	loose                                   []uint64 // seeds of what was not found to the tick
}

func (c *tally) add(p *past, res *result, seed uint64) {
	c.n++
	m, ok := diagnose.ReadMemory(res.seen)
	if !ok {
		c.loose = append(c.loose, seed)
		return
	}
	for i := range m.Sightings {
		s := &m.Sightings[i]
		if s.Exact && !p.says(s) {
			c.wrong++
			c.errs = append(c.errs, fmt.Sprintf("seed %d: exact %d is not so", seed, s.Hi))
		}
	}
	if !m.Forgotten.IsZero() {
		c.wrong++
		c.errs = append(c.errs, fmt.Sprintf("seed %d: forgotten within a minute", seed))
	}
	if best, ok := m.Best(); ok {
		if best.Exact {
			c.exact++
		} else if best.Hi.Sub(best.Lo) <= 64 {
			c.close++
		}
		if !best.Exact {
			c.loose = append(c.loose, seed)
		}
	} else {
		c.loose = append(c.loose, seed)
	}
	i := slices.IndexFunc(res.diagnosis.Clocks, func(s diagnose.ClockSeries) bool { return s.Of == diagnose.Remembered })
	if i < 0 {
		return
	}
	switch hz := res.diagnosis.Clocks[i].Hz; hz {
	case 0:
	case p.hz:
		c.named++
	default:
		c.misnamed++
		c.errs = append(c.errs, fmt.Sprintf("seed %d: %d Hz in place of %d", seed, hz, p.hz))
	}
}

func (c *tally) String() string {
	return fmt.Sprintf("%d networks: %d exact, %d more within 64 ticks, %d false to the tick; rate named in %d, falsely in %d", c.n, c.exact, c.close, c.wrong, c.named, c.misnamed)
}

// TestMemory searches the memories of many networks: what is said to be exact is, and a rate that is named is the clock's.
func TestMemory(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		name    string
		servers int
		every   [2]time.Duration
		loss    float64
		exact   float64 // at least this share to the tick
	}{
		{"one server, lossless, slow", 1, [2]time.Duration{time.Second, 10 * time.Second}, 0, 0.998},
		{"one server, 1 % loss, slow", 1, [2]time.Duration{time.Second, 10 * time.Second}, 0.01, 0.998},
		{"one server, 5 % loss, slow", 1, [2]time.Duration{time.Second, 10 * time.Second}, 0.05, 0.99},
		{"one server, lossless, fast", 1, [2]time.Duration{10 * time.Millisecond, 300 * time.Millisecond}, 0, 0},
		{"one server, 5 % loss, fast", 1, [2]time.Duration{10 * time.Millisecond, 300 * time.Millisecond}, 0.05, 0},
		{"several servers, lossless", 8, [2]time.Duration{50 * time.Millisecond, time.Second}, 0, 0},
		{"several servers, 5 % loss", 8, [2]time.Duration{50 * time.Millisecond, time.Second}, 0.05, 0},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			var c tally
			for i := range *networks {
				seed := uint64(i)*104729 + 5
				r := rand.New(rand.NewPCG(seed, 0x9a57))
				n := 1
				if k.servers > 1 {
					n = between(r, 2, k.servers)
				}
				p := pastWorld(seed, r, n, []uint32{100, 250, 1000, 0}[r.IntN(4)], lasting(r, k.every[0], k.every[1]), k.loss)
				res := investigate(p.w, seed, 10, false)
				c.add(&p, &res, seed)
			}
			t.Log(c.String())
			for _, e := range c.errs[:min(4, len(c.errs))] {
				t.Error(e)
			}
			if float64(c.exact) < k.exact*float64(c.n) {
				t.Errorf("want %.1f %% exact: %s; not so: %v", 100*k.exact, c.String(), c.loose[:min(4, len(c.loose))])
			}
		})
	}
}

// TestMemoryEnds follows memories whose last connection was closed some time ago until they end, or until the time is over before that.
func TestMemoryEnds(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		name string
		age  time.Duration // when the search begins
		loss float64
		ends bool
	}{
		{"40 s old", 40 * time.Second, 0, true},
		{"40 s old, 5 % loss", 40 * time.Second, 0.05, true},
		{"10 s old: the time is over first", 10 * time.Second, 0, false},
		{"10 s old, 5 % loss: the time is over first", 10 * time.Second, 0.05, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, 0x0e4d))
				w := sharedAddress(seed, ahead(r), 200*time.Millisecond, false)
				w.Hosts[0].Recycle.Primers[0].Until = primed
				w.Lose = k.loss
				w.Wait(primed + k.age)
				inv := &experiment.Investigation{Host: diagnose.Input{Ladder: w.Client.Ladder, Follow: 30 * time.Second}, Rand: rand.New(rand.NewPCG(seed, 1)),
					Setup: experiment.Setup{Dst: w.Target, Burst: 10, Ladder: w.Client.Ladder, Listen: 9500 * time.Millisecond, MSS: 1460, HalfOpen: 16}}
				in := diagnose.Input{Ladder: w.Client.Ladder}
				for w.Elapsed() < 5*time.Minute {
					b, more := inv.Next(in.Observations)
					if !more {
						break
					}
					in.Observations = append(in.Observations, w.RunTogether(inv.With(b, in.Observations)...)...)
				}
				m, ok := diagnose.ReadMemory(in.Observations)
				if !ok {
					t.Fatalf("seed %d: no memory found", seed)
				}
				if k.ends != !m.Forgotten.IsZero() {
					t.Errorf("seed %d: forgotten %v, want %v; %d sightings", seed, !m.Forgotten.IsZero(), k.ends, len(m.Sightings))
				}
				if k.ends && m.Forgotten.Sub(w.Now().Add(-w.Elapsed())) < primed+59*time.Second {
					t.Errorf("seed %d: forgotten %s after the first second, too early", seed, m.Forgotten.Sub(w.Now().Add(-w.Elapsed())))
				}
			}
		})
	}
}

// TestMemoryNotForgottenUnseen: searches whose SYNs never left say nothing, however often; a busy prober once called a memory forgotten.
func TestMemoryNotForgottenUnseen(t *testing.T) {
	t.Parallel()
	w := sharedAddress(3, 500_000_000, 200*time.Millisecond, false)
	w.Hosts[0].Recycle.Primers[0].Until = primed
	w.Wait(primed)
	seen := investigate(w, 3, 10, false).seen
	last := slices.IndexFunc(seen, func(o observe.Observation) bool { return o.Kind == plan.KindFollow })
	if last < 0 {
		t.Fatal("the memory was not followed")
	}
	unsent := seen[last]
	unsent.Attempts = slices.Clone(unsent.Attempts)
	for i := range unsent.Attempts {
		unsent.Attempts[i] = observe.Attempt{Outcome: observe.NotSent}
	}
	m, ok := diagnose.ReadMemory(append(slices.Clone(seen), unsent, unsent, unsent, unsent))
	if !ok || !m.Forgotten.IsZero() {
		t.Errorf("found %v, forgotten %v", ok, m.Forgotten)
	}
}
