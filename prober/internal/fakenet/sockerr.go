package fakenet

import (
	"fmt"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// icmp takes an ICMP error that ends a connect: tcp_v4_err for a socket in SYN_SENT.
func (s *socket) icmp(e *wire.ICMPError) {
	if s.state != sockSynSent || e.HasSeq && e.QuotedSeq != s.iss {
		return
	}
	s.err = e
	s.report(errnoOf(e), observe.Unreachable, s.with(errnoOf(e)))
}

// hostUnreachable is what the neighbour layer tells the sender of a packet that it gave up (net/ipv4/arp.c arp_error_report →
// ipv4_link_failure, 6.18): an ICMP error of this host's own.
func (w *World) hostUnreachable(p *Packet) {
	f := w.flows[p.Seg.Flow()]
	if f == nil || f.sock == nil || f.sock.state != sockSynSent {
		return
	}
	f.sock.err = &wire.ICMPError{From: p.Seg.Src.Addr(), Type: 3, Code: 1}
	f.sock.report("EHOSTUNREACH", observe.LocalDrop,
		f.sock.with("EHOSTUNREACH: this host itself gave up the SYN (next hop without ARP/ND answer, or a local filter)"))
}

func (s *socket) with(why string) string {
	if s.err == nil {
		return why
	}
	return fmt.Sprintf("%s, ICMP %s from %s", why, s.err.Name(), s.err.From)
}

// errnoOf is icmp_err_convert (net/ipv4/icmp.c, 6.18).
func errnoOf(e *wire.ICMPError) string {
	if e.V6 {
		switch {
		case e.Type == 1 && (e.Code == 1 || e.Code == 5 || e.Code == 6):
			return "EACCES"
		case e.Type == 1 && e.Code == 4:
			return "ECONNREFUSED"
		case e.Type == 1 && e.Code == 0:
			return "ENETUNREACH"
		case e.Type == 4:
			return "EPROTO"
		}
		return "EHOSTUNREACH"
	}
	codes := [...]string{"ENETUNREACH", "EHOSTUNREACH", "ENOPROTOOPT", "ECONNREFUSED", "EMSGSIZE", "EOPNOTSUPP", "ENETUNREACH",
		"EHOSTDOWN", "ENONET", "ENETUNREACH", "EHOSTUNREACH", "ENETUNREACH", "EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH"}
	switch {
	case e.Type == 3 && int(e.Code) < len(codes):
		return codes[e.Code]
	case e.Type == 12:
		return "EPROTO"
	}
	return "EHOSTUNREACH"
}

// kernelSend hands a packet of the kernel's to the neighbour layer.
func (w *World) kernelSend(p *Packet) {
	if p.Seg.HopLimit == 0 {
		p.Seg.HopLimit = w.Client.HopLimit
	}
	if w.Client.Lose > 0 && w.rng.Float64() < w.Client.Lose {
		return
	}
	w.Client.Neighbors.send(w.nextHop(p), p)
}

func (w *World) nextHop(p *Packet) netip.Addr { return w.Client.NextHop(p.Seg.Dst.Addr()) }
