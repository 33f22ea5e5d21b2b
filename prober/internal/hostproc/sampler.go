package hostproc

import (
	"context"
	"fmt"
	"time"
)

// Sampler shares readings of the counters between bursts: one takes about 250 µs, which a thousand bursts a second cannot
// each spend twice. Readings begin at least Every apart.
type Sampler struct {
	every time.Duration
	read  func() (Counters, error)
	gate  chan struct{} // holds a token while someone reads or waits to
	last  Counters
	begun time.Time // when the last reading began; zero before the first
}

// NewSampler returns a Sampler whose readings begin at least every apart; 20 ms cost about 1 % of a core at most.
func NewSampler(every time.Duration) *Sampler {
	return &Sampler{every: every, read: Read, gate: make(chan struct{}, 1)}
}

// Every is the least time between two readings.
func (s *Sampler) Every() time.Duration { return s.every }

// Since returns a reading that began at t or later. A burst asks for one since Every before it starts, which never waits, and
// for one since its end, which waits up to Every for the next reading and shares it with all that wait. The values are
// shared: they are not to be changed. Errors: those of Read, or ctx's end.
func (s *Sampler) Since(ctx context.Context, t time.Time) (Counters, error) {
	select {
	case s.gate <- struct{}{}:
	case <-ctx.Done():
		return Counters{}, fmt.Errorf("wait for kernel counters: %w", context.Cause(ctx))
	}
	defer func() { <-s.gate }()
	if !s.begun.IsZero() && !s.begun.Before(t) {
		return s.last, nil
	}
	if err := s.pause(ctx); err != nil {
		return Counters{}, err
	}
	begun := time.Now()
	c, err := s.read()
	if err != nil {
		return c, err
	}
	s.last, s.begun = c, begun
	return c, nil
}

// pause waits until the next reading may begin.
func (s *Sampler) pause(ctx context.Context) error {
	if s.begun.IsZero() {
		return nil
	}
	d := s.every - time.Since(s.begun)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for kernel counters: %w", context.Cause(ctx))
	}
}
