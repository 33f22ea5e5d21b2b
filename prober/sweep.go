package prober

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// SweepRequest asks for one raw SYN, or a burst of a few, to each of many targets.
type SweepRequest struct {
	// Targets are addresses and ports; each must be permitted by the allow list, else nothing is sent. A sweep that is watched runs through
	// them twice, and leaves out what is not permitted.
	Targets iter.Seq[netip.AddrPort]
	// Shots are SYNs to each target, back to back, from as many source ports: 1 to Limits.HalfOpen; 0: 1.
	Shots int
	// Rate of SYNs a second to all targets together, at most Limits.GlobalRate; 0: that.
	Rate float64
	// Wait for answers after the last SYN; 0: 1 s. It ends when every probe has its answer.
	Wait time.Duration
	// Source and Interface as in Module.
	Source    netip.Addr
	Interface string
	// Transmit chooses how SYNs leave.
	Transmit Transmit
	// Watch, where set, makes it a sweep that somebody follows; it needs TransmitPacket.
	Watch *SweepWatch
}

// Transmit is how a sweep hands its SYNs to the device.
type Transmit uint8

// TransmitPacket is a packet socket with a capture beside it: every SYN and its answer is timed by the kernel, every SYN-ACK reset by us
// (those resets pass no tap: tcpdump on this host does not show them).
//
// The others are for floods in a lab, towards a sink or a device under test: nothing is captured, no answer counted or timed, and SYN-ACKs are
// left to this host's kernel, which resets them unless a firewall swallows that. Their packets pass no tap (tcpdump does not see them), no
// queueing discipline and no packet filter of this host. They need a Prober with NoCapture. TransmitBlind uses a packet socket, TransmitXDP AF_XDP
// in copy mode, which costs less and asks for the device's first queue to itself.
const (
	TransmitPacket Transmit = iota
	TransmitBlind
	TransmitXDP
)

// SweepReport is what came of a sweep.
type SweepReport struct {
	Started, Finished time.Time
	LastSent          time.Time // when the last SYN had been handed over
	// CaptureDrops are frames that the capture lost: with any, a probe without an answer may have had one.
	CaptureDrops uint64
	// Ignored counts frames by their disposition.
	Ignored map[string]uint64
	Book    *sweep.Book
}

// Sweep sends what q asks for and waits for the answers. One sweep runs at a time; others wait their turn. An error means that not all was
// sent; the report then holds what was, and is nil where that is nothing.
func (p *Prober) Sweep(ctx context.Context, q SweepRequest) (*SweepReport, error) {
	q, err := p.engine.sweepDefaults(q)
	if err != nil {
		return nil, &EnvironmentError{Err: fmt.Errorf("sweep: %w", err)}
	}
	select {
	case p.engine.sweeps.turn <- struct{}{}:
		defer func() { <-p.engine.sweeps.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	book := sweep.New(wire.TSval(rand.Uint32()), rawsock.Populated[sweep.Block])
	s := &sweeper{engine: p.engine, q: q, book: book, all: make(chan struct{}), counts: map[string]uint64{}}
	defer s.close()
	if err := s.prepare(ctx, p.permits(q)); err != nil {
		return nil, err
	}
	if q.Watch != nil {
		return s.watched(ctx)
	}
	return s.run(ctx)
}

// permits checks the targets of a sweep against the list as it is now.
func (p *Prober) permits(q SweepRequest) func(netip.Addr) error {
	p.mu.RLock()
	allow := p.allow
	p.mu.RUnlock()
	m := Module{Source: q.Source, Interface: q.Interface}
	var fine netip.Prefix // of the address before: all in it are permitted
	return func(a netip.Addr) error {
		a = a.Unmap()
		if fine.Contains(a) {
			return nil
		}
		if near, err := a.Prefix(a.BitLen() - 8); err == nil && allow.covers(near) && p.pauses.none() {
			fine = near
			return nil
		}
		if err := allow.Check("", a); err != nil {
			return allow.Check(a.String(), a) // the name is made for those alone who need it
		}
		return p.pauses.check("", a, nil, func() netip.Addr { return p.sourceTowards(a, m) })
	}
}

func (e *engine) sweepDefaults(q SweepRequest) (SweepRequest, error) {
	limits := e.opts.Limits
	if q.Shots == 0 {
		q.Shots = 1
	}
	if q.Rate == 0 {
		q.Rate = limits.GlobalRate
	}
	if q.Wait == 0 {
		q.Wait = time.Second
	}
	noTap := e.capturing()
	switch {
	case q.Targets == nil:
		return q, errors.New("no targets")
	case q.Shots < 1 || q.Shots > min(limits.HalfOpen, limits.PerTargetBurst):
		return q, fmt.Errorf("%d SYNs to each target at once; the limits permit 1 to %d", q.Shots, min(limits.HalfOpen, limits.PerTargetBurst))
	case q.Rate < 0 || q.Rate > limits.GlobalRate:
		return q, fmt.Errorf("%.4g SYNs a second; the limit is %.4g", q.Rate, limits.GlobalRate)
	case q.Wait < 0:
		return q, fmt.Errorf("to wait %s for answers", q.Wait)
	case q.Transmit == TransmitPacket && noTap != nil:
		return q, fmt.Errorf("it needs a capture: %w", noTap)
	case q.Transmit > TransmitXDP:
		return q, fmt.Errorf("no such way to transmit: %d", q.Transmit)
	case q.Transmit != TransmitPacket && noTap == nil:
		return q, errors.New("a transmission without capture needs a prober without one: its tap would take each packet all the same")
	}
	return q, q.Watch.check(q.Transmit)
}

// chunk is how many SYNs wait for their tokens together: what is due within two milliseconds, so that a fast sweep shares system calls and
// a slow one sends evenly.
func (q *SweepRequest) chunk(l *rate.Limiter) int {
	return max(1, min(int(q.Rate/500), 256, l.Burst()))
}
