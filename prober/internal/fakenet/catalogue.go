package fakenet

import "time"

// Named is a world by the name of the lab's scenario that has the same fault.
type Named struct {
	Name string
	Make func(seed uint64) *World
}

// Catalogue lists a world for every scenario of the lab, at the lab's own parameters where it has any.
func Catalogue() []Named {
	all := neighborhood()
	all = append(all, servers()...)
	all = append(all, pools()...)
	return append(all, paths()...)
}

func neighborhood() []Named {
	const delay = 20 * time.Millisecond
	return []Named{
		{"clean", Clean},
		{"clean-vip", func(s uint64) *World { return CleanVIP(s, 3) }},
		{"jittery", func(s uint64) *World { return Jittery(s, 40*time.Millisecond, 30*time.Millisecond) }},
		{"arp-client", func(s uint64) *World { return LocalQueue(s, 3, delay) }},
		{"arp-server", func(s uint64) *World { return RemoteQueue(s, 3, delay) }},
		{"arp-both", func(s uint64) *World { return BothQueues(s, 3, delay) }},
		{"arp-3s", func(s uint64) *World { return LocalQueue(s, 3, delay).SlowRTO(3 * time.Second) }},
		{"arp-dead", LocalDead},
		{"remote-arp-dead", RemoteDead},
		{"duplicate-ip", DuplicateAddress},
		{"vip-moved", VIPMoved},
		{"local-dnat", LocalDNAT},
		{"flapping", func(s uint64) *World { return Flapping(s, 300*time.Millisecond) }},
		{"table-full", TableFull},
		{"slow-arp", func(s uint64) *World { return SlowARP(s, 2, 100*time.Millisecond) }},
		{"prober-busy", Busy},
		{"local-loss", func(s uint64) *World { return LocalLoss(s, 0.3) }},
		{"capture-drops", func(s uint64) *World { return CaptureDrops(s, 0.2) }},
		{"clock-step", func(s uint64) *World { return ClockStep(s, 300*time.Microsecond, -2*time.Second) }},
		{"unprivileged", Unprivileged},
	}
}

func servers() []Named {
	return []Named{
		{"recycle-direct", func(s uint64) *World { return RecycleDirect(s, true) }},
		{"recycle-direct-6", func(s uint64) *World { return RecycleDirect(s, false) }},
		{"random-ts-client", RandomTSClient},
		{"accept-full", func(s uint64) *World { return AcceptFull(s, 1) }},
		{"accept-full-3rd-ack", func(s uint64) *World { return Far(AcceptFull(s, 1), 2500*time.Microsecond) }},
		{"abort-on-overflow", func(s uint64) *World { return AbortOnOverflow(s, 1) }},
		{"defer-accept", DeferAccept},
		{"synq-full", func(s uint64) *World { return SYNQueueFull(s, 64, 64) }},
		{"syncookies", SYNCookies},
		{"cookies-over-backlog", func(s uint64) *World { return CookiesOverBacklog(s, 4) }},
		{"closed", Closed},
		{"slow-synack", func(s uint64) *World { return SlowSYNACK(s, 1300*time.Millisecond) }},
		{"timewait-snat-reuse", func(s uint64) *World { return TimeWaitReuse(s, 4) }},
		{"port-reuse", ReusedPort},
	}
}

func pools() []Named {
	return []Named{
		{"recycle-vip", func(s uint64) *World { return RecycleVIP(s, 2, 1) }},
		{"monitor-own-clock", func(s uint64) *World { return ClockConflict(s, 500_000_000, true, true) }},
		{"monitor-separate-snat", func(s uint64) *World { return ClockConflict(s, 500_000_000, false, true) }},
		{"monitor-no-ts", func(s uint64) *World {
			w := ClockConflict(s, 500_000_000, true, false)
			w.Client.NoTimestamps = true
			return w
		}},
		{"cal-snat", CALSNAT},
		{"l7-proxy", func(s uint64) *World { return FullProxy(s, 2, 0, false, true) }},
		{"l7-monitor", func(s uint64) *World { return L7Monitor(s, 2) }},
		{"synproxy", func(s uint64) *World { return Synproxy(s, false) }},
		{"synproxy-dead", func(s uint64) *World { return Synproxy(s, true) }},
		{"proxy-hang", func(s uint64) *World { return FullProxy(s, 3, 1, false, false) }},
		{"proxy-reset", func(s uint64) *World { return FullProxy(s, 3, 1, true, false) }},
		{"blackhole-1of3", func(s uint64) *World { return Blackhole(s, 3) }},
		{"blackhole-round-robin", func(s uint64) *World { return BlackholeRoundRobin(s, 3) }},
		{"refuse-1of3", func(s uint64) *World { return Refusing(s, 3) }},
		{"mixed-backends", func(s uint64) *World { return Mixed(s, 4) }},
		{"pool-empty", func(s uint64) *World { return PoolEmpty(s, EmptyUnreachable) }},
		{"late-reset", func(s uint64) *World { return LateReset(s, 15*time.Second) }},
	}
}

func paths() []Named {
	return []Named{
		{"syn-ratelimit", func(s uint64) *World { return RateLimit(s, 5, 5) }},
		{"syn-loss-30", func(s uint64) *World { return SYNLoss(s, 0.3) }},
		{"synack-loss", func(s uint64) *World { return SYNACKLoss(s, 0.3) }},
		{"loss-5", func(s uint64) *World { return Loss(s, 0.05) }},
		{"reordered", func(s uint64) *World { return Reordered(s, 0.2, 0.1, 3*time.Millisecond) }},
		{"snat-exhaustion", func(s uint64) *World { return SNATPool(s, 4, 0, 0) }},
		{"snat-race", func(s uint64) *World { return SNATRace(s, 64) }},
		{"conntrack-limit", func(s uint64) *World { return ConntrackLimit(s, 4) }},
		{"stateful", Stateful},
		{"ecmp-loss", func(s uint64) *World { return ECMPLoss(s, 2, 0.5) }},
		{"pmtu-blackhole", func(s uint64) *World { return MTUBlackhole(s, 1000) }},
		{"tlp-only", func(s uint64) *World { return TailDelayed(s, 30*time.Millisecond) }},
		{"ts-stripped", TSStripped},
		{"ts-rewritten", TSRewritten},
		{"ts-normalized", TSNormalized},
		{"acl-drop", func(s uint64) *World { return ACL(s, false) }},
		{"acl-prohibited", func(s uint64) *World { return ACL(s, true) }},
		{"tcp-filtered", EchoOnly},
		{"rp-filter", RPFilter},
	}
}
