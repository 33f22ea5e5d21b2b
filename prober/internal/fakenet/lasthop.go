package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// LastHop is the host on the vantage's own link that hands packets to it: the server itself, or a router. It must know the
// vantage's MAC to do so, and what it cannot yet deliver waits in its neighbour queue.
type LastHop struct {
	Addr netip.Addr
	// Knows: the vantage's addresses are in its table from the start. Strangers lists addresses that are not, all the same.
	Knows     bool
	Strangers []netip.Addr
	// Verifies: what it knows is stale, so that 5 s after it first used it, it asks by unicast whether the vantage is still there, and goes on sending.
	Verifies bool
	// Queue of an unresolved entry in packets; 0 means DefaultQueue.
	Queue int
	// Learns the vantage from the vantage's own requests, as every kernel does whose arp_ignore does not forbid it.
	Learns bool
	// Moved is where the address lives now if not at the MAC that the vantage remembers: frames to the old one vanish.
	Moved wire.MAC
	// LinkLose is the chance that the link between it and the vantage loses a segment, either way.
	LinkLose float64
	// Suspects swallows what comes from any address but the vantage's own: port security, anti-spoofing. Proxied: something on the link answers
	// its requests in place of whoever is asked.
	Suspects, Proxied bool

	table Resolver
	ready bool
}

func broadcast() wire.MAC { return wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// linkDelay is how long a frame takes on the link between the vantage and its last hop.
const linkDelay = 20 * time.Microsecond

// Take implements Element.
func (l *LastHop) Take(h Hop, p *Packet) {
	if p.Dir == Out {
		switch {
		case l.Moved != (wire.MAC{}) && p.mac != l.Moved:
			return
		case l.Suspects && p.Seg.Src.Addr() != h.path.w.Client.Source, h.Chance(l.LinkLose):
			return
		}
		h.Pass(p)
		return
	}
	l.prepare(h)
	to := p.Seg.Dst.Addr()
	if p.ICMP != nil {
		to = p.ICMP.To
	}
	l.table.send(to, p)
}

func (l *LastHop) prepare(h Hop) {
	if l.ready {
		return
	}
	l.ready = true
	w := h.path.w
	l.table.w, l.table.Queue, l.table.Warm = w, l.Queue, l.Knows
	l.table.Stale = l.Verifies
	l.table.mac = func(netip.Addr) wire.MAC { return w.Client.MAC }
	l.table.emit = func(i int, p *Packet) {
		if !h.Chance(l.LinkLose) {
			h.PassAfter(time.Duration(i)*time.Microsecond, p)
		}
	}
	l.table.ask = func(a netip.Addr, to wire.MAC) { l.ask(w, a, to) }
	for _, a := range l.Strangers {
		l.table.forget(a)
	}
}

// ask sends who-has over the link; the vantage answers for its own.
func (l *LastHop) ask(w *World, a netip.Addr, to wire.MAC) {
	mac := macOf(l.Addr)
	w.After(linkDelay, func() {
		w.neighborFrame(observe.NeighborEvent{Kind: observe.NeighborRequest, Sender: l.Addr, Target: a,
			SenderMAC: mac.String(), FrameMAC: mac.String(), Unicast: !to.IsBroadcast()})
		s, ok := w.answers(a)
		if !ok {
			return
		}
		w.After(s.Delay+10*time.Microsecond, func() {
			w.neighborFrame(observe.NeighborEvent{Outgoing: true, Kind: observe.NeighborReply, Sender: a, Target: l.Addr,
				SenderMAC: s.MAC.String(), FrameMAC: s.MAC.String()})
			w.After(linkDelay, func() { l.table.learn(a, s.MAC) })
		})
	})
}

// heard is a request of the vantage's on the link, from which the asked one learns who asks.
func (l *LastHop) heard(w *World, asker, target netip.Addr, mac wire.MAC) {
	if l.Learns && target == l.Addr {
		l.prepare(Hop{w.path, 0})
		l.table.learn(asker, mac)
	}
}

// Forget deletes the vantage from the last hop's table, as a first contact would find it.
func (w *World) Forget() {
	w.Near.prepare(Hop{w.path, 0})
	w.Near.table.forget(w.Client.Source)
}

// Chill deletes the vantage's own entry of its next hop towards the target.
func (w *World) Chill() {
	w.begin()
	w.Client.Neighbors.forget(w.Client.NextHop(w.Target.Addr()))
}
