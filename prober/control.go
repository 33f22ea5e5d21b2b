package prober

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// control takes an ICMP error that quotes one of our segments, an echo message, or a neighbour-discovery message.
func (e *engine) control(f *rawsock.Frame) {
	r := wire.ParseICMP(f.Net, &e.rx.icmp)
	switch {
	case r == wire.ReasonNone && f.Outgoing: // ours to others, and on loopback the first sight of what comes back
		e.stray("icmp_outgoing")
	case r == wire.ReasonNone && e.sweeps.of(e.rx.icmp.Quoted.Src.Port()) != nil:
		e.sweeps.of(e.rx.icmp.Quoted.Src.Port()).icmp(&e.rx.icmp, f.At)
	case r == wire.ReasonNone:
		e.icmp(f, &e.rx.icmp)
	case r == wire.ReasonICMPType && e.echo(f):
	case f.EtherType == etherIPv6:
		e.neighbor(f)
	default:
		e.stray("icmp_" + r.String())
	}
}

func (e *engine) icmp(f *rawsock.Frame, m *wire.ICMPError) {
	if l := e.light.Load(); l != nil && l.quoted(f, m) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.flows.byFlow(m.Quoted)
	if i < 0 || e.flows.records[i].run == 0 {
		e.strays["icmp_no_such_flow"]++
		return
	}
	rec := &e.flows.records[i]
	r, shot := e.runs[rec.run], int(rec.shot)
	if m.HasSeq && !r.sent(shot, m.QuotedSeq) {
		e.strays["icmp_quotes_other_sequence"]++
		return
	}
	ans := icmpAnswer(f.At, m)
	r.corr.ICMP(shot, ans)
	r.tape.keep(f, shot)
	if s := &r.shots[shot]; s.raw && ans.Ends() {
		s.conn.Unreachable()
		if s.conn.Settled() {
			r.settle(s)
		}
	}
}

func icmpAnswer(at int64, m *wire.ICMPError) observe.Answer {
	return observe.Answer{At: time.Unix(0, at), From: m.From, ICMPType: m.Type, ICMPCode: m.Code, ICMPMTU: m.MTU, ICMPName: m.Name()}
}

// maxSent is more than what a shot sends beyond its SYN.
const maxSent = 1 << 16

// sent reports whether shot i can have sent a segment of that sequence number, as far as its ISS is known: an error that quotes another
// is forged, or of an earlier flow (RFC 5927 §4.1).
func (r *run) sent(i int, seq wire.Seq) bool {
	a := &r.corr.Observation().Attempts[i]
	if !r.shots[i].raw && len(a.SYNs) == 0 {
		return true
	}
	d := seq.Sub(a.ISS)
	return d >= 0 && d < maxSent
}

// neighbor hands an ARP or ND frame to the runs it concerns, on the device that the burst leaves by: questions for our own address
// (whoever asks: a router that hands us answers may ask by another address than our next hop's) and our answers; what this host asks for
// by itself, whomever, since all that hear it learn our link address; the next hop's answers, also those to others, and its
// announcements; claims of our own address by somebody else.
func (e *engine) neighbor(f *rawsock.Frame) {
	ev, disposition := neigh.Parse(f.EtherType, f.Net)
	if disposition != neigh.OK {
		e.stray("neighbor_" + disposition.String())
		return
	}
	ev.At, ev.Outgoing, ev.IfIndex = time.Unix(0, f.At), f.Outgoing, f.IfIndex
	if len(f.Link) >= 14 {
		ev.FrameMAC, ev.Unicast = wire.MAC(f.Link[6:12]).String(), f.Link[0]&1 == 0 // IEEE 802: the group bit of the destination
	}
	if l := e.light.Load(); l != nil {
		l.neighbor(&ev)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := false
	for _, r := range e.runs {
		if r != nil && (r.concerns(&ev) || r.borrows(&ev)) {
			r.corr.Neighbor(ev)
			r.tape.keep(f, -1)
			taken = true
		}
	}
	if !taken {
		e.strays["neighbor_of_others"]++
	}
}

// concerns reports whether a frame is about the run's own address or its next hop. The caller holds the lock.
func (r *run) concerns(ev *observe.NeighborEvent) bool {
	sender := r.near[hopKey{ev.IfIndex, ev.Sender.WithZone("")}]
	target := r.near[hopKey{ev.IfIndex, ev.Target.WithZone("")}]
	switch {
	case ev.Kind == observe.NeighborRequest && ev.Outgoing:
		return sender == ownAddr || target == nextHop && !ev.Sender.IsValid()
	case ev.Kind == observe.NeighborRequest:
		return target == ownAddr || target == nextHop && !ev.Sender.IsValid()
	case ev.Kind == observe.NeighborReply && ev.Outgoing:
		return sender == ownAddr
	}
	return sender != notNear
}

// nearness is what an address on a run's link is to it.
type nearness uint8

const (
	notNear nearness = iota
	ownAddr
	nextHop
)
