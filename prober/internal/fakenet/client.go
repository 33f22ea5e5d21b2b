package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Client is the vantage: its addresses, its kernel and its neighbour layer.
type Client struct {
	Others  []netip.Addr // more addresses of the vantage
	Source  netip.Addr   // what the route chooses where a shot names no source
	MAC     wire.MAC
	IfIndex int
	// Gateway is the next hop to every destination; invalid: destinations are on the link.
	Gateway netip.Addr
	// Ladder is when this kernel repeats a SYN, and HZ its timer frequency, which decides how late each repeat is.
	Ladder plan.Ladder
	HZ     int
	Clock  Clock
	// NoTimestamps is net.ipv4.tcp_timestamps=0.
	NoTimestamps bool
	// ECN is net.ipv4.tcp_ecn=1: the first SYN of a connect asks for it, and no repeat does (net/ipv4/tcp_output.c __tcp_retransmit_skb, 6.18).
	ECN      bool
	MSS      uint16
	HopLimit uint8
	// Neighbors is the neighbour table. Entries not there are resolved at first use, and are there from the start where Warm.
	Neighbors Resolver
	// Answers is how this host answers who-has for its addresses, and for any other that a responder of ours holds.
	Answers Station
	// Link is who is on the link; addresses not there answer at once.
	Link map[netip.Addr]Station
	// Ports are what the prober uses: the lower half for kernel connects, the upper for raw shots.
	Ports plan.PortRange
	// Scout makes the engine's own ordinary connect before the first raw shots of a path, as the engine does every 10 s.
	Scout bool
	// MayForget grants the deletion of one neighbour entry (CAP_NET_ADMIN).
	MayForget bool
	// LocalNAT is where this host's own OUTPUT chain sends every connect; invalid: nowhere else.
	LocalNAT netip.AddrPort
	// Lose is the chance that a packet of the kernel's is lost inside this host, before the tap (an OUTPUT filter, a full queue), and
	// Refuse the chance that a raw SYN is not taken for want of room (ENOBUFS).
	Lose, Refuse float64
	// SocketCost is the time that one connect(2) takes, Wake what passes between an event and the process hearing of it.
	SocketCost, Wake time.Duration

	synOptions, bareOptions wire.Options
	counters                map[string]int64
	scouted                 map[netip.Addr]scouted
}

// newClient is a Linux 6.18 host with everything at its default and its neighbours known.
func newClient(seed uint64) Client {
	return Client{
		Source: netip.AddrFrom4([4]byte{192, 0, 2, 10}), MAC: wire.MAC{2, 0, 0, 0, 0, 10}, IfIndex: 2,
		Ladder: plan.Linear(time.Second, 4, 10), HZ: 1000, MSS: 1460, HopLimit: 64,
		Clock:      Clock{Hz: 1000, Base: wire.TSval(mix(seed + 1)), Per: PerHostPair, Seed: mix(seed + 2)},
		Neighbors:  Resolver{Queue: DefaultQueue, Warm: true},
		Answers:    Station{MAC: wire.MAC{2, 0, 0, 0, 0, 10}},
		Ports:      plan.PortRange{Lo: 20000, Hi: 32767},
		SocketCost: 8 * time.Microsecond, Wake: 15 * time.Microsecond,
		counters: map[string]int64{},
	}
}

// NextHop is the neighbour that packets for dst go to.
func (c *Client) NextHop(dst netip.Addr) netip.Addr {
	if c.Gateway.IsValid() {
		return c.Gateway
	}
	return dst
}

// station is who answers for an address on the link.
func (c *Client) station(a netip.Addr) Station {
	s := c.Link[a]
	if s.MAC == (wire.MAC{}) {
		s.MAC = macOf(a)
	}
	return s
}

// macOf gives each address a MAC of its own.
func macOf(a netip.Addr) wire.MAC {
	h := hashAddr(7, a)
	return wire.MAC{2, byte(h >> 32), byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

// Tap is the capture at the vantage.
type Tap struct {
	// Off is a vantage without CAP_NET_RAW: no capture and no raw shots. Why says so in the observation.
	Off bool
	Why string
	// Lose is the chance that the ring drops a frame; what it dropped is counted, as PACKET_STATISTICS does.
	Lose float64
	// NoCounters leaves the kernel's counters out of the observation.
	NoCounters bool
	// Lag is the worst delay of a send, for the observation; StepAt and Step set the wall clock once, at that elapsed time.
	Lag    time.Duration
	StepAt time.Duration
	Step   time.Duration
	// Watch sees every segment that passes the tap; nil: nobody does.
	Watch func(at time.Time, out bool, seg *wire.Segment)

	drops uint32
}

// Clock is a host's timestamp clock (RFC 7323 §3.2).
type Clock struct {
	Hz   uint32     // ticks a second: 1000, 250 or 100 on Linux
	Base wire.TSval // at elapsed time 0
	Per  Offset
	Seed uint64 // of the offsets
}

// Offset says what a host adds to its clock.
type Offset uint8

// Global: nothing (Linux ≤ 4.9). PerFlow: a random offset per connection (4.10–4.11, and per port again from about 6.18.19).
// PerHostPair: one per pair of addresses (from 4.12; net/core/secure_seq.c secure_tcp_ts_off).
const (
	Global Offset = iota
	PerHostPair
	PerFlow
)

func (o Offset) String() string {
	switch o {
	case PerHostPair:
		return "per_host_pair"
	case PerFlow:
		return "per_flow"
	case Global:
	}
	return "global"
}

// At is the TSval of a segment that leaves on flow f at an elapsed time.
func (c *Clock) At(now time.Duration, f wire.Flow) wire.TSval {
	v := c.Base.Add(int64(now) / 1000 * int64(c.Hz) / int64(time.Second/1000))
	switch c.Per {
	case PerHostPair:
		v = v.Add(int64(uint32(hashAddrs(c.Seed, f))))
	case PerFlow:
		v = v.Add(int64(uint32(hashFlow(c.Seed, f))))
	case Global:
	}
	return v
}

// wheel is when a timer set now for d fires on a kernel with hz ticks a second: the timer wheel rounds up to a granule that grows
// eightfold with each level of 63 granules (kernel/time/timer.c calc_wheel_index, 6.18), so 1 s at 1000 Hz is up to 64 ms late.
func wheel(now, d time.Duration, hz int) time.Duration {
	tick := time.Second / time.Duration(max(hz, 1))
	start := int64(now / tick)
	delta := int64((d + tick - 1) / tick)
	level := 0
	for level < 8 && delta >= 63<<(3*level) {
		level++
	}
	expires := ((start+delta)>>(3*level) + 1) << (3 * level)
	return time.Duration(expires) * tick
}
