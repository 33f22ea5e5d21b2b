package experiment_test

import (
	"math/rand/v2"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// stampFilter drops SYNs by their timestamps, at the target's port alone.
func stampFilter(seed uint64, hits func(wire.TSval, bool) bool) *fakenet.World {
	w, _ := fakenet.Server(seed, fakenet.Drop(func(_ fakenet.Hop, p *fakenet.Packet) bool {
		val, _, ok := p.Seg.Options.Timestamps()
		return p.SYN() && p.Dir == fakenet.Out && p.Seg.Dst.Port() == 80 && hits(val, ok)
	}))
	return w
}

// nearOnly is a listener that drops what has a TTL below least.
func nearOnly(seed uint64, least uint8) *fakenet.World {
	w, _ := fakenet.Server(seed, fakenet.Drop(func(h fakenet.Hop, p *fakenet.Packet) bool {
		return fakenet.TCP(h, p) && p.Dir == fakenet.Out && p.Seg.Dst.Port() == 80 && p.Seg.HopLimit < least
	}))
	return w
}

func portStories() []story {
	return []story{
		{name: "SYNs with timestamps dropped at one port", right: only(diagnose.ACLDrop), share: 0.9,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				return stampFilter(seed, func(_ wire.TSval, ok bool) bool { return ok })
			}},
		{few: true, name: "near miss: SYNs of half of all TSvals dropped at one port, by a bit", quiet: true, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				bit := uint(between(r, 0, 29))
				return stampFilter(seed, func(v wire.TSval, ok bool) bool { return ok && v>>bit&1 == 1 })
			}},
		{name: "a listener with a minimum TTL", right: only(diagnose.ACLDrop), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return nearOnly(seed, uint8(between(r, 65, 255))) }},
		{name: "near miss: a minimum TTL that every host's has", right: only(diagnose.Healthy), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return nearOnly(seed, 64) }},
	}
}
