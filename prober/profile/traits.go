package profile

// Weight is how much a difference of a trait matters to connections.
type Weight uint8

// Informative: no connection fails or stalls of it. Notable: behaviour under loss, load or reordering differs. Grave: connections that one host
// serves stall or fail at the other.
const (
	Informative Weight = iota
	Notable
	Grave
)

func (w Weight) String() string {
	switch w {
	case Informative:
		return "informative"
	case Notable:
		return "notable"
	case Grave:
		return "grave"
	}
	return "unknown"
}

// Trait describes one value.
type Trait struct {
	Name   Name
	Title  string
	Unit   string
	Weight Weight
	// Method says how it is measured, Cost what that sends to the host, Means what a difference between two hosts is likely to come from and do.
	Method, Cost, Means string
	// OptIn names what permits the measurement where it is not made by itself; empty: it always is.
	OptIn string
	// Slack is the relative difference of two numbers that is no difference.
	Slack float64
}

// Traits lists every trait in the order of every face.
func Traits() []Trait {
	all := append(handshakeTraits(), otherTraits()...)
	for i := range all {
		all[i].Cost = costOf(all[i].Name)
	}
	return all
}

// Facts behind the texts: the SYN-ACK timer starts at TCP_TIMEOUT_INIT, 1 s since 3.1 (RFC 6298; include/net/tcp.h), 3 s before, and
// doubles; tcp_synack_retries is 5 by default. Linux offers options in one order (net/ipv4/tcp_output.c tcp_options_write, 6.18). TSval
// ticks in ms since 4.13 whatever CONFIG_HZ is, in jiffies before (net/ipv4/tcp_output.c), with an offset per pair of addresses since 4.10
// (net/core/secure_seq.c secure_tcp_ts_off; newer ones add the ports).
func handshakeTraits() []Trait {
	return []Trait{
		{Name: SYNACKRTO, Title: "first SYN-ACK repeat after", Unit: "s", Weight: Notable, Slack: 0.12,
			Method: "two SYN-ACKs are left unanswered and reset at the end",
			Means:  "the wait after a lost SYN-ACK or ACK: 1 s on Linux since 3.1, 3 s before; another value was set by BPF, a route (rto_min does not) or a balancer"},
		{Name: SYNACKRepeats, Title: "SYN-ACK repeats", Weight: Informative, Method: "the repeats of the same two, as long as was listened",
			Means: "tcp_synack_retries, 5 by default: a low value gives up on slow clients, 0 repeats are a SYN cookie or a proxy in front"},
		{Name: Options, Title: "options", Weight: Notable, Method: "kinds in the SYN-ACK to a SYN that offers them all",
			Means: "another stack, or a box between that takes options out"},
		{Name: MSS, Title: "MSS", Unit: "octets", Weight: Notable, Method: "of the SYN-ACK",
			Means: "another MTU at the host, advmss on its route, or a tunnel whose box clamps it: large segments may be lost on one way only"},
		{Name: WindowScale, Title: "window scale", Weight: Informative, Method: "of the SYN-ACK", Means: "other receive buffers (tcp_rmem, rmem_max) or another stack"},
		{Name: Window, Title: "first window", Unit: "octets", Weight: Informative, Method: "of the SYN-ACK, never scaled", Means: "other receive buffers, MSS or another stack"},
		{Name: SACK, Title: "SACK", Weight: Notable, Method: "permitted in the SYN-ACK", Means: "tcp_sack=0 or a box that strips it: recovery from loss takes a round trip per segment, or a time-out"},
		{Name: Timestamps, Title: "timestamps", Weight: Notable, Method: "in the SYN-ACK to a SYN that offers them",
			Means: "tcp_timestamps=0 or a box that strips them: no PAWS and no TIME_WAIT reuse at this host; per-host PAWS cannot bite"},
		{Name: TimestampHz, Title: "timestamp clock", Unit: "Hz", Weight: Informative, Method: "TSvals of SYN-ACK repeats against the time on the tap", Slack: 0.02,
			Means: "1000 Hz on Linux since 4.13; before, CONFIG_HZ (100, 250, 1000): another kernel or stack"},
		{Name: TimestampStart, Title: "timestamps begin", Weight: Informative, Method: "whether TSvals of several connections lie on one clock",
			Means: "one clock for a pair of addresses on Linux from 4.10, one per connection on other stacks, in the newest stable kernels (the offset counts the ports: seen on 6.18.44) and behind some proxies"},
		{Name: ECN, Title: "ECN", Weight: Informative, Method: "ECE in the SYN-ACK to an ECN-setup SYN (RFC 3168 §6.1.1)", Means: "tcp_ecn differs, or a box clears the bits or drops such SYNs"},
		{Name: InitialTTL, Title: "initial TTL", Weight: Informative, Method: "the TTL of the SYN-ACK, rounded up to 64, 128 or 255", Means: "another stack: 64 Linux and BSD, 128 Windows, 255 network devices"},
		{Name: Hops, Title: "hops", Unit: "hops", Weight: Informative, Method: "initial TTL less the TTL that came", Means: "another segment or site, or one more box on the way"},
		{Name: HandshakeTime, Title: "handshake", Unit: "s", Weight: Informative, Method: "median of SYN to SYN-ACK on the tap", Means: "distance, or load"},
	}
}

func otherTraits() []Trait {
	return []Trait{
		{Name: SYNCookies, Title: "SYN cookies", Weight: Notable, Method: "whether the SYN-ACKs left unanswered are repeated, and what is alike in all TSvals where they are not",
			Means: "the listener keeps no request (tcp_syncookies=2, a full queue) or a SYN proxy answers for it"},
		{Name: DeferAccept, Title: "defers accept", Weight: Informative, Method: "two connections completed, silent until the end; a listener that waits for data repeats its SYN-ACK",
			Means: "TCP_DEFER_ACCEPT on one listener only: clients that wait for the server's greeting hang"},
		{Name: ClosedPort, Title: "closed port", Weight: Notable, Method: "one SYN each to three high ports",
			Means: "a packet filter in front of one host: what it does not permit is silent there"},
		{Name: InitialWindow, Title: "initial window", Unit: "segments", Weight: Notable, OptIn: "--request",
			Method: "a request on a connection with MSS 128 whose data we never acknowledge; octets before the first repeat",
			Means:  "initcwnd of a route (10 segments by RFC 6928, Linux since 2.6.39; 3 before): short answers take more round trips"},
		{Name: DataRTO, Title: "first data repeat after", Unit: "s", Weight: Notable, OptIn: "--request", Slack: 0.5,
			Method: "the same connections", Means: "tail loss probe (about two round trips, Linux since 3.10) or RTO (200 ms at least by default): what a lost last segment costs"},
		{Name: Reordering, Title: "reordering tolerated", Unit: "segments", Weight: Notable, OptIn: "--request",
			Method: "nine answers whose first segment we never acknowledge: of each one more segment behind it, after a round trip made 100 ms long",
			Means:  "tcp_reordering (3 by default, RFC 5681 §3.2): a path that reorders more makes it repeat what is not lost and halve its rate; a higher value repairs losses later"},
		{Name: LossByTime, Title: "repeats by time (RACK)", Weight: Notable, OptIn: "--request",
			Method: "the same connections: whether fewer segments than that are followed by the repeat a quarter of the round trip later",
			Means:  "RACK (RFC 8985; Linux since 4.4, by timer since 4.18, tcp_recovery): without it a loss near the end of an answer costs a time-out"},
		{Name: TimeWaitISN, Title: "TIME_WAIT: higher ISN", Weight: Notable, OptIn: "--time-wait",
			Method: "connections without timestamps that the host closes first, then a SYN each of the same ports with a higher sequence number",
			Means:  "accepted by RFC 1122 §4.2.2.13 and Linux; else clients that take a port again too soon are refused, or stall until TIME_WAIT is over"},
		{Name: TimeWaitTimestamp, Title: "TIME_WAIT: newer timestamp", Weight: Notable, OptIn: "--time-wait",
			Method: "the same with timestamps: a lower sequence number and a newer timestamp",
			Means:  "accepted by RFC 6191 and Linux; else reuse of a port depends on the luck of its sequence number"},
		{Name: TimeWaitOldISN, Title: "TIME_WAIT: lower ISN", Weight: Informative, OptIn: "--time-wait",
			Method: "the same without timestamps: a lower sequence number",
			Means:  "an ACK of the old connection on Linux (the client resets it, and its next SYN is accepted: a stall of a second); accepted where nothing keeps TIME_WAIT (tcp_max_tw_buckets, a proxy)"},
		{Name: TimeWaitOldStamp, Title: "TIME_WAIT: older timestamp", Weight: Informative, OptIn: "--time-wait",
			Method: "the same with timestamps: a higher sequence number and an older timestamp",
			Means:  "an ACK of the old connection on Linux: behind one NAT address clients whose clocks differ meet it and stall for a second"},
		{Name: TimeWaitRST, Title: "TIME_WAIT: RST", Weight: Notable, OptIn: "--time-wait",
			Method: "an RST where the host expects our next octet, then a SYN that TIME_WAIT would not take",
			Means:  "tcp_rfc1337=1 ignores it (RFC 1337): a client that meets the old connection's ACK cannot end it and is kept out for a minute"},
		{Name: PerHostPAWS, Title: "per-host PAWS", Weight: Grave, OptIn: "--i-own-this-path",
			Method: "connections with a TSval of ours that the server closes first, then SYNs one tick apart",
			Means:  "tcp_tw_recycle=1 (removed in 4.12): clients behind one NAT address are refused at random"},
		{Name: NeighborQueue, Title: "neighbour queue", Unit: "packets", Weight: Grave, OptIn: "--neighbor-queue",
			Method: "bursts from borrowed addresses of the segment that the host does not know yet",
			Means:  "unres_qlen (3 packets before 3.3) or unres_qlen_bytes: a burst from a client that is new to it loses all but so many answers, and they stall for a second or three"},
		{Name: Backlog, Title: "listener backlog", Unit: "requests", Weight: Grave, OptIn: "--backlog",
			Method: "that many SYN-ACKs left unanswered for two seconds",
			Means:  "the backlog of listen(2), capped by somaxconn: bursts beyond it meet cookies or silence"},
		{Name: AbortOnOverflow, Title: "resets on overflow", Weight: Notable, OptIn: "--overflow",
			Method: "as many connections as the listener has room for, completed at once: what an ACK meets that finds the accept queue full",
			Means:  "tcp_abort_on_overflow: clients of a slow server are reset at once, in place of a SYN-ACK that is repeated until there is room"},
	}
}

// TraitOf returns the trait of a name.
func TraitOf(n Name) (Trait, bool) {
	for _, t := range Traits() {
		if t.Name == n {
			return t, true
		}
	}
	return Trait{}, false
}
