package fakenet

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// World is a vantage and everything that it can reach. Its time persists from burst to burst and moves only in Run and Wait. One
// goroutine owns it. Configuration fields are set before the first Run.
type World struct {
	Client Client
	Tap    Tap
	// Target is what to probe; Members are the real servers behind it where the vantage can reach them directly.
	Target  netip.AddrPort
	Members []netip.AddrPort
	// Near is the last hop before the vantage: who must know its address to answer it.
	Near LastHop
	// OneWay is the delay of the path each way, at least 10 µs, and Jitter what may come on top, order being kept.
	OneWay, Jitter time.Duration
	// Lose is the chance that the path drops a packet, either way: background loss beside whatever else a world has.
	Lose float64
	// SYNs and Requests count what has left the vantage.
	SYNs, Requests int
	// Starved is when this host's program, kept from its CPU, sends a SYN that is due at a time: then or later, never before another that was due earlier. nil: then.
	Starved func(due time.Duration) time.Duration
	// Business is what others on this very host send to the target from its own address: a survey sees it.
	Business []*Primer
	// Hosts are the servers, for their counters and their state, and Balancer what stands before them, if anything does.
	Hosts    []*Host
	Balancer *Balancer

	rng     *rand.Rand
	seed    uint64
	now     time.Duration
	queue   queue
	path    *Path
	crowd   *Softnet // nil: this host's backlog never fills
	runs    []*run   // under way: the newest last, those that wait for a scout before it
	flows   map[wire.Flow]*flow
	tombs   []tomb
	belated []observe.Belated // SYN-ACKs of ended bursts that no burst was told of yet
	// What the link has answered, what the engine remembers of it, and requests that went unheard.
	replies, hops map[netip.Addr]reply
	unheard       map[netip.Addr]int
	borrowed      map[netip.Addr]bool // addresses that bursts have come from
	books         [2]*plan.PortBook   // kernel, raw
}

// New makes a world whose vantage reaches what stands at the end of the elements. The last of them must answer or swallow whatever
// it is given.
func New(seed uint64, target netip.AddrPort, elements ...Element) *World {
	w := &World{
		Client: newClient(seed), Target: target, OneWay: 250 * time.Microsecond, Jitter: 40 * time.Microsecond,
		Near: LastHop{Addr: target.Addr(), Knows: true},
		rng:  rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), seed: seed, flows: map[wire.Flow]*flow{},
		replies: map[netip.Addr]reply{}, hops: map[netip.Addr]reply{}, unheard: map[netip.Addr]int{},
	}
	all := append([]Element{&w.Near, &wireDelay{}}, elements...)
	w.path = &Path{w: w, near: w.receive, elements: all}
	for _, e := range elements {
		switch e := e.(type) {
		case *Host:
			w.Hosts = append(w.Hosts, e)
		case *Balancer:
			w.pool(e)
		}
	}
	return w
}

// Insert puts elements between the wire and what stands behind it, the first of them next to the wire. It must come before the first Run.
func (w *World) Insert(elements ...Element) {
	const fixed = 2 // the last hop and the wire
	w.path.elements = slices.Insert(w.path.elements, fixed, elements...)
}

// pool notes a balancer's members.
func (w *World) pool(b *Balancer) {
	w.Balancer = b
	for _, m := range b.Members {
		w.Hosts = append(w.Hosts, m.Host)
		w.Members = append(w.Members, m.Addr)
	}
}

// epoch is when every world begins. It is a whole second, as old kernels stamp what they remember in seconds.
const epoch = 1_700_000_000

// Now is the world's time.
func (w *World) Now() time.Time { return w.at(w.now) }

func (w *World) at(d time.Duration) time.Time { return time.Unix(epoch, 0).UTC().Add(d) }

// Elapsed is how long the world has lasted.
func (w *World) Elapsed() time.Duration { return w.now }

// Wait lets time pass between bursts: what is under way arrives, timers fire.
func (w *World) Wait(d time.Duration) {
	w.begin()
	w.advance(w.now+d, nil)
}

// After calls f once d has passed.
func (w *World) After(d time.Duration, f func()) { w.push(event{at: w.now + max(d, 0), call: f}) }

func (w *World) push(e event) { w.queue.push(e) }

// Rand is the world's one source of chance.
func (w *World) Rand() *rand.Rand { return w.rng }

// advance handles what happens until then, or until done says that it is enough.
func (w *World) advance(until time.Duration, done func() bool) {
	for len(w.queue.heap) > 0 && w.queue.heap[0].at <= until {
		if done != nil && done() {
			return
		}
		e := w.queue.pop()
		w.now = e.at
		if e.call != nil {
			e.call()
			continue
		}
		e.hop.enter(e.p)
	}
	if done == nil || !done() {
		w.now = max(w.now, until)
	}
}

// mix is the finaliser of splitmix64: well-spread bits from any number.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hashFlow is a keyed function of a flow, and hashAddrs of its addresses alone.
func hashFlow(seed uint64, f wire.Flow) uint64 {
	return mix(hashAddrs(seed, f) ^ uint64(f.Src.Port())<<16 ^ uint64(f.Dst.Port()))
}

func hashAddrs(seed uint64, f wire.Flow) uint64 {
	return mix(hashAddr(seed, f.Src.Addr()) ^ hashAddr(seed+1, f.Dst.Addr()))
}

func hashAddr(seed uint64, a netip.Addr) uint64 {
	b := a.As16()
	h := seed
	for i := 0; i < 16; i += 8 {
		var v uint64
		for _, x := range b[i : i+8] {
			v = v<<8 | uint64(x)
		}
		h = mix(h ^ v)
	}
	return h
}
