package prober

import (
	"fmt"
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

// entry is one packet in the outbox and whose it is. run is nil for a reset of a late SYN-ACK.
type entry struct {
	path *path
	at   int
	end  int
	run  *run
	shot int
	syn  bool
}

const (
	outboxBytes   = 256 << 10
	outboxEntries = 1024
	maxPacket     = 1600
	// defaultWindow is what Linux offers in a SYN on Ethernet (net/ipv4/tcp_output.c tcp_select_initial_window, 6.18): 44 MSS of 1,460.
	defaultWindow   = 64240
	defaultHopLimit = 64
)

func newOutbox() *outbox {
	return &outbox{buf: make([]byte, 0, 16<<10)}
}

func (o *outbox) full() bool {
	return len(o.entries) >= outboxEntries || len(o.buf)+maxPacket > outboxBytes
}

func (o *outbox) empty() bool { return len(o.entries) == 0 }

// scratch is the slice that one Step may append to; it is valid until the next call.
func (o *outbox) scratch() []handshake.Send { return o.sends[:0] }

// add encodes one segment of a shot.
func (o *outbox) add(p *path, flow wire.Flow, script *plan.Script, s *handshake.Send, r *run, shot int) {
	seg := &o.seg
	*seg = wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: s.Seq, Flags: s.Flags, Payload: s.Payload, DF: true,
		Window: script.Window, HopLimit: script.HopLimit, ToS: script.ToS}
	if seg.Window == 0 {
		seg.Window = defaultWindow
	}
	if seg.HopLimit == 0 {
		seg.HopLimit = defaultHopLimit
	}
	switch {
	case s.SYN >= 0:
		seg.Options = script.Options
		if s.HasTS {
			seg.Options.SetTimestamps(s.TSval, 0)
		}
	case s.HasTS:
		seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(s.TSval, s.TSecr)
	}
	if s.Flags&wire.ACK != 0 {
		seg.Ack = s.Ack
	}
	if s.Flags&wire.RST != 0 {
		seg.Window = 0
	}
	o.put(p, r, shot, s.SYN >= 0)
}

// reset encodes the RST to a late SYN-ACK of a flow whose run is over.
func (o *outbox) reset(p *path, flow wire.Flow, seq wire.Seq) {
	o.seg = wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: seq, Flags: wire.RST, HopLimit: defaultHopLimit, DF: true}
	o.put(p, nil, 0, false)
}

func (o *outbox) put(p *path, r *run, shot int, syn bool) {
	at := len(o.buf)
	size := o.seg.Size()
	for cap(o.buf)-at < size {
		o.buf = append(o.buf[:cap(o.buf)], 0)[:at]
	}
	o.buf = o.buf[:at+size]
	if _, err := o.seg.Encode(o.buf[at:]); err != nil {
		o.buf = o.buf[:at]
		if r != nil && syn {
			r.corr.NotSent(shot, fmt.Sprintf("encode SYN: %v", err))
		}
		return
	}
	o.entries = append(o.entries, entry{path: p, at: at, end: at + size, run: r, shot: shot, syn: syn})
}

// flush sends what is in the outbox, each sender's share in one call, and empties it. The caller must not hold the lock.
func (e *engine) flush(o *outbox) {
	for len(o.entries) > 0 {
		first := o.entries[0].path.sender
		o.packets, o.refs = o.packets[:0], o.refs[:0]
		rest := o.entries[:0:0]
		for i := range o.entries {
			x := &o.entries[i]
			if x.path.sender != first {
				rest = append(rest, *x)
				continue
			}
			o.packets = append(o.packets, rawsock.Packet{Link: x.path.link, Data: o.buf[x.at:x.end]})
			o.refs = append(o.refs, i)
		}
		err := first.send(o.packets)
		e.sent(o, err)
		o.entries = append(o.entries[:0], rest...)
	}
	o.buf = o.buf[:0]
}

// sent notes what the kernel did not take. A SYN that was refused for good makes its attempt not_sent; one skipped for want of room
// counts as never seen leaving.
func (e *engine) sent(o *outbox, err error) {
	clean := err == nil
	for i := range o.packets {
		clean = clean && o.packets[i].Err == 0
	}
	if clean {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range o.packets {
		errno := o.packets[i].Err
		if errno == 0 {
			continue
		}
		x := &o.entries[o.refs[i]]
		e.strays["send_"+errno.Error()]++
		if x.run == nil || e.runs[x.run.slot] != x.run {
			continue
		}
		x.run.corr.Stray("send_error")
		if x.syn && !noRoom(errno) {
			why := errno.Error()
			if err != nil {
				why = err.Error()
			}
			x.run.corr.NotSent(x.shot, "send SYN: "+why)
			x.run.settle(&x.run.shots[x.shot])
		}
	}
}

// noRoom reports whether the kernel only lacked memory for the packet: what follows may pass again.
func noRoom(errno syscall.Errno) bool { return errno == syscall.ENOBUFS || errno == syscall.ENOMEM }
