package fakenet

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// lockTime is how long a kernel keeps an address that was just confirmed against another answer (neigh.default.locktime).
const lockTime = time.Second

// whoHas sends a request over the link and lets who is there answer.
func (w *World) whoHas(a netip.Addr, to wire.MAC) {
	c := &w.Client
	w.Requests++
	w.neighborFrame(observe.NeighborEvent{Outgoing: true, Kind: observe.NeighborRequest, Sender: c.Source, Target: a,
		SenderMAC: c.MAC.String(), FrameMAC: c.MAC.String(), Unicast: !to.IsBroadcast()})
	s := c.station(a)
	if w.Near.Moved != (wire.MAC{}) && a == c.NextHop(w.Target.Addr()) {
		s.MAC = w.Near.Moved
	}
	if !to.IsBroadcast() && to != s.MAC {
		return
	}
	w.After(linkDelay, func() {
		w.Near.heard(w, c.Source, a, c.MAC)
		if s.Silent && (s.Since == 0 || w.now < s.Since) {
			return
		}
		if w.unheard[a]++; w.unheard[a] <= s.Deaf {
			return
		}
		w.unheard[a] = 0
		w.reply(a, s.MAC, s.Delay)
		if s.Second != (wire.MAC{}) {
			w.reply(a, s.Second, s.Delay+s.Behind)
		}
	})
}

func (w *World) reply(a netip.Addr, mac wire.MAC, delay time.Duration) {
	w.After(delay+10*time.Microsecond+linkDelay, func() {
		w.neighborFrame(observe.NeighborEvent{Kind: observe.NeighborReply, Sender: a, Target: w.Client.Source,
			SenderMAC: mac.String(), FrameMAC: mac.String()})
		w.replies[a] = reply{mac, w.now}
		w.kernelHears(a, mac, false)
	})
}

// reply is the newest answer for an address.
type reply struct {
	mac wire.MAC
	at  time.Duration
}

// kernelHears is arp_process for an answer (net/ipv4/arp.c, 6.18): it makes no entry, and within lockTime of the last change only a
// gratuitous one overrides.
func (w *World) kernelHears(a netip.Addr, mac wire.MAC, gratuitous bool) {
	r := &w.Client.Neighbors
	n := r.entry(a)
	switch n.state {
	case unknown:
	case reachable, stale:
		if mac == n.mac || gratuitous || w.now-n.updated > lockTime {
			r.learn(a, mac)
		}
	case incomplete, probing, failed:
		r.learn(a, mac)
	}
}

// Announce puts a gratuitous ARP of an address on the link.
func (w *World) Announce(a netip.Addr, mac wire.MAC) {
	w.begin()
	w.neighborFrame(observe.NeighborEvent{Kind: observe.NeighborGratuitous, Sender: a, Target: a, SenderMAC: mac.String(), FrameMAC: mac.String()})
	w.kernelHears(a, mac, true)
}

// neighborFrame shows an ARP frame to the tap, and to the bursts that it concerns: it is between the vantage's own addresses and its next
// hops.
func (w *World) neighborFrame(e observe.NeighborEvent) {
	if len(w.runs) == 0 || w.Tap.Off || w.ringDrops() {
		return
	}
	e.At, e.IfIndex = w.Now(), w.Client.IfIndex
	for _, r := range w.runs {
		if r.near[e.Sender] && r.near[e.Target] {
			r.corr.Neighbor(e)
		}
	}
}

// The engine's own requests for a next hop that the kernel does not know: how many, and how long each waits.
const (
	hopTries = 3
	hopWait  = 900 * time.Millisecond
)

// resolve finds a next hop's MAC as the engine does for raw shots: from the kernel's table, else by requests of its own.
func (w *World) resolve(hop netip.Addr) (wire.MAC, error) {
	if r := &w.Client.Neighbors; r.known(hop) {
		return r.entry(hop).mac, nil
	}
	if h, ok := w.hops[hop]; ok && w.now-h.at < pathLife {
		return h.mac, nil
	}
	for range hopTries {
		if mac, ok := w.askOnce(hop); ok {
			w.hops[hop] = reply{mac, w.now}
			return mac, nil
		}
	}
	return wire.MAC{}, fmt.Errorf("resolve %s: nobody answered: %d requests, %v each", hop, hopTries, hopWait)
}

// askOnce sends one request and waits for the answer.
func (w *World) askOnce(hop netip.Addr) (wire.MAC, bool) {
	asked := w.now
	answered := func() bool { h, ok := w.replies[hop]; return ok && h.at > asked }
	w.whoHas(hop, broadcast())
	w.advance(asked+hopWait, answered)
	return w.replies[hop].mac, answered()
}
