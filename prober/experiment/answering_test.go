package experiment_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// clockedVIP is a VIP of n members alike whose timestamp clocks tick so.
func clockedVIP(seed uint64, n int, hz uint32, per fakenet.Offset) (*fakenet.World, *fakenet.Balancer) {
	w, b := fakenet.VIP(seed, n)
	for _, m := range b.Members {
		m.Host.Clock.Hz, m.Host.Clock.Per = hz, per
	}
	return w, b
}

// TestAnsweringClocks: members alike are told apart by their clocks, never more than there are.
func TestAnsweringClocks(t *testing.T) {
	t.Parallel()
	pool := func(n int, hz uint32, per fakenet.Offset) func(uint64) *fakenet.World {
		return func(s uint64) *fakenet.World {
			w, _ := clockedVIP(s, n, hz, per)
			return w
		}
	}
	for name, c := range map[string]struct {
		world          func(seed uint64) *fakenet.World
		clocks, most   int // in each network
		members        int // counted at most; below 2 none may be
		each, anyCount bool
	}{
		"four of 250 Hz, one clock each":       {world: pool(4, 250, fakenet.Global), clocks: 3, most: 4, members: 4},
		"three of 100 Hz, one clock each":      {world: pool(3, 100, fakenet.Global), clocks: 2, most: 3, members: 3},
		"four of 1,000 Hz, offsets by address": {world: pool(4, 1000, fakenet.PerHostPair), clocks: 3, most: 4},
		"near miss: one server":                {world: fakenet.Clean, clocks: 1, most: 1},
		"near miss: one server of 250 Hz": {world: func(s uint64) *fakenet.World {
			w := fakenet.Clean(s)
			w.Hosts[0].Clock.Hz, w.Hosts[0].Clock.Per = 250, fakenet.Global
			return w
		}, clocks: 1, most: 1},
		"near miss: offsets per connection":    {world: pool(4, 1000, fakenet.PerFlow), each: true},
		"near miss: a full proxy before three": {world: func(s uint64) *fakenet.World { return fakenet.FullProxy(s, 3, 0, false, false) }, clocks: 1, most: 1},
		"near miss: the balancer has four addresses": {world: func(s uint64) *fakenet.World {
			w, b := clockedVIP(s, 3, 1000, fakenet.PerHostPair)
			first := b.SNAT.Addrs[0]
			b.SNAT.Addrs = append(b.SNAT.Addrs, first.Prev(), first.Prev().Prev(), first.Next())
			return w
		}, anyCount: true},
		"near miss: a path that jumps, 5 % loss": {world: func(s uint64) *fakenet.World {
			return lose(fakenet.Jittery(s, 20*time.Millisecond, 30*time.Millisecond), 0.05)
		}, clocks: 1, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(15) {
				res := investigate(c.world(seed), seed, 10, false)
				r := &res.diagnosis.Responders
				if !c.anyCount && (r.Clocks < c.clocks || r.Clocks > c.most) || r.Each != c.each {
					t.Errorf("seed %d: %d clocks over %d flows, each its own: %v; %d unplaced", seed, r.Clocks, r.Flows, r.Each, r.Unplaced)
				}
				got := 0
				if i := slices.IndexFunc(res.diagnosis.Measurements, func(m diagnose.Measurement) bool { return m.Name == diagnose.PoolMembers }); i >= 0 {
					got = res.diagnosis.Measurements[i].Value
				}
				if got > c.members || c.members > 0 && got < c.clocks {
					t.Errorf("seed %d: %d members counted", seed, got)
				}
			}
		})
	}
}

// TestLossOfOneClock: members are alike but for their clocks, and one loses SYNs before it answers: the causes say which.
func TestLossOfOneClock(t *testing.T) {
	t.Parallel()
	told, wrong := 0, 0
	const networks = 15
	for seed := range uint64(networks) {
		w, b := clockedVIP(seed, 3, 250, fakenet.Global)
		b.Members[0].Elements = []fakenet.Element{fakenet.Drop(fakenet.Chance(0.6, fakenet.SYNs))}
		res := investigate(w, seed, 10, false)
		d := &res.diagnosis
		for i := range d.Responders.List {
			if x := &d.Responders.List[i]; x.LossyFlows == 0 && strings.Contains(strings.Join(d.Responders.Apart, "\n"), "loses more than the rest: "+x.Name+",") {
				wrong++
			}
		}
		if slices.ContainsFunc(d.Causes, func(c diagnose.Cause) bool {
			return slices.ContainsFunc(c.Evidence, func(s string) bool { return strings.HasPrefix(s, "loses more than the rest: ") })
		}) {
			told++
		}
	}
	if told < networks*2/3 || wrong > 0 {
		t.Errorf("said of a cause in %d of %d networks, of a member without loss in %d", told, networks, wrong)
	}
}
