package plan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// PortQuarantine is how long a 4-tuple is not used again: twice the maximum segment lifetime of 60 s that Linux keeps TIME_WAIT
// for (TCP_TIMEWAIT_LEN, include/net/tcp.h). Reuse within it meets TIME_WAIT sockets and balancer sessions, and makes stalls.
const PortQuarantine = 120 * time.Second

// PortRange is an inclusive range of source ports.
type PortRange struct{ Lo, Hi uint16 }

// Size is the number of ports in the range; 0 for an invalid or empty one.
func (r PortRange) Size() int {
	if r.Lo == 0 || r.Hi < r.Lo {
		return 0
	}
	return int(r.Hi) - int(r.Lo) + 1
}

// Contains reports whether p lies in the range.
func (r PortRange) Contains(p uint16) bool { return r.Size() > 0 && p >= r.Lo && p <= r.Hi }

// String is LO-HI.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.Lo, r.Hi) }

// Split halves the range: the lower for kernel connects, the upper for raw shots, whose ports are held by sockets of their own.
func (r PortRange) Split() (kernel, raw PortRange) {
	mid := r.Lo + uint16(r.Size()/2)
	return PortRange{r.Lo, mid - 1}, PortRange{mid, r.Hi}
}

// ParsePortRange reads LO-HI, both 1 to 65535.
func ParsePortRange(s string) (PortRange, error) {
	lo, hi, found := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(strings.TrimSpace(lo), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(hi), 10, 16)
	r := PortRange{uint16(a), uint16(b)}
	if !found || errA != nil || errB != nil || r.Size() == 0 {
		return PortRange{}, fmt.Errorf("port range %q: want LO-HI with 1 ≤ LO ≤ HI ≤ 65535", s)
	}
	return r, nil
}

// PortsNeeded is how many source ports one destination needs so that no 4-tuple returns within PortQuarantine: burst connections
// every interval.
func PortsNeeded(burst int, interval time.Duration) int {
	if interval <= 0 {
		return burst
	}
	rounds := int((PortQuarantine + interval - 1) / interval)
	return burst * (rounds + 1)
}

// pair is what a source port must be fresh towards. Zones are left out: one port serves one of two links at a time.
type pair struct {
	src netip.Addr
	dst netip.AddrPort
}

func pairOf(src netip.Addr, dst netip.AddrPort) pair {
	return pair{src.WithZone(""), netip.AddrPortFrom(dst.Addr().WithZone(""), dst.Port())}
}

// PortBook hands out source ports such that no (source, destination) pair sees a port again within PortQuarantine. Time comes in
// with each call; one goroutine owns the book.
type PortBook struct {
	ports PortRange
	start uint16 // offset where pairs begin
	pairs map[pair]*pairUse
}

// pairUse walks the range in a circle: cursor is the next offset, uses the runs handed out, oldest first.
type pairUse struct {
	cursor int
	uses   []portRun
	held   int // offsets in uses
	// asked are ports used out of turn, by name, and when.
	asked map[uint16]time.Time
}

type portRun struct {
	n  int
	at time.Time
}

// NewPortBook makes a book of the range. start shifts where pairs begin, so that a restarted process does not at once reuse
// what its predecessor used; each destination has a place of its own on top of that.
func NewPortBook(ports PortRange, start uint16) *PortBook {
	return &PortBook{ports: ports, start: start, pairs: map[pair]*pairUse{}}
}

// ErrPorts says that a pair has no fresh source port left.
type ErrPorts struct {
	Dst    netip.AddrPort
	Ports  PortRange
	Wanted int
	Free   int
	Retry  time.Duration // until enough are fresh again; 0: never, the range is too small
}

func (e *ErrPorts) Error() string {
	s := fmt.Sprintf("source ports %s towards %s: %d wanted, %d not used in the last %s", e.Ports, e.Dst, e.Wanted, e.Free, PortQuarantine)
	switch {
	case e.Wanted > e.Ports.Size():
		return s + fmt.Sprintf("; the range holds %d", e.Ports.Size())
	case e.Retry == 0:
		return s
	}
	return s + fmt.Sprintf("; enough in %s", e.Retry.Round(time.Second))
}

// Take hands out n ports for the pair, or none and an *ErrPorts.
func (b *PortBook) Take(src netip.Addr, dst netip.AddrPort, n int, now time.Time) ([]uint16, error) {
	return b.TakeIf(src, dst, n, now, func(uint16) bool { return true })
}

// TakeIf is Take of ports that usable accepts; it is asked of fresh ports alone, in turn, until n are found. What it accepted when in the
// end there are too few is as fresh as before.
func (b *PortBook) TakeIf(src netip.Addr, dst netip.AddrPort, n int, now time.Time, usable func(uint16) bool) ([]uint16, error) {
	u := b.use(src, dst)
	u.expire(now)
	size := b.ports.Size()
	out := make([]uint16, 0, n)
	cursor, spent := u.cursor, 0
	for len(out) < n && u.held+spent < size {
		p := b.ports.Lo + uint16(cursor)
		cursor, spent = (cursor+1)%size, spent+1
		if _, busy := u.asked[p]; !busy && usable(p) {
			out = append(out, p)
		}
	}
	if len(out) < n {
		return nil, &ErrPorts{Dst: dst, Ports: b.ports, Wanted: n, Free: len(out), Retry: u.retry(n, size, now)}
	}
	u.cursor, u.held = cursor, u.held+spent
	u.uses = append(u.uses, portRun{spent, now})
	return out, nil
}

// Use notes that the pair uses a port that was not taken from the book but asked for by number.
func (b *PortBook) Use(src netip.Addr, dst netip.AddrPort, port uint16, now time.Time) {
	u := b.use(src, dst)
	if u.asked == nil {
		u.asked = map[uint16]time.Time{}
	}
	u.asked[port] = now
}

func (b *PortBook) use(src netip.Addr, dst netip.AddrPort) *pairUse {
	key := pairOf(src, dst)
	u := b.pairs[key]
	if u == nil {
		u = &pairUse{}
		if size := b.ports.Size(); size > 0 {
			u.cursor = (int(b.start) + key.place()) % size
		}
		b.pairs[key] = u
	}
	return u
}

// place spreads destinations over the range (FNV-1a, 32 bits), so that bursts to many of them seldom want the same port at once.
func (p pair) place() int {
	h := uint32(2166136261)
	a := p.dst.Addr().As16()
	for _, o := range append(a[:], byte(p.dst.Port()>>8), byte(p.dst.Port())) {
		h = (h ^ uint32(o)) * 16777619
	}
	return int(h >> 1)
}

// expire lets go of what has been in quarantine long enough.
func (u *pairUse) expire(now time.Time) {
	for len(u.uses) > 0 && now.Sub(u.uses[0].at) >= PortQuarantine {
		u.held -= u.uses[0].n
		u.uses = u.uses[1:]
	}
	for p, at := range u.asked {
		if now.Sub(at) >= PortQuarantine {
			delete(u.asked, p)
		}
	}
}

// retry is how long until n ports of size are fresh, those asked for by number or not usable left out of account; 0: never, or only
// by being usable.
func (u *pairUse) retry(n, size int, now time.Time) time.Duration {
	free := size - u.held
	for _, r := range u.uses {
		if free += r.n; free >= n {
			return PortQuarantine - now.Sub(r.at)
		}
	}
	return 0
}

// Sweep forgets pairs that have nothing in quarantine. It returns how many pairs are left.
func (b *PortBook) Sweep(now time.Time) int {
	for key, u := range b.pairs {
		if u.expire(now); len(u.uses) == 0 && len(u.asked) == 0 {
			delete(b.pairs, key)
		}
	}
	return len(b.pairs)
}
