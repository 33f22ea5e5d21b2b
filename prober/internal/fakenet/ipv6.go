package fakenet

import (
	"maps"
	"net/netip"
)

// six maps an IPv4 address into 2001:db8::/96; others stay.
func six(a netip.Addr) netip.Addr {
	if !a.Is4() { // the invalid address as well
		return a
	}
	b, v4 := [16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8}, a.As4()
	copy(b[12:], v4[:])
	return netip.AddrFrom16(b)
}

func sixPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(six(a.Addr()), a.Port()) }

// IPv6 moves a world that has not begun, with everything in it, to the same addresses within 2001:db8::/96, and returns it. Matches that
// a caller made of addresses stay as they are.
func (w *World) IPv6() *World {
	w.Target = sixPort(w.Target)
	for i := range w.Members {
		w.Members[i] = sixPort(w.Members[i])
	}
	c := &w.Client
	c.Source, c.MSS = six(c.Source), c.MSS-20
	for i := range c.Others {
		c.Others[i] = six(c.Others[i])
	}
	if c.Gateway.IsValid() {
		c.Gateway = six(c.Gateway)
	}
	if c.LocalNAT.IsValid() {
		c.LocalNAT = sixPort(c.LocalNAT)
	}
	link := map[netip.Addr]Station{}
	for a, s := range c.Link {
		link[six(a)] = s
	}
	c.Link = link
	w.Near.Addr = six(w.Near.Addr)
	for i := range w.Near.Strangers {
		w.Near.Strangers[i] = six(w.Near.Strangers[i])
	}
	sixPrimers(w.Business)
	for _, e := range w.path.elements {
		sixElement(e)
	}
	return w
}

func sixElement(e Element) {
	switch e := e.(type) {
	case *Host:
		sixHost(e)
	case *Router:
		e.Addr = six(e.Addr)
	case *SNAT:
		for i := range e.Addrs {
			e.Addrs[i] = six(e.Addrs[i])
		}
	case *closers:
		e.from = six(e.from)
	case *Branch:
		for _, way := range e.Ways {
			for _, x := range way {
				sixElement(x)
			}
		}
	case *Balancer:
		sixBalancer(e)
	case Network:
		old := maps.Clone(e)
		clear(e)
		for a, x := range old {
			sixElement(x)
			e[six(a)] = x
		}
	}
}

func sixHost(h *Host) {
	if !h.Addr.Is4() {
		return // it stands behind several weights
	}
	h.Addr, h.Look.MSS = six(h.Addr), h.Look.MSS-20
	if h.Recycle == nil {
		return
	}
	sixPrimers(h.Recycle.Primers)
}

func sixPrimers(all []*Primer) {
	for _, p := range all {
		p.From, p.To = six(p.From), sixPort(p.To)
	}
}

func sixBalancer(b *Balancer) {
	b.VIP = sixPort(b.VIP)
	if b.SNAT != nil {
		sixElement(b.SNAT)
	}
	if b.Check != nil {
		b.Check.From = six(b.Check.From)
	}
	for _, m := range b.Members {
		m.Addr = sixPort(m.Addr)
		sixHost(m.Host)
		for _, e := range m.Elements {
			sixElement(e)
		}
	}
}
