package peers

import "net/netip"

// Limits of what a Tracker holds: about 150 octets a socket and 500 a peer.
const (
	DefaultSockets = 1 << 20
	DefaultPeers   = 1 << 16
)

// classes are the classes of connections by how many segments they sent, repeats left out: 0, 1, 2–3, 4–7, … .
const classes = 33

// cell counts connections of one class.
type cell struct{ conns, repeated, reordered uint32 }

func (c *cell) join(o cell) {
	c.conns, c.repeated, c.reordered = c.conns+o.conns, c.repeated+o.repeated, c.reordered+o.reordered
}

// peer is what is known of one.
type peer struct {
	last, all Figures
	cells     map[uint8]cell // connections that have ended
	open      map[uint8]cell // and those that are open, made anew at each reading
}

// connection is an open one: where its counts stood when it was first seen and at the last reading.
type connection struct {
	first, last counts
	peer        *peer
	reading     uint32
}

// Tracker adds up readings of a host's sockets. A reading is Begin, Add for each socket, End. It is not safe for concurrent use.
type Tracker struct {
	sockets, most int
	reading       uint32
	conns         map[key]*connection
	peers         map[netip.Addr]*peer
	interval      Churn
	whole         Churn
	blind         bool // some kernel field that the test needs is absent
	unordered     bool
}

// Churn is what came and went between readings.
type Churn struct {
	// Open is connections at the last reading; New those not there at the one before; Ended those gone since, and what they sent after it
	// with them.
	Open, New, Ended int
	// Unfollowed is sockets beyond the limits, of which nothing is known.
	Unfollowed int
}

// NewTracker makes a Tracker that follows at most so many sockets and peers; 0: DefaultSockets, DefaultPeers.
func NewTracker(sockets, peers int) *Tracker {
	if sockets <= 0 {
		sockets = DefaultSockets
	}
	if peers <= 0 {
		peers = DefaultPeers
	}
	return &Tracker{sockets: sockets, most: peers, conns: map[key]*connection{}, peers: map[netip.Addr]*peer{}}
}

// Begin starts a reading.
func (t *Tracker) Begin() {
	t.reading++
	t.interval = Churn{}
	for _, p := range t.peers {
		p.last, p.open = Figures{}, nil
	}
}

// Add takes one socket. One that was not there at the reading before counts from its birth, but at the first reading, where nobody
// knows when its counts arose. A socket that a reading gives twice counts once.
func (t *Tracker) Add(s *Socket) {
	k, now := s.key(), s.counts()
	c := t.conns[k]
	if c == nil {
		if c = t.follow(s); c == nil {
			t.interval.Unfollowed++
			return
		}
		t.conns[k] = c
		if t.reading == 1 {
			c.first, c.last = now, now
		} else {
			t.interval.New++
		}
	}
	if c.reading == t.reading {
		return
	}
	c.reading = t.reading
	t.blind = t.blind || !s.HasSegments
	t.unordered = t.unordered || !s.HasReorderings
	t.interval.Open++
	c.peer.last.add(now.since(c.last), s)
	c.peer.all.add(now.since(c.last), s)
	c.last = now
	if d := now.since(c.first); t.reading > 1 {
		c.peer.open = count(c.peer.open, d)
	}
}

func (t *Tracker) follow(s *Socket) *connection {
	if len(t.conns) >= t.sockets {
		return nil
	}
	addr := s.Remote.Addr().Unmap()
	p := t.peers[addr]
	if p == nil {
		if len(t.peers) >= t.most {
			return nil
		}
		p = &peer{}
		t.peers[addr] = p
	}
	p.all.Seen++
	return &connection{peer: p}
}

// End closes a reading: connections that it did not meet have ended, and what was seen of them counts as it stood.
func (t *Tracker) End() {
	for k, c := range t.conns {
		if c.reading == t.reading {
			continue
		}
		t.interval.Ended++
		c.peer.cells = count(c.peer.cells, c.last.since(c.first))
		delete(t.conns, k)
	}
	w := &t.whole
	w.Open, w.New, w.Ended, w.Unfollowed = t.interval.Open, w.New+t.interval.New, w.Ended+t.interval.Ended, max(w.Unfollowed, t.interval.Unfollowed)
}

// count adds a connection to its class.
func count(cells map[uint8]cell, d counts) map[uint8]cell {
	if d.segments == 0 && d.retransmitted == 0 {
		return cells // it sent nothing while it was watched, and could not have repeated anything
	}
	if cells == nil {
		cells = map[uint8]cell{}
	}
	class := classOf(d.segments - min(d.segments, d.retransmitted)) // repeats are no occasion of their own
	c := cells[class]
	c.conns++
	if d.retransmitted > 0 {
		c.repeated++
	}
	if d.reorderings > 0 {
		c.reordered++
	}
	cells[class] = c
	return cells
}
