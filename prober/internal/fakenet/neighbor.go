package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// DefaultQueue is how many SYNs or SYN-ACKs of 832 octets truesize an unresolved entry holds by default: 212,992 octets (Linux ≥
// 4.14, include/net/sock.h SK_WMEM_MAX).
const DefaultQueue = 256

// Station is how an address answers who-has.
type Station struct {
	MAC wire.MAC
	// Delay before the answer; Silent never answers, or not before Since.
	Delay  time.Duration
	Silent bool
	Since  time.Duration
	// Deaf is how many requests of one resolution go unheard before one is answered.
	Deaf int
	// Second is another MAC that answers as well, Behind after the first: a duplicate address. Zero: nobody.
	Second wire.MAC
	Behind time.Duration
}

// Resolver is a kernel's neighbour table with the queue of each entry that is being resolved (net/core/neighbour.c, 6.18: the queue
// drops from its head; requests leave at 0, 1 and 2 s, and at 3 s the entry fails).
type Resolver struct {
	// Queue is the capacity of an unresolved entry in packets; 0 means DefaultQueue.
	Queue int
	// Warm takes entries that were never asked for as resolved.
	Warm bool
	// Stale makes them stale as well: the next packet goes to the MAC that is remembered, and 5 s later the entry is verified.
	Stale bool
	// Full is a table beyond gc_thresh3: no entry can be made, and what is for an unknown neighbour is lost (neigh_alloc).
	Full bool
	// Retrans is the time between requests; 0 means 1 s (neigh.default.retrans_time_ms).
	Retrans time.Duration
	// HZ of the kernel's timers; 0 means 1000.
	HZ int

	entries map[netip.Addr]*neighbor
	// ask sends a request for an address, emit a packet that has found its MAC; failed gets what was queued when nobody answered.
	ask     func(a netip.Addr, to wire.MAC)
	emit    func(i int, p *Packet)
	failed  func(p *Packet)
	mac     func(a netip.Addr) wire.MAC // of an entry taken as resolved
	dropped func()
	refused func() // an entry, by a full table
	w       *World
}

type neighborState uint8

const (
	unknown neighborState = iota
	incomplete
	reachable
	stale
	probing
	failed
)

// neighbor is one entry.
type neighbor struct {
	addr    netip.Addr
	state   neighborState
	mac     wire.MAC
	queue   []*Packet
	asked   int
	updated time.Duration
	attempt int // generation of timers
}

const (
	solicitations = 3               // mcast_solicit and ucast_solicit
	delayProbe    = 5 * time.Second // delay_first_probe_time
)

func (r *Resolver) entry(a netip.Addr) *neighbor {
	n := r.entries[a]
	if n == nil {
		if r.entries == nil {
			r.entries = map[netip.Addr]*neighbor{}
		}
		n = &neighbor{addr: a}
		if r.Warm {
			n.state, n.mac = reachable, r.mac(a)
			if r.Stale {
				n.state = stale
			}
		}
		r.entries[a] = n
	}
	return n
}

func (r *Resolver) known(a netip.Addr) bool {
	switch r.entry(a).state {
	case reachable, stale, probing:
		return true
	case unknown, incomplete, failed:
	}
	return false
}

// forget deletes an entry; what it queued is lost.
func (r *Resolver) forget(a netip.Addr) {
	if n := r.entries[a]; n != nil {
		n.attempt++
	}
	if r.entries == nil {
		r.entries = map[netip.Addr]*neighbor{}
	}
	r.entries[a] = &neighbor{addr: a}
}

// send gives p the MAC of a, at once or once it is known.
func (r *Resolver) send(a netip.Addr, p *Packet) {
	n := r.entry(a)
	switch n.state {
	case stale:
		n.state = probing
		r.verify(n)
		fallthrough
	case reachable, probing:
		p.mac = n.mac
		r.emit(0, p)
		return
	case unknown, incomplete, failed:
	}
	if r.Full && n.state == unknown {
		if r.refused != nil {
			r.refused()
		}
		return
	}
	limit := r.Queue
	if limit <= 0 {
		limit = DefaultQueue
	}
	if len(n.queue) >= limit {
		n.queue = n.queue[1:]
		if r.dropped != nil {
			r.dropped()
		}
	}
	n.queue = append(n.queue, p)
	if n.state != incomplete {
		r.resolve(n)
	}
}

// resolve asks for the address until it answers or three requests were in vain.
func (r *Resolver) resolve(n *neighbor) {
	n.state, n.asked = incomplete, 0
	n.attempt++
	r.request(n, n.attempt, broadcast())
}

func (r *Resolver) request(n *neighbor, attempt int, to wire.MAC) {
	if n.attempt != attempt {
		return
	}
	if n.asked == solicitations {
		r.fail(n)
		return
	}
	n.asked++
	retrans, hz := r.Retrans, r.HZ
	if retrans == 0 {
		retrans = time.Second
	}
	if hz == 0 {
		hz = 1000
	}
	r.w.After(wheel(r.w.now, retrans, hz)-r.w.now, func() { r.request(n, attempt, to) })
	r.ask(n.addr, to)
}

func (r *Resolver) fail(n *neighbor) {
	n.state = failed
	n.attempt++
	queue := n.queue
	n.queue = nil
	for _, p := range queue {
		if r.failed != nil {
			r.failed(p)
		}
	}
}

// verify asks the old MAC of a used stale entry whether it is still there: after 5 s, by unicast.
func (r *Resolver) verify(n *neighbor) {
	n.attempt++
	attempt := n.attempt
	n.asked = 0
	r.w.After(delayProbe, func() { r.request(n, attempt, n.mac) })
}

// learn takes an answer, or a sender seen in a request or an announcement.
func (r *Resolver) learn(a netip.Addr, mac wire.MAC) {
	n := r.entry(a)
	n.attempt++
	n.state, n.mac, n.updated = reachable, mac, r.w.now
	queue := n.queue
	n.queue = nil
	for i, p := range queue {
		p.mac = mac
		r.emit(i, p)
	}
}
