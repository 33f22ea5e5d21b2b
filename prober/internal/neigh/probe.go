package neigh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Pace is how probes follow each other. IPv6 takes the same: RFC 4862 §5.1 sends one solicitation and waits 1 s.
type Pace struct {
	First    time.Duration // a random wait of up to this before the first probe: PROBE_WAIT
	Probes   int           // PROBE_NUM, at least 1
	Min, Max time.Duration // a random wait between these between probes: PROBE_MIN, PROBE_MAX
	Last     time.Duration // listening after the last: ANNOUNCE_WAIT
}

// Careful is RFC 5227 §1.1: 0 … 1 s, then three probes 1 … 2 s apart, then 2 s.
func Careful() Pace {
	return Pace{First: time.Second, Probes: 3, Min: time.Second, Max: 2 * time.Second, Last: 2 * time.Second}
}

// Quick is three probes 200 ms apart and 600 ms of listening after the last. RFC 5227's waits keep hosts that start together
// from colliding and let slow switches and sleeping hosts answer; a prober that borrows an address for seconds, alone and
// on a settled link, needs neither, but a host that takes longer than 1 s to answer is missed: use Careful where that matters.
func Quick() Pace {
	return Pace{Probes: 3, Min: 200 * time.Millisecond, Max: 200 * time.Millisecond, Last: 600 * time.Millisecond}
}

// Claim is the answer to whether an address is free.
type Claim struct {
	Free bool
	// By is who has it, or wants it at the same time (Rival), where it is not free.
	By    wire.MAC
	Rival bool
	// After is how long after the first probe the answer came.
	After time.Duration
	Sent  int // probes
	// Ignored counts malformed frames by disposition.
	Ignored map[string]int
}

// ProbeFree asks the link whether anyone has the address, as RFC 5227 §2.1.1 and RFC 4862 §5.4 do before an address is used:
// nobody learns this host from it, so it also finds a neighbour's MAC unnoticed. Each probe takes a token of the limiter.
// It needs CAP_NET_RAW. An error says that it could not be found out, and then the address is not free.
func ProbeFree(ctx context.Context, limit Limiter, ifindex int, addr netip.Addr, pace Pace) (Claim, error) {
	addr = addr.Unmap().WithZone("")
	if !hostAddr(addr) {
		return Claim{}, fmt.Errorf("probe for %s: not an address that a host can have", addr)
	}
	if pace.Probes < 1 || pace.Max < pace.Min {
		return Claim{}, fmt.Errorf("probe for %s: %d probes %s to %s apart", addr, pace.Probes, pace.Min, pace.Max)
	}
	l, err := dial(ifindex, addr)
	if err != nil {
		return Claim{}, fmt.Errorf("probe for %s: %w", addr, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.port().conn.SetReadDeadline(past()) })
	defer stop()
	claim, err := ask(ctx, l, limit, addr, pace)
	claim.Ignored = l.port().ignored
	if err = errors.Join(err, l.close()); err != nil {
		return Claim{}, fmt.Errorf("probe for %s on %s: %w", addr, l.port().ifi.Name, err)
	}
	return claim, nil
}

// ask sends the probes and listens in between.
func ask(ctx context.Context, l link, limit Limiter, addr netip.Addr, pace Pace) (Claim, error) {
	var (
		claim Claim
		first time.Time
	)
	wait := between(0, pace.First)
	for {
		if by, rival, err := listen(ctx, l, addr, wait); err != nil || by != (wire.MAC{}) {
			claim.By, claim.Rival = by, rival
			if !first.IsZero() {
				claim.After = time.Since(first)
			}
			return claim, err
		}
		if claim.Sent == pace.Probes {
			claim.Free = true
			return claim, nil
		}
		if err := limit.Wait(ctx); err != nil {
			return claim, err
		}
		if err := l.probe(addr); err != nil {
			return claim, err
		}
		if claim.Sent++; claim.Sent == 1 {
			first = time.Now()
		}
		if wait = between(pace.Min, pace.Max); claim.Sent == pace.Probes {
			wait = pace.Last
		}
	}
}

// listen reads for d and returns who uses addr, or probes for it as we do.
func listen(ctx context.Context, l link, addr netip.Addr, d time.Duration) (by wire.MAC, rival bool, err error) {
	if err := l.port().conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return by, false, err
	}
	if ctx.Err() != nil { // it may have ended just before, and its own deadline been replaced by this one
		return by, false, context.Cause(ctx)
	}
	for {
		m, err := l.read()
		switch {
		case ctx.Err() != nil:
			return by, false, context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return by, false, nil
		case err != nil:
			return by, false, err
		}
		switch {
		case m.mac == l.port().mac: // our own, sent back by the link
		case m.sender == addr:
			return m.mac, false, nil
		case !m.sender.IsValid() && m.target == addr:
			return m.mac, true, nil
		}
	}
}

// between is a random duration of at least a and at most b.
func between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + rand.N(b-a+1)
}
