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

// pair is what a source port must be fresh towards.
type pair struct {
	src netip.Addr
	dst netip.AddrPort
}

// PortBook hands out source ports such that no (source, destination) pair sees a port again within PortQuarantine. Time comes in
// with each call; one goroutine owns the book.
type PortBook struct {
	ports PortRange
	start uint16 // offset where a new pair begins
	pairs map[pair]*pairUse
}

// pairUse walks the range in a circle: cursor is the next offset, uses the runs handed out, oldest first.
type pairUse struct {
	cursor int
	uses   []portRun
	held   int // ports in uses
}

type portRun struct {
	n  int
	at time.Time
}

// NewPortBook makes a book of the range. start shifts where each pair begins, so that a restarted process does not at once reuse
// what its predecessor used.
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
	return fmt.Sprintf("source ports %s towards %s: %d wanted, %d not used in the last %s",
		e.Ports, e.Dst, e.Wanted, e.Free, PortQuarantine)
}

// Take hands out n ports for the pair, or none and an *ErrPorts.
func (b *PortBook) Take(src netip.Addr, dst netip.AddrPort, n int, now time.Time) ([]uint16, error) {
	key := pair{src, dst}
	u := b.pairs[key]
	size := b.ports.Size()
	if u == nil {
		u = &pairUse{}
		if size > 0 {
			u.cursor = int(b.start) % size
		}
		b.pairs[key] = u
	}
	for len(u.uses) > 0 && now.Sub(u.uses[0].at) >= PortQuarantine {
		u.held -= u.uses[0].n
		u.uses = u.uses[1:]
	}
	if u.held+n > size {
		e := &ErrPorts{Dst: dst, Ports: b.ports, Wanted: n, Free: size - u.held}
		if n <= size && len(u.uses) > 0 {
			e.Retry = PortQuarantine - now.Sub(u.uses[0].at)
		}
		return nil, e
	}
	out := make([]uint16, n)
	for i := range out {
		out[i] = b.ports.Lo + uint16(u.cursor)
		u.cursor = (u.cursor + 1) % size
	}
	u.held += n
	u.uses = append(u.uses, portRun{n, now})
	return out, nil
}

// Sweep forgets pairs that have nothing in quarantine. It returns how many pairs are left.
func (b *PortBook) Sweep(now time.Time) int {
	for key, u := range b.pairs {
		if len(u.uses) == 0 || now.Sub(u.uses[len(u.uses)-1].at) >= PortQuarantine {
			delete(b.pairs, key)
		}
	}
	return len(b.pairs)
}
