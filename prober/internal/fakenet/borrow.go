package fakenet

import (
	"net/netip"
	"time"
)

// borrow readies a burst that comes from a borrowed address: nobody has heard of it before its first burst.
func (w *World) borrow(r *run) {
	b := r.burst.Borrow
	if b == nil {
		return
	}
	r.near[b.Addr] = true
	if w.borrowed == nil {
		w.borrowed = map[netip.Addr]bool{}
	}
	if w.borrowed[b.Addr] {
		return
	}
	w.borrowed[b.Addr] = true
	w.Near.prepare(Hop{w.path, 0})
	if !w.Near.Proxied {
		w.Near.table.forget(b.Addr)
	}
}

// answers is how the vantage answers who-has for an address: for a borrowed one as the burst says that comes from it, counted from its last
// shot; for one that nobody borrows any longer not at all.
func (w *World) answers(a netip.Addr) (Station, bool) {
	if !w.borrowed[a] {
		s := w.Client.Answers
		return s, !s.Silent || s.Since > 0 && w.now >= s.Since
	}
	for _, r := range w.runs {
		if b := r.burst.Borrow; b != nil && b.Addr == a {
			return Station{MAC: w.Client.MAC, Delay: max(w.now, r.lastShot()) - w.now + b.Delay}, true
		}
	}
	return Station{}, false
}

// lastShot is when the last raw shot of a burst leaves.
func (r *run) lastShot() (last time.Duration) {
	for i := range r.shots {
		if r.shots[i].raw {
			last = max(last, r.shots[i].first)
		}
	}
	return last
}
