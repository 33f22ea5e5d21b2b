package experiment

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Queue measures how many packets the far side keeps for a neighbour that it is still asking for. A burst comes from a free address of
// the target's subnet, to which the far side owes an answer each, and the address is resolved only when all of it has been sent. Linux
// drops from the head of the queue (net/core/neighbour.c __neigh_event_send, 6.18), so the answers to exactly the last probes come, and
// their number is the queue's length. The same burst again, now that the address is known, shows what the path loses without the queue.
type Queue struct {
	Dst netip.AddrPort
	// Ports are tried for one that refuses; nil: Dst's own and a few that seldom are in use.
	Ports []uint16
	// Addrs are the free addresses to come from. Each serves one first contact: the far side remembers it for minutes.
	Addrs []netip.Addr
	// Size of the first burst; a queue that holds all of it is measured as "at least".
	Size int
	// HalfOpen is how many SYNs an open port may be asked at once.
	HalfOpen int
	// Delay of the answer to the far side's question: below 1 s, at which it asks again and listeners repeat their SYN-ACKs.
	Delay time.Duration
	MSS   uint16
	Rand  *rand.Rand
}

var _ Experiment = (*Queue)(nil)

// The bounds of a measurement. A burst of QueueSize passes what any default of Linux holds: 277 packets of 768 octets in 212,992. It stays below
// the 512 RSTs of 832 octets that may wait on a CPU of Linux for IPv4 (net/ipv4/ip_output.c __ip_append_data, 6.18: twice the send buffer of
// the socket that answers for no socket, net.core.wmem_default); where less may, the last RSTs of a burst are missing and not the first.
const (
	QueueSize     = 320
	QueueDelay    = 300 * time.Millisecond
	MinQueueDelay = time.Millisecond
	MaxQueueDelay = 900 * time.Millisecond
	// QueueContacts is how many fresh addresses one measurement asks for at most: two where nothing is lost and both agree.
	QueueContacts = 5
)

// Name implements Experiment.
func (q *Queue) Name() string { return "neighbor_queue" }

// Next implements Experiment.
func (q *Queue) Next(seen []observe.Observation) (plan.Burst, bool) {
	if len(seen) == 0 {
		return q.ports(), true
	}
	r := q.Result(seen)
	n := len(r.Contacts)
	switch {
	case r.Method == "", q.over(&r), r.open(seen) && n == 0:
		return plan.Burst{}, false
	case n > 0 && !r.controlled && r.Contacts[n-1].resolved():
		return q.known(&r), true
	case q.settled(&r) || n >= len(q.Addrs):
		return plan.Burst{}, false
	}
	return q.contact(&r), true
}

// Wants is how many more free addresses would settle what was seen so far; 0: none.
func (q *Queue) Wants(seen []observe.Observation) int {
	r := q.Result(seen)
	if len(seen) == 0 || r.Method == "" || q.over(&r) || q.settled(&r) {
		return 0
	}
	return max(1, need(&r)-len(r.Contacts))
}

// over reports whether more of the same would teach nothing.
func (q *Queue) over(r *QueueResult) bool {
	bad := 0
	for i := range r.Contacts {
		if !r.Contacts[i].resolved() {
			bad++
		}
	}
	return bad >= 2 && bad == len(r.Contacts) || len(r.Contacts) >= QueueContacts
}

// open reports whether the last burst could not even begin.
func (r *QueueResult) open(seen []observe.Observation) bool {
	return !seen[len(seen)-1].Captured
}

// seldom are ports that hosts seldom listen on: discard, tcpmux, chargen (RFC 863, 1078, 864) and one of the dynamic range.
func seldom() []uint16 { return []uint16{9, 1, 19, 65519} }

// The arms of the search for a port that answers.
const (
	armSYN = "SYN"
	armACK = "bare ACK"
)

// portTries is how often each port is asked.
const portTries = 2

// ports asks several ports at once, from this host's own address.
func (q *Queue) ports() plan.Burst {
	try := q.Ports
	if len(try) == 0 {
		try = append([]uint16{q.Dst.Port()}, seldom()...)
	}
	b := plan.Burst{Label: "which port refuses", Kind: plan.KindPorts, Listen: time.Second,
		Arms: []plan.Arm{{Name: armSYN, Via: plan.Raw, Script: q.script()}, {Name: armACK, Via: plan.Raw, Script: q.ack()}}}
	add := func(arm int, port uint16) {
		b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(len(b.Shots)) * 3 * time.Millisecond, Arm: arm,
			Flow: wire.Flow{Dst: netip.AddrPortFrom(q.Dst.Addr(), port)}})
	}
	for range portTries {
		for i, p := range try {
			if !slices.Contains(try[:i], p) {
				add(0, p)
			}
		}
		add(1, q.Dst.Port())
	}
	return b
}

// script is one SYN, never repeated, as this machine's kernel would send it.
func (q *Queue) script() plan.Script {
	start := wire.TSval(q.Rand.Uint32())
	return plan.Script{Options: wire.LinuxSYN(q.MSS, start, scale), Clock: plan.TSClock{Start: start, Hz: 1000}, Ladder: plan.Single(),
		OnSYNACK: plan.Reset}
}

// ack is one ACK of no connection.
func (q *Queue) ack() plan.Script {
	return plan.Script{First: wire.ACK, Ladder: plan.Single(), OnSYNACK: plan.Reset}
}

// contact is a burst from an address that the far side does not know.
func (q *Queue) contact(r *QueueResult) plan.Burst {
	n := len(r.Contacts)
	b := q.burst(r, q.Addrs[n], q.size(r))
	b.Label, b.Kind = "first contact", plan.KindQueue
	b.Borrow.Delay = q.delay(r)
	b.Listen = b.Borrow.Delay + r.quiet
	return b
}

// quietly is how long the way there and back may take: several of the slowest answers while ports were tried, and at least 400 ms.
func quietly(o *observe.Observation) time.Duration {
	slowest := time.Duration(0)
	for i := range o.Attempts {
		slowest = max(slowest, o.Attempts[i].Handshake)
	}
	return min(max(400*time.Millisecond, 4*slowest), 2*time.Second)
}

// openPortDelay keeps the answers of an open port apart from a listener's own repeats, 1 s after the SYN.
const openPortDelay = 400 * time.Millisecond

func (q *Queue) delay(r *QueueResult) time.Duration {
	d := min(max(q.Delay, MinQueueDelay), MaxQueueDelay)
	if r.Method == OpenPort {
		d = min(d, openPortDelay)
	}
	return d
}

// size of the next first contact: well beyond what is known of the queue already, and no more, so that little is sent in vain.
func (q *Queue) size(r *QueueResult) int {
	most := q.Size
	if most <= 0 {
		most = QueueSize
	}
	if r.Method == OpenPort {
		most = min(most, max(q.HalfOpen, 1))
	}
	for i := range r.Contacts {
		if c := &r.Contacts[i]; c.resolved() && c.Reading != QueueWhole {
			return min(most, max(64, 2*c.span()))
		}
	}
	return most
}

// known is the burst again from the address of the last contact.
func (q *Queue) known(r *QueueResult) plan.Burst {
	b := q.burst(r, r.Contacts[len(r.Contacts)-1].Addr, r.Contacts[len(r.Contacts)-1].Sent)
	b.Label, b.Kind, b.Listen = "the same, known", plan.KindKnown, r.quiet
	return b
}

// gap between two probes keeps their order; all of a burst still leaves within a millisecond.
const gap = 2 * time.Microsecond

func (q *Queue) burst(r *QueueResult, from netip.Addr, n int) plan.Burst {
	s := q.script()
	if r.Method == BareACK {
		s = q.ack()
	}
	s.Closed = r.Method == ClosedPort
	b := plan.Burst{Borrow: &plan.Borrow{Addr: from}, Arms: []plan.Arm{{Name: string(r.Method), Via: plan.Raw, Script: s}}}
	flow := wire.Flow{Src: netip.AddrPortFrom(from, 0), Dst: netip.AddrPortFrom(q.Dst.Addr(), r.Port)}
	for i := range n {
		b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(i) * gap, Flow: flow})
	}
	return b
}

// need is how many first contacts must agree: two, or three where the path loses packets, which now and then takes the first of the tail, or
// where one of them showed something else.
func need(r *QueueResult) int {
	if r.lossy() || r.differ {
		return 3
	}
	return 2
}

// settled reports whether enough first contacts agree, and chance does not.
func (q *Queue) settled(r *QueueResult) bool {
	return r.agreed >= need(r) && (r.State == QueueAtLeast || r.Chance < enough)
}

// enough is the chance below which a tail is no accident.
const enough = 1e-4
