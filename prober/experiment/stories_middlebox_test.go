package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// strippedBack loses the timestamps of SYN-ACKs alone, which leaves a hole of padding.
func strippedBack(seed uint64) *fakenet.World {
	w, _ := fakenet.Server(seed, fakenet.StripTimestamps(fakenet.SYNACKs))
	return w
}

func middleboxStories() []story {
	healthy := only(diagnose.Healthy)
	return []story{
		{name: "timestamps taken out of the SYN", right: either(diagnose.MiddleboxTSStripped, diagnose.Healthy), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.TSStripped(seed) }},
		{name: "timestamps taken out of the SYN, 5 % loss", rare: chance, right: either(diagnose.MiddleboxTSStripped, diagnose.ForwardSYNLoss, diagnose.SYNACKLoss),
			quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.TSStripped(seed), 0.05) }},
		{name: "timestamps taken out of the SYN-ACK", right: only(diagnose.MiddleboxTSStripped), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return strippedBack(seed) }},
		{name: "timestamps taken out of the SYN-ACK, 5 % loss", rare: chance, right: only(diagnose.MiddleboxTSStripped), share: 1, also: lossy(),
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(strippedBack(seed), 0.05) }},
		{name: "near miss: the server has none", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				w.Hosts[0].Look.NoTimestamps = true
				return w
			}},
		{name: "near miss: this host has none", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				w.Client.NoTimestamps = true
				return w
			}},
		{name: "this host has no timestamps, 5 % loss", rare: chance, right: either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := lose(fakenet.Clean(seed), 0.05)
				w.Client.NoTimestamps = true
				return w
			}},
		{name: "timestamps rewritten one way", right: only(diagnose.MiddleboxTSecrCorrupt), also: []diagnose.Verdict{diagnose.ClientPAWSReject}, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.TSRewritten(seed) }},
		{name: "timestamps rewritten one way, 5 % loss", rare: chance, right: only(diagnose.MiddleboxTSecrCorrupt), share: 1,
			also:  append(lossy(), diagnose.ClientPAWSReject),
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.TSRewritten(seed), 0.05) }},
		{name: "near miss: timestamps rewritten both ways", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.TSNormalized(seed) }},
	}
}

func proberStories() []story {
	healthy := only(diagnose.Healthy)
	return []story{
		{name: "ring drops", right: only(diagnose.ProberLocalDrop), also: []diagnose.Verdict{diagnose.InsufficientSamples}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.CaptureDrops(seed, upTo(r, 0.005, 0.3)) }},
		{name: "ring drops, 5 % loss", rare: chance, right: only(diagnose.ProberLocalDrop), also: append(lossy(), diagnose.InsufficientSamples), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.CaptureDrops(seed, upTo(r, 0.005, 0.3)), 0.05)
			}},
		{name: "this host loses its own SYNs", right: only(diagnose.ProberLocalDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.LocalLoss(seed, upTo(r, 0.05, 0.4)) }},
		{name: "clock set", plain: true, right: only(diagnose.ProberClockStep), share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ClockStep(seed, time.Millisecond, lasting(r, -time.Hour, time.Hour)+time.Second)
			}},
		{name: "near miss: without a capture", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Unprivileged(seed) }},
		{name: "without a capture, 5 % loss", quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.Unprivileged(seed), 0.05) }},
		{name: "without a capture, blackhole", quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.Blackhole(seed, 3)
				w.Tap.Off, w.Tap.Why = true, "open a packet socket: operation not permitted"
				return w
			}},
		{name: "near miss: this host's own NAT", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.LocalDNAT(seed) }},
	}
}
