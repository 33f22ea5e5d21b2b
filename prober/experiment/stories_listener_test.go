package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// guarded is a server that forgets slowly how many SYNs a source has sent to its port, and drops those of one that has sent too many.
func guarded(seed uint64, r *rand.Rand) *fakenet.World {
	w, _ := fakenet.Server(seed, &fakenet.Limiter{Rate: upTo(r, 0.0003, 0.01), Burst: between(r, 3, 40), PerSource: true, Match: fakenet.Both(fakenet.SYNs, fakenet.ToPorts(80))})
	return w
}

// alone is a vantage of one address.
func alone(w *fakenet.World) *fakenet.World {
	w.Client.Others = nil
	return w
}

func listenerStories() []story {
	overflow, healthy := only(diagnose.AcceptQueueOverflow), only(diagnose.Healthy)
	return []story{
		{name: "nobody accepts, backlog 1 to 30", right: overflow, share: 0.75,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.AcceptFull(seed, between(r, 1, 30)) }},
		{name: "nobody accepts, 3 % loss", right: overflow, share: 0.3, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.AcceptFull(seed, between(r, 1, 30)), 0.03)
			}},
		{name: "nobody accepts, and one address to ask from", right: overflow, share: 0.25, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return alone(fakenet.AcceptFull(seed, between(r, 1, 30)))
			}},
		{name: "nobody accepts, backlog 1 to 5, and one address to ask from", right: overflow, share: 0.7, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return alone(fakenet.AcceptFull(seed, between(r, 1, 5)))
			}},
		{name: "nobody accepts, no cookies, and one address to ask from", right: overflow, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := alone(fakenet.AcceptFull(seed, between(r, 1, 30)))
				w.Hosts[0].Ports[80].Cookies = fakenet.CookiesOff
				return w
			}},
		{name: "nobody accepts, 3 % loss, and one address to ask from", right: overflow, quiet: true, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(alone(fakenet.AcceptFull(seed, between(r, 1, 5))), 0.03)
			}},
		{name: "a guard counts the SYNs of each source", right: only(diagnose.SYNRateLimited), share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := guarded(seed, r)
				w.Client.Others = []netip.Addr{w.Client.Source.Next()}
				return w
			}},
		{name: "a guard counts the SYNs of each source, and one address to ask from", quiet: true,
			world: guarded},
		{name: "a guard counts the SYNs of each source, cookies always, and one address to ask from", quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := guarded(seed, r)
				w.Hosts[0].Ports[80].Cookies = fakenet.CookiesAlways
				return w
			}},
		{name: "a guard counts the SYNs of each source, a deferred accept, and one address to ask from", quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := guarded(seed, r)
				w.Hosts[0].Ports[80].DeferAccept = between(r, 1, 4)
				return w
			}},
		{name: "a guard counts the SYNs of each source, much is lost, and one address to ask from", also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := guarded(seed, r)
				w.Hosts[0].Ports[80].Cookies = []fakenet.Cookies{fakenet.CookiesOnFull, fakenet.CookiesAlways}[r.IntN(2)]
				return lose(w, upTo(r, 0.02, 0.5))
			}},
		{name: "a guard counts the SYNs of each source before a SYN proxy, and one address to ask from", quiet: true, also: []diagnose.Verdict{diagnose.SYNCookiesActive, diagnose.LBFullProxyMasks},
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &fakenet.Limiter{Rate: upTo(r, 0.0003, 0.01), Burst: between(r, 3, 40), PerSource: true, Match: fakenet.Both(fakenet.SYNs, fakenet.ToPorts(80))},
					fakenet.NewSYNProxy(seed))
				return w
			}},
		{name: "near miss: nobody accepts, backlog 1,000", right: healthy, share: 1, also: overflow[0],
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.AcceptFull(seed, 1000) }},
		{name: "near miss: accepts slowly, queue deep enough", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				w.Hosts[0].Ports[80].Backlog = 64
				w.Hosts[0].Ports[80].App.Every = lasting(r, time.Millisecond, 4*time.Millisecond)
				return w
			}},
		{name: "accepts too slowly for a burst", right: overflow, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				w.Hosts[0].Ports[80].Backlog = between(r, 1, 4)
				w.Hosts[0].Ports[80].App.Every = lasting(r, 50*time.Millisecond, 400*time.Millisecond)
				return w
			}},
		{name: "full queue resets", right: either(diagnose.AbortOnOverflow, diagnose.AcceptQueueOverflow), share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.AbortOnOverflow(seed, between(r, 1, 6)) }},
		{name: "near miss: the application resets", also: []diagnose.Verdict{diagnose.LBFullProxyMasks}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				w.Hosts[0].Ports[80].App.Close = []fakenet.AppClose{fakenet.ResetAtOnce, fakenet.ResetOnData}[r.IntN(2)]
				w.Hosts[0].Ports[80].App.Delay = lasting(r, 0, 50*time.Millisecond)
				return w
			}},
		{name: "near miss: the application closes at once", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				w.Hosts[0].Ports[80].App.Close = fakenet.CloseAtOnce
				return w
			}},
		{name: "deferred accept", right: healthy, also: []diagnose.Verdict{diagnose.DeferAcceptBenign}, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.DeferAccept(seed) }},
		{name: "deferred accept, 3 % loss", rare: chance, also: append(lossy(), diagnose.DeferAcceptBenign), quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.DeferAccept(seed), 0.03) }},
		{name: "SYN cookies always", right: healthy, also: []diagnose.Verdict{diagnose.SYNCookiesActive}, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.SYNCookies(seed) }},
		{name: "SYN cookies always, 5 % loss", rare: chance, also: append(lossy(), diagnose.SYNCookiesActive), quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.SYNCookies(seed), 0.05) }},
		{name: "SYN queue full, no cookies", right: only(diagnose.SYNQueueFullDrop),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SYNQueueFull(seed, 64, between(r, 65, 200))
			}},
		{name: "SYN queue nearly full, no cookies", right: only(diagnose.SYNQueueFullDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SYNQueueFull(seed, 64, between(r, 40, 64))
			}},
		{name: "nobody listens", right: only(diagnose.PortClosed), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Closed(seed) }},
		{name: "nobody listens, 5 % loss", right: only(diagnose.PortClosed), share: 1, also: lossy(),
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.Closed(seed), 0.05) }},
	}
}
