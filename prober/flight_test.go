package prober

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallersShareOneRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		var runs atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				r := f.do(t.Context(), "k", func(context.Context) Round {
					runs.Add(1)
					time.Sleep(time.Second)
					return Round{Module: "m"}
				})
				if r.Module != "m" {
					t.Errorf("got %+v", r)
				}
			})
		}
		wg.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
		f.do(t.Context(), "k", func(context.Context) Round { runs.Add(1); return Round{} })
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs after the first was over", n)
		}
		if len(f.going) != 0 {
			t.Errorf("%d flights kept", len(f.going))
		}
	})
}

// The one who began gives up: his partial round is his alone, and one of the others begins anew.
func TestTheOthersDoNotGetAPartialRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		leader, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var runs atomic.Int32
		fn := func(ctx context.Context) Round {
			runs.Add(1)
			select {
			case <-ctx.Done():
				return Round{Why: "partial"}
			case <-time.After(3 * time.Second):
				return Round{Why: "whole"}
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if r := f.do(leader, "k", fn); r.Why != "partial" {
				t.Errorf("the leader got %q", r.Why)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				if r := f.do(t.Context(), "k", fn); r.Why != "whole" {
					t.Errorf("a follower got %q", r.Why)
				}
			})
		}
		impatient, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		if r := f.do(impatient, "k", fn); !errors.Is(r.Err, context.DeadlineExceeded) || r.Why == "" {
			t.Errorf("the impatient one got %v %q", r.Err, r.Why)
		}
		wg.Wait()
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs", n)
		}
	})
}

func TestWhatIsAskedNamesTheFlight(t *testing.T) {
	t.Parallel()
	m := DefaultModule()
	hops := m
	hops.HopLimit = 3
	tcp, again := m, m
	tcp.TCP, again.TCP = &TCPOptions{}, &TCPOptions{}
	one, two, port := Endpoint{Host: "a.example", Port: 80}, Endpoint{Host: "b.example", Port: 80}, Endpoint{Host: "a.example", Port: 81}
	x, y := addr("192.0.2.1"), addr("192.0.2.2")
	seen := map[string]bool{}
	for _, k := range []string{flightKey(one, x, m), flightKey(one, y, m), flightKey(port, x, m), flightKey(one, x, hops), flightKey(one, x, tcp),
		flightKey(one, x, again), flightKey(two, x, tcp)} {
		if seen[k] {
			t.Errorf("%s stands for two", k)
		}
		seen[k] = true
	}
	if flightKey(one, x, m) != flightKey(one, x, DefaultModule()) {
		t.Error("the same is asked twice")
	}
}
