package prober

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/pulse"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// lightScript is what the shots of a module towards one address family follow, with its SYN encoded once.
type lightScript struct {
	module   Module
	arm      plan.Script
	template *wire.Template
}

type scriptKey struct {
	job string
	is4 bool
}

// script is what the shots of a job's module follow towards an address.
func (l *light) script(j *Job, m Module, dst netip.AddrPort) *lightScript {
	k := scriptKey{j.Name, dst.Addr().Is4()}
	if s := l.scripts[k]; s != nil {
		return s
	}
	b, _ := l.p.syn(dst, m, m.Timeout-reserve).Next(nil)
	s := &lightScript{module: m, arm: b.Arms[0].Script}
	if s.arm.HopLimit == 0 {
		s.arm.HopLimit = defaultHopLimit
	}
	either := netip.AddrPortFrom(dst.Addr(), 1) // Put writes the flow's own addresses and ports
	var err error
	s.template, err = wire.NewTemplate(&wire.Segment{Src: either, Dst: either, Flags: wire.SYN, DF: true, Window: defaultWindow, HopLimit: s.arm.HopLimit,
		ToS: s.arm.ToS, Options: s.arm.Options})
	if err != nil {
		s = nil
	}
	l.scripts[k] = s
	return s
}

// lightOutbox gathers SYNs for any number of senders.
type lightOutbox struct {
	buf     []byte
	at      []int // ends of the packets in buf
	ways    []*way
	slots   []int32
	bursts  []*lightBurst
	packets []rawsock.Packet
}

func newLightOutbox() *lightOutbox { return &lightOutbox{} }

// lightBatch is how many SYNs are gathered before they are sent.
const lightBatch = 512

func (o *lightOutbox) full() bool { return len(o.slots) >= lightBatch }

// add encodes one SYN.
func (o *lightOutbox) add(s *lightScript, w *way, f wire.Flow, x *pulse.SYN, b *lightBurst) {
	from, n := len(o.buf), s.template.Len()
	for cap(o.buf)-from < n {
		o.buf = append(o.buf[:cap(o.buf)], 0)
	}
	o.buf = o.buf[:from+n]
	s.template.Put(o.buf[from:], f, x.Seq, x.TSval)
	o.at, o.ways, o.slots = append(o.at, len(o.buf)), append(o.ways, w), append(o.slots, x.Slot)
	o.bursts = append(o.bursts, b)
}

// send hands everything to the kernel, each sender's share in one call, and returns an errno for each packet that it did not take.
func (o *lightOutbox) send(e *engine, refused func(b *lightBurst, slot int32, errno syscall.Errno)) {
	for done := 0; done < len(o.slots); {
		first := o.ways[done].sender
		o.packets = o.packets[:0]
		from := 0
		if done > 0 {
			from = o.at[done-1]
		}
		for i := done; i < len(o.slots) && o.ways[i].sender == first; i++ { // mostly there is one
			o.packets = append(o.packets, rawsock.Packet{Link: o.ways[i].link, Data: o.buf[from:o.at[i]]})
			from = o.at[i]
		}
		err := first.send(o.packets)
		if down, gone := errors.Is(err, rawsock.ErrInterfaceDown), errors.Is(err, rawsock.ErrInterfaceUnknown); down || gone {
			e.paths.forget(first, gone)
		}
		for i := range o.packets {
			errno := o.packets[i].Err
			if errors.Is(err, errSenderClosed) {
				errno = syscall.ENXIO
			}
			if errno != 0 {
				refused(o.bursts[done+i], o.slots[done+i], errno)
			}
		}
		done += len(o.packets)
	}
	o.buf, o.at, o.ways, o.slots = o.buf[:0], o.at[:0], o.ways[:0], o.slots[:0]
	clear(o.bursts)
	o.bursts = o.bursts[:0]
}
