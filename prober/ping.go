package prober

import (
	"container/heap"
	crand "crypto/rand"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// livePing is one echo request in execution. It is guarded by the engine's lock.
type livePing struct {
	way  *way
	dst  netip.Addr
	src  netip.Addr
	key  pingKey
	body [plan.PingOctets]byte // drawn at random: a reply that returns it was made by one who has seen the request
	open bool
	last [2]sighting
}

// pingKey is what a reply is found by.
type pingKey struct{ id, seq uint16 }

// pingRef is whose an echo request is.
type pingRef struct {
	run *run
	i   int
}

// Why an echo request is not sent.
const (
	pingAlone   = "no raw shot of the burst goes to this address"
	pingUnnamed = "every identifier and sequence number that was tried is in use"
)

// carrier is the group of raw shots that a ping goes with; nil: there is none.
func (r *run) carrier(p *plan.Ping) *group {
	i := slices.IndexFunc(r.groups, func(g *group) bool { return g.raws > 0 && g.dst.Addr() == p.Dst.Unmap() })
	if i < 0 {
		return nil
	}
	return r.groups[i]
}

// pingsWith counts the pings that a group of shots carries: they are paid for as its flows are.
func (r *run) pingsWith(g *group) int {
	n := 0
	for i := range r.burst.Pings {
		if r.carrier(&r.burst.Pings[i]) == g {
			n++
		}
	}
	return n
}

// readyPings gives every ping that can be sent its way, its numbers and its octets.
func (e *engine) readyPings(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.pings = make([]livePing, len(r.burst.Pings))
	for i := range r.pings {
		if why := e.readyPing(r, i); why != "" {
			r.corr.PingRefused(i, why)
		}
	}
}

func (e *engine) readyPing(r *run, i int) string {
	p, g := &r.pings[i], r.carrier(&r.burst.Pings[i])
	switch {
	case g == nil:
		return pingAlone
	case g.err != nil:
		return g.err.Error()
	case g.raw.whyNotRaw() != "":
		return g.raw.whyNotRaw()
	}
	key, ok := e.pingNumbers()
	if !ok {
		return pingUnnamed
	}
	*p = livePing{way: g.raw.way, dst: g.dst.Addr().WithZone(""), src: g.path.route.Src.WithZone(""), key: key, open: true}
	_, _ = crand.Read(p.body[:]) // it never fails (crypto/rand, Go 1.24)
	e.pings[key] = pingRef{r, i}
	r.open++
	return ""
}

// pingNumbers draws an identifier of our port range, which the capture lets pass, and a sequence number.
func (e *engine) pingNumbers() (pingKey, bool) {
	ports := e.host.SourcePorts
	for range 64 {
		key := pingKey{ports.Lo + uint16(rand.IntN(ports.Size())), uint16(rand.Uint32())}
		if _, used := e.pings[key]; !used {
			return key, true
		}
	}
	return pingKey{}, false
}

// schedulePings sets the timers of a burst that begins at start. The caller holds the lock.
func (e *engine) schedulePings(r *run, start time.Time) {
	for i := range r.pings {
		if r.pings[i].open {
			heap.Push(&e.timers, timer{at: start.Add(r.burst.Pings[i].Offset), run: r, ping: int32(i) + 1})
		}
	}
	if len(r.pings) > 0 {
		e.kick()
	}
}

// duePing puts a ping into the outbox. The caller holds the lock.
func (e *engine) duePing(r *run, i int, now time.Time, out *outbox) {
	p := &r.pings[i]
	if !p.open {
		return
	}
	r.corr.Pinging(i, now, p.src, p.key.id, p.key.seq)
	err := out.ping(entry{way: p.way, run: r, syn: -1, ping: i + 1},
		&wire.Echo{Src: p.src, Dst: p.dst, ID: p.key.id, Seq: p.key.seq, HopLimit: defaultHopLimit, Payload: p.body[:]})
	if err != nil {
		r.pingUnsent(i, err.Error())
	}
}

// pingUnsent notes that a ping was not sent. The caller holds the lock.
func (r *run) pingUnsent(i int, why string) {
	r.corr.PingRefused(i, why)
	r.settlePing(i)
}

// settlePing notes that a ping needs nothing more. The caller holds the lock.
func (r *run) settlePing(i int) {
	if p := &r.pings[i]; p.open {
		p.open = false
		if r.open--; r.open == 0 {
			r.finish()
		}
	}
}

// endPings keeps what has not been sent from leaving, when a burst is over.
func (e *engine) endPings(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range r.pings {
		r.settlePing(i)
	}
}

// forgetPings takes a run's pings out of the table. The caller holds the lock.
func (e *engine) forgetPings(r *run) {
	for i := range r.pings {
		if key := r.pings[i].key; e.pings[key].run == r {
			delete(e.pings, key)
		}
	}
}

// echo takes an echo request of ours as it leaves, or what answers one; false: the frame is no echo message. Whose it is stands in
// identifier and sequence number; that it is no guess of somebody's stands in the octets that we drew.
func (e *engine) echo(f *rawsock.Frame) bool {
	m := &e.rx.echo
	switch r := wire.ParseEcho(f.Net, m); r {
	case wire.ReasonNone:
	case wire.ReasonICMPType:
		return false
	default:
		e.stray("echo_" + r.String())
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ref, ok := e.pings[pingKey{m.ID, m.Seq}]
	switch {
	case !ok:
		e.strays["echo_of_others"]++
	case m.Reply == f.Outgoing:
		e.strays["echo_seen_twice"]++ // on the loopback device; and requests of others with our numbers
	default:
		ref.run.echoed(f, m, ref.i)
	}
	return true
}

// echoed records what the tap saw of ping i. The caller holds the engine's lock.
func (r *run) echoed(f *rawsock.Frame, m *wire.Echo, i int) {
	p := &r.pings[i]
	way, near, far := 0, m.Dst, m.Src
	if f.Outgoing {
		way, near, far = 1, m.Src, m.Dst
	}
	switch {
	case near != p.src || f.Outgoing && far != p.dst:
		r.corr.Stray("echo_between_others")
	case string(m.Payload) != string(p.body[:]):
		r.corr.Stray("echo_not_as_sent")
	case p.last[way].again(f):
		r.corr.Stray("stacked_device")
	case f.Outgoing:
		r.corr.PingOut(i, time.Unix(0, f.At))
		r.tape.keep(f, -1)
	default:
		r.corr.PingReply(i, observe.Reply{At: time.Unix(0, f.At), From: m.Src, HopLimit: m.HopLimit})
		r.tape.keep(f, -1)
		if m.Src == p.dst {
			r.settlePing(i)
		}
	}
}
