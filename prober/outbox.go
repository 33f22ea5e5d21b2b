package prober

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// outbox gathers packets for any number of senders and hands them over together. It is owned by one goroutine.
type outbox struct {
	buf     []byte // encoded packets, back to back
	entries []entry
	sends   []handshake.Send // scratch for one Step
	packets []rawsock.Packet // scratch for one sender's share
	refs    []int            // entries of packets
	seg     wire.Segment
}

// entry is one packet in the outbox and whose it is. run is nil for a reset of a late SYN-ACK, syn −1 for what is no SYN.
type entry struct {
	way     *way
	at, end int
	run     *run
	shot    int
	syn     int
	ping    int // of a ping: its index, from 1
}

const (
	outboxBytes   = 256 << 10
	outboxEntries = 1024
	// roomFor is what one step of a shot may add: a few segments, one with data of at most an MSS.
	roomFor = 4096
	// defaultWindow is what Linux offers in a SYN on Ethernet (net/ipv4/tcp_output.c tcp_select_initial_window, 6.18): 44 MSS of 1,460.
	defaultWindow   = 64240
	defaultHopLimit = 64
)

func newOutbox() *outbox { return &outbox{} }

func (o *outbox) full() bool {
	return len(o.entries) >= outboxEntries || len(o.buf)+roomFor > outboxBytes
}

func (o *outbox) empty() bool { return len(o.entries) == 0 }

// scratch is the slice that one Step may append to; it is valid until the next call. keep takes it back with what room it has gained.
func (o *outbox) scratch() []handshake.Send   { return o.sends[:0] }
func (o *outbox) keep(sends []handshake.Send) { o.sends = sends[:0] }

// add encodes one segment of a shot.
func (o *outbox) add(s *liveShot, script *plan.Script, x *handshake.Send, r *run, shot int) error {
	seg := &o.seg
	*seg = wire.Segment{Src: s.flow.Src, Dst: s.flow.Dst, Seq: x.Seq, Flags: x.Flags, Payload: x.Payload, DF: true,
		Window: script.Window, HopLimit: script.HopLimit, ToS: script.ToS}
	if seg.Window == 0 {
		seg.Window = defaultWindow
	}
	if seg.HopLimit == 0 {
		seg.HopLimit = defaultHopLimit
	}
	switch {
	case x.SYN >= 0:
		seg.Options = script.Options
		if x.HasTS {
			seg.Options.SetTimestamps(x.TSval, 0)
		}
	case x.HasTS:
		seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(x.TSval, x.TSecr)
	}
	if x.HasSack {
		seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendSACK(x.SackFrom, x.SackTo)
	}
	if x.Flags&wire.ACK != 0 {
		seg.Ack = x.Ack
	}
	if x.Flags&wire.RST != 0 {
		seg.Window = 0
	}
	if err := o.put(entry{way: s.way, run: r, shot: shot, syn: x.SYN}); err != nil {
		return fmt.Errorf("encode %s: %w", x.Flags, err)
	}
	return nil
}

// reset encodes the RST to a late SYN-ACK of a flow whose run is over.
func (o *outbox) reset(w *way, flow wire.Flow, seq wire.Seq) error {
	o.seg = wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: seq, Flags: wire.RST, HopLimit: defaultHopLimit, DF: true}
	return o.put(entry{way: w, syn: -1})
}

// ping encodes an echo request.
func (o *outbox) ping(x entry, m *wire.Echo) error { return o.encode(x, m) }

func (o *outbox) put(x entry) error { return o.encode(x, &o.seg) }

// encode adds a packet to the outbox.
func (o *outbox) encode(x entry, m interface {
	Size() int
	Encode(b []byte) (int, error)
}) error {
	x.at = len(o.buf)
	size := m.Size()
	o.buf = slices.Grow(o.buf, size)[:x.at+size]
	if _, err := m.Encode(o.buf[x.at:]); err != nil {
		o.buf = o.buf[:x.at]
		return err
	}
	x.end = x.at + size
	o.entries = append(o.entries, x)
	return nil
}

// flush sends what is in the outbox, each sender's share in one call, and empties it. The caller must not hold the lock.
func (e *engine) flush(o *outbox) {
	for len(o.entries) > 0 {
		first := o.entries[0].way.sender
		o.packets, o.refs = o.packets[:0], o.refs[:0]
		var rest []entry // of other senders; mostly there is one
		for i := range o.entries {
			x := &o.entries[i]
			if x.way.sender != first {
				rest = append(rest, *x)
				continue
			}
			o.packets = append(o.packets, rawsock.Packet{Link: x.way.link, Data: o.buf[x.at:x.end]})
			o.refs = append(o.refs, i)
		}
		err := first.send(o.packets)
		if down, gone := errors.Is(err, rawsock.ErrInterfaceDown), errors.Is(err, rawsock.ErrInterfaceUnknown); down || gone {
			e.paths.forget(first, gone)
		}
		e.sent(o, err)
		o.entries = append(o.entries[:0], rest...)
	}
	o.buf = o.buf[:0]
}

// sent notes what the kernel did not take.
func (e *engine) sent(o *outbox, err error) {
	if err == nil && !slices.ContainsFunc(o.packets, func(p rawsock.Packet) bool { return p.Err != 0 }) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range o.packets {
		errno := o.packets[i].Err
		if errno == 0 && !errors.Is(err, errSenderClosed) {
			continue
		}
		x := &o.entries[o.refs[i]]
		why := errno.Error()
		if err != nil {
			why = err.Error()
		}
		e.strays["send_error"]++
		if x.run == nil || e.runs[x.run.slot] != x.run {
			continue
		}
		x.run.corr.Stray("send_error")
		switch {
		case x.ping > 0:
			x.run.pingUnsent(x.ping-1, "send echo request: "+why)
		case x.syn >= 0:
			e.unsent(x.run, x.shot, x.syn, "send SYN: "+why, droppedHere(errno))
		}
	}
}

// droppedHere reports whether an errno of send means that the packet was dropped inside this host, and the next may pass: no room, or a
// packet filter (net/ipv4/raw.c raw_send_hdrinc returns the EPERM of a drop in OUTPUT, 6.18).
func droppedHere(errno syscall.Errno) bool { return rawsock.NoRoom(errno) || errno == syscall.EPERM }
