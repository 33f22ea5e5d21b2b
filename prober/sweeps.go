package prober

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// sweeps are the sweep under way, and earlier ones whose late SYN-ACKs still want a reset.
type sweeps struct {
	turn  chan struct{}
	heard atomic.Pointer[sweepTable] // nil: none; the reader of the tap loads it for every frame
	mu    sync.Mutex                 // serialises changes
	timer *time.Timer                // when the oldest is let go of
}

// sweepTable finds the sweep of a source port. It never changes once made.
type sweepTable struct {
	who  [1 << 16]uint8 // 1 + index in list, 0: none
	list []*sweeper
}

// maxSweeps is how many may be listened to at a time: what who can hold.
const maxSweeps = 255

func newSweeps() *sweeps { return &sweeps{turn: make(chan struct{}, 1)} }

// set replaces the table.
func (ss *sweeps) set(list []*sweeper) (gone []*sweeper) {
	for len(list) > maxSweeps {
		gone, list = append(gone, list[0]), list[1:]
	}
	if len(list) == 0 {
		ss.heard.Store(nil)
		return gone
	}
	t := &sweepTable{list: list}
	for i, s := range list {
		for _, p := range s.ports {
			t.who[p.port] = uint8(i + 1)
		}
	}
	ss.heard.Store(t)
	return gone
}

func (ss *sweeps) current() []*sweeper {
	if t := ss.heard.Load(); t != nil {
		return t.list
	}
	return nil
}

// listen makes the tap's reader hand to s what comes to its ports.
func (ss *sweeps) listen(s *sweeper) {
	ss.mu.Lock()
	gone := ss.set(append(slices.Clone(ss.current()), s))
	ss.mu.Unlock()
	holster(gone)
}

// fade lets s be heard until its late SYN-ACKs are no longer to be expected.
func (ss *sweeps) fade(s *sweeper) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.faded = time.Now().Add(plan.PortQuarantine)
	if ss.timer == nil {
		ss.timer = time.AfterFunc(plan.PortQuarantine, ss.expire)
	}
}

// expire lets go of all whose time is over.
func (ss *sweeps) expire() {
	ss.mu.Lock()
	ss.timer = nil
	now := time.Now()
	var stay, gone []*sweeper
	next := time.Duration(0)
	for _, s := range ss.current() {
		switch left := s.faded.Sub(now); {
		case s.faded.IsZero():
			stay = append(stay, s)
		case left > 0:
			stay = append(stay, s)
			next = max(next, left)
		default:
			gone = append(gone, s)
		}
	}
	gone = append(gone, ss.set(stay)...)
	if next > 0 {
		ss.timer = time.AfterFunc(next, ss.expire)
	}
	ss.mu.Unlock()
	holster(gone)
}

// close lets go of all, once the reader of the tap has ended.
func (ss *sweeps) close() {
	ss.mu.Lock()
	if ss.timer != nil {
		ss.timer.Stop()
	}
	gone := ss.current()
	ss.heard.Store(nil)
	ss.mu.Unlock()
	holster(gone)
}

// frame takes one frame of the tap. false: it is none of a sweep's.
func (ss *sweeps) frame(f *rawsock.Frame) bool {
	t := ss.heard.Load()
	if t == nil {
		return false
	}
	k := t.who[ourPort(f)]
	if k == 0 {
		return false
	}
	t.list[k-1].take(f)
	return true
}

// of returns the sweep that has a source port, or nil.
func (ss *sweeps) of(port uint16) *sweeper {
	if t := ss.heard.Load(); t != nil && t.who[port] != 0 {
		return t.list[t.who[port]-1]
	}
	return nil
}

// flush sends the resets that a block of the ring has called for.
func (ss *sweeps) flush() {
	for _, s := range ss.current() {
		s.flushResets()
	}
}

// Where the protocol and the ports lie in IP headers (RFC 791 §3.1, RFC 8200 §3).
const (
	at4Protocol, at6NextHeader = 9, 6
	ipv6Header                 = 40
	protocolTCP                = 6
)

// ourPort is the port of a TCP frame that would be ours: its source going out, its destination coming in; 0, which is nobody's, for
// everything else. Fragments and IPv6 extension headers lead past sweeps.
func ourPort(f *rawsock.Frame) uint16 {
	b := f.Net
	var at int
	switch {
	case len(b) > at4Protocol && b[0]>>4 == 4 && b[at4Protocol] == protocolTCP && binary.BigEndian.Uint16(b[6:])&0x3fff == 0:
		at = int(b[0]&0xf) * 4
	case len(b) > at6NextHeader && b[0]>>4 == 6 && b[at6NextHeader] == protocolTCP:
		at = ipv6Header
	default:
		return 0
	}
	if !f.Outgoing {
		at += 2
	}
	if len(b) < at+2 {
		return 0
	}
	return binary.BigEndian.Uint16(b[at:])
}
