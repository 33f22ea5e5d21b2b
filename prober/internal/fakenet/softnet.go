package fakenet

import "time"

// Softnet is the backlog that this machine's packets wait in, the prober's among them, whichever way they go (net/core/dev.c enqueue_to_backlog, 6.18). It
// counts what it drops and takes of others as softnet_stat does, for bursts to find.
type Softnet struct {
	// Full reports whether the backlog overflows at a time; it is asked for times that never fall. nil: it always does.
	Full func(at time.Duration) bool
	// Lose is the chance that a packet of ours is dropped then, of those that Of chooses: whose CPU it is, by their hash. nil: all.
	Lose float64
	Of   Match
	// Device, if set, makes it the queue of that device on the way out instead, counted as its tx_dropped and tx_packets.
	Device string
	// Dropped and Taken are the packets of others a second that it drops while it overflows, and that it takes all the time.
	Dropped, Taken float64

	last           time.Duration
	dropped, taken float64
}

// Take implements Element.
func (s *Softnet) Take(h Hop, p *Packet) {
	c := &h.World().Client
	s.count(h.Now(), c.counters)
	if s.Device != "" && p.Dir != Out {
		h.Pass(p)
		return
	}
	if s.full(h.Now()) && (s.Of == nil || s.Of(h, p)) && h.Chance(s.Lose) {
		s.dropped++
		return
	}
	s.taken++
	h.Pass(p)
}

func (s *Softnet) full(at time.Duration) bool { return s.Full == nil || s.Full(at) }

// count brings the counters up to a time, where it overflows now and then a millisecond after the other.
func (s *Softnet) count(now time.Duration, counters map[string]int64) {
	step := time.Millisecond
	if s.Full == nil {
		step = max(now-s.last, 1)
	}
	for ; s.last+step <= now; s.last += step {
		s.taken += s.Taken * step.Seconds()
		if s.full(s.last) {
			s.dropped += s.Dropped * step.Seconds()
		}
	}
	if s.Device != "" {
		counters["link."+s.Device+".tx_dropped"], counters["link."+s.Device+".tx_packets"] = int64(s.dropped), int64(s.taken)
		return
	}
	counters["softnet.dropped"] = int64(s.dropped)
	counters["softnet.worst_dropped"], counters["softnet.worst_processed"] = int64(s.dropped), int64(s.taken)
}

// Crowd puts a backlog between this host and its wire. It must come before the first Run.
func (w *World) Crowd(s *Softnet) {
	w.crowd = s
	w.Insert(s)
}

// softnet brings the counters of the backlog up to now.
func (w *World) softnet() {
	if w.crowd != nil {
		w.crowd.count(w.now, w.Client.counters)
	}
}
