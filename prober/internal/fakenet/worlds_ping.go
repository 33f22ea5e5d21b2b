package fakenet

import (
	"net/netip"
	"time"
)

// EchoOnly is a host that answers ICMP echo and drops every segment.
func EchoOnly(seed uint64) *World {
	w, _ := Server(seed, Drop(Both(TCP, Going(Out))))
	return w
}

// NothingThere is an address on the link whose MAC is known and where nothing answers anything.
func NothingThere(seed uint64) *World {
	w, h := Server(seed)
	h.Dead = true
	return w
}

// EchoFiltered is a healthy server that answers no ICMP echo; with silent it answers no SYN to its port either.
func EchoFiltered(seed uint64, silent bool) *World {
	if silent {
		w := ACL(seed, false)
		w.Hosts[0].NoEcho = true
		return w
	}
	w, h := Server(seed)
	h.NoEcho = true
	return w
}

// EchoLimited is EchoOnly with so many echo requests a second let through.
func EchoLimited(seed uint64, rate float64) *World {
	w, _ := Server(seed, Drop(Both(TCP, Going(Out))), &Limiter{Rate: rate, Burst: 1, Match: Both(Echoes, Going(Out))})
	return w
}

// EchoByAnother is a host that goes down after its first connections, and a router three hops nearer that answers echo for it; own: in the
// router's own name.
func EchoByAnother(seed uint64, own bool) *World {
	first := netip.AddrFrom4([4]byte{203, 0, 113, 1})
	replier := &Replier{HopLimit: 255}
	if own {
		replier.Own = first
	}
	h := NewHost(vip(), seed)
	far := []Element{replier}
	for i := range 3 {
		far = append(far, &Router{Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})})
	}
	w := behindRouter(seed, append(far, h)...)
	w.After(5*time.Millisecond, func() { h.Dead = true })
	return w
}
