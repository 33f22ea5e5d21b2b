package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// queueStory is one kind of far side, and what a measurement of its neighbour queue must and must not say.
type queueStory struct {
	name  string
	world func(seed uint64, r *rand.Rand, length int) *fakenet.World
	// lengths of the queue that are drawn from; nil: 1 … 300.
	lengths []int
	// states are those that may be the answer. A number that is given must be right whatever the state, and a range must hold it.
	states []experiment.QueueState
	// exact is the least share of the seeds that is measured exactly and confirmed.
	exact float64
}

func bare(seed uint64, length int) *fakenet.World {
	w := fakenet.Clean(seed)
	w.Near.Queue = length
	return w
}

// defaults are the lengths that kernels have, and some that their owners chose.
func defaults() []int { return []int{1, 3, 4, 5, 17, 31, 64, 73, 78, 85, 101, 237, 256, 277} }

func queueStories() []queueStory {
	measured := []experiment.QueueState{experiment.QueueMeasured}
	unsure := []experiment.QueueState{experiment.QueueMeasured, experiment.QueueRange}
	never := []experiment.QueueState{experiment.QueueNotApplicable}
	return []queueStory{
		{name: "any length", states: measured, exact: 1, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World { return bare(s, n) }},
		{name: "defaults", lengths: defaults(), states: measured, exact: 1, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World { return bare(s, n) }},
		{name: "longer than the burst", lengths: []int{320, 321, 511, 1000}, states: []experiment.QueueState{experiment.QueueAtLeast},
			world: func(s uint64, _ *rand.Rand, n int) *fakenet.World { return bare(s, n) }},
		{name: "no port refuses", states: measured, exact: 1, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World {
			w, h := fakenet.Server(s)
			w.Near.Queue = n
			for _, p := range []uint16{9, 1, 19, 65519} {
				h.Ports[p] = fakenet.NewListener()
			}
			return w
		}},
		{name: "short, loss of 1 to 5 % on the link", lengths: []int{1, 3, 4, 5}, states: unsure, exact: 0.5,
			world: func(s uint64, r *rand.Rand, n int) *fakenet.World {
				w := bare(s, n)
				w.Near.LinkLose = 0.01 + 0.04*r.Float64()
				return w
			}},
		{name: "long, loss of 1 to 5 % on the link", lengths: []int{17, 78, 256}, states: unsure,
			world: func(s uint64, r *rand.Rand, n int) *fakenet.World {
				w := bare(s, n)
				w.Near.LinkLose = 0.01 + 0.04*r.Float64()
				return w
			}},
		{name: "loss behind the queue", lengths: defaults(), states: unsure,
			world: func(s uint64, r *rand.Rand, n int) *fakenet.World {
				w := bare(s, n)
				w.Lose = 0.01 + 0.04*r.Float64()
				return w
			}},
		{name: "limit of SYNs", lengths: defaults(), states: append(unsure, experiment.QueueInconclusive, experiment.QueueNotApplicable),
			world: func(s uint64, r *rand.Rand, n int) *fakenet.World {
				w, _ := fakenet.Server(s, &fakenet.Limiter{Rate: 50 * r.Float64(), Burst: between(r, 20, 200)})
				w.Near.Queue = n
				return w
			}},
		{name: "accept queue full", lengths: defaults(), states: measured, exact: 1, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World {
			w := fakenet.AcceptFull(s, 1)
			w.Near.Queue = n
			return w
		}},
		{name: "anti-spoofing", states: never, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World {
			w := bare(s, n)
			w.Near.Suspects = true
			return w
		}},
		{name: "something answers for everybody", states: never, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World {
			w := bare(s, n)
			w.Near.Proxied = true
			return w
		}},
		{name: "host that swallows everything", states: never, world: func(s uint64, _ *rand.Rand, n int) *fakenet.World {
			w, h := fakenet.Server(s)
			w.Near.Queue, h.Dead = n, true
			return w
		}},
	}
}

// borrowable lists free addresses of the worlds' subnet.
func borrowable(n int) (list []netip.Addr) {
	for i := range n {
		list = append(list, netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}))
	}
	return list
}

// measureQueue runs a measurement to its end, as the module does.
func measureQueue(w *fakenet.World, seed uint64, delay time.Duration) (experiment.QueueResult, []observe.Observation) {
	q := &experiment.Queue{Dst: w.Target, Size: experiment.QueueSize, HalfOpen: 16, Delay: delay, MSS: 1460, Rand: rand.New(rand.NewPCG(seed, 3))}
	var seen []observe.Observation
	for {
		b, more := q.Next(seen)
		if !more {
			n := q.Wants(seen)
			if n == 0 || len(q.Addrs)+n > 20 {
				return q.Result(seen), seen
			}
			q.Addrs = borrowable(len(q.Addrs) + n)
			continue
		}
		seen = append(seen, w.Run(b))
		w.Wait(time.Second)
	}
}

func (s *queueStory) play(t *testing.T, seed uint64) (r experiment.QueueResult, length int, wrong string) {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, 0x5eed))
	length = between(dice, 1, 300)
	if s.lengths != nil {
		length = s.lengths[dice.IntN(len(s.lengths))]
	}
	w := s.world(seed, dice, length)
	w.OneWay = time.Duration(20e3 * (1 + 100*dice.Float64()*dice.Float64()))
	r, _ = measureQueue(w, seed, time.Duration(between(dice, 1, 900))*time.Millisecond)
	allowed := false
	for _, x := range s.states {
		allowed = allowed || r.State == x
	}
	switch {
	case !allowed:
		wrong = "state"
	case r.State == experiment.QueueMeasured && r.Packets != length:
		wrong = "number"
	case r.State == experiment.QueueAtLeast && r.Packets > length:
		wrong = "bound"
	case r.State == experiment.QueueRange && (r.Low > length || r.High > 0 && r.High < length):
		wrong = "range"
	case (r.Why == "") != (r.State == experiment.QueueMeasured || r.State == experiment.QueueAtLeast):
		wrong = "why"
	}
	return r, length, wrong
}

func TestQueueStories(t *testing.T) {
	t.Parallel()
	for _, s := range queueStories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n := *moreSeeds / 2
			if testing.Short() {
				n /= 5
			}
			exact := 0
			for k := range n {
				seed := uint64(k)*7919 + 17
				if *oneSeed != 0 {
					seed = *oneSeed
				}
				r, length, wrong := s.play(t, seed)
				if wrong != "" || *oneSeed != 0 {
					t.Errorf("seed %d, queue of %d: wrong %s: %+v", seed, length, wrong, r)
				}
				if r.State == experiment.QueueMeasured && r.Confirmed {
					exact++
				}
				if *oneSeed != 0 {
					return
				}
			}
			if float64(exact) < s.exact*float64(n) {
				t.Errorf("exact for %d of %d seeds, want %.0f %%", exact, n, 100*s.exact)
			}
			t.Logf("exact for %d of %d seeds", exact, n)
		})
	}
}
