package hostproc

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counting is a Sampler whose readings carry their number and take no time.
func counting(every time.Duration) (*Sampler, *int) {
	n := 0
	s := NewSampler(every)
	s.read = func() (Counters, error) {
		n++
		return Counters{Values: map[string]int64{"n": int64(n)}}, nil
	}
	return s, &n
}

func TestSamplerShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := counting(20 * time.Millisecond)
		start := time.Now()
		for range 1000 { // bursts that start together share one reading and wait for none
			if c, err := s.Since(t.Context(), time.Now().Add(-s.Every())); err != nil || c.Values["n"] != 1 {
				t.Fatalf("%v, %v", c.Values, err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("waited %s to start", d)
		}
		<-time.After(5 * time.Millisecond) // the bursts last this long
		var wg sync.WaitGroup
		for range 1000 { // and those that end together share the next
			wg.Go(func() {
				if c, err := s.Since(t.Context(), time.Now()); err != nil || c.Values["n"] != 2 {
					t.Errorf("%v, %v", c.Values, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); *n != 2 || d != 20*time.Millisecond {
			t.Errorf("%d readings in %s, want 2 in 20 ms", *n, d)
		}
		<-time.After(time.Second)
		then := time.Now()
		if c, err := s.Since(t.Context(), then); err != nil || c.Values["n"] != 3 || !time.Now().Equal(then) {
			t.Errorf("alone: %v, %v after %s", c.Values, err, time.Since(then))
		}
	})
}

func TestSamplerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := counting(time.Hour)
		if _, err := s.Since(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 2 { // one waits for the time, the other for the first
			wg.Go(func() {
				if _, err := s.Since(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// A reading that went wrong is not kept.
func TestSamplerError(t *testing.T) {
	s, _ := counting(time.Millisecond)
	good := s.read
	bad := errors.New("no proc")
	s.read = func() (Counters, error) { return Counters{}, bad }
	if _, err := s.Since(t.Context(), time.Now()); !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
	s.read = good
	if c, err := s.Since(t.Context(), time.Now()); err != nil || c.Values["n"] != 1 {
		t.Errorf("%v, %v", c.Values, err)
	}
}
