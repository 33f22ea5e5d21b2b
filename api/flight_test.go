package api

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipprobe/vipprobe/prober"
)

// inBubble runs f with a clock of its own; settle waits there until every goroutine waits.
func inBubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func settle() { synctest.Wait() }

func TestIdenticalRequestsShareOneRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
			<-release
			return []prober.Round{healthyRound(target, m)}, nil
		}}
		s := newService(t, f, nil)
		codes := make(chan int)
		paths := []string{"target=192.0.2.10:443", "target=192.0.2.10:443&module=connect", "target=192.0.2.10:443&debug=true", "target=192.0.2.11:443", "target=192.0.2.10:443&module=slow"}
		for _, p := range paths {
			go func() { codes <- s.get("/probe?" + p).Code }()
		}
		settle()
		if n := len(f.asked()); n != 3 {
			t.Errorf("%d runs for three different questions", n)
		}
		close(release)
		for range paths {
			if c := <-codes; c != http.StatusOK {
				t.Errorf("status %d", c)
			}
		}
		s.get("/probe?target=192.0.2.10:443")
		if n := len(f.asked()); n != 4 {
			t.Errorf("a later request did not get a run of its own: %d runs", n)
		}
	})
}

// TestRunOutlivesItsFirstCaller: who asked first may go; the run goes on for the others, and ends with the last.
func TestRunOutlivesItsFirstCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release, ended := make(chan struct{}), make(chan error, 1)
		s := newService(t, &fake{answer: func(ctx context.Context, target string, m prober.Module) ([]prober.Round, error) {
			select {
			case <-release:
				ended <- nil
				return []prober.Round{healthyRound(target, m)}, nil
			case <-ctx.Done():
				ended <- ctx.Err()
				return nil, ctx.Err()
			}
		}}, nil)
		first, leave := context.WithCancel(t.Context())
		codes := make(chan int, 2)
		ask := func(ctx context.Context) { codes <- s.do(ctx, http.MethodGet, "/probe?target=192.0.2.10:443").Code }
		go ask(first)
		settle()
		go ask(t.Context())
		settle()
		leave()
		settle()
		select {
		case err := <-ended:
			t.Fatalf("the run ended with its first caller: %v", err)
		default:
		}
		close(release)
		if a, b := <-codes, <-codes; a != http.StatusOK || b != http.StatusOK {
			t.Errorf("status %d and %d", a, b)
		}
	})
}

func TestRunEndsWithItsLastCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var f fake
		f.answer = func(ctx context.Context, target string, m prober.Module) ([]prober.Round, error) {
			if len(f.asked()) > 1 {
				return []prober.Round{healthyRound(target, m)}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := newService(t, &f, nil)
		ctx, leave := context.WithCancel(t.Context())
		codes := make(chan int, 2)
		for range 2 {
			go func() { codes <- s.do(ctx, http.MethodGet, "/probe?target=192.0.2.10:443").Code }()
		}
		settle()
		began := time.Now()
		leave()
		if a, b := <-codes, <-codes; a != http.StatusServiceUnavailable || b != http.StatusServiceUnavailable {
			t.Errorf("status %d and %d", a, b)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the run went on for %s without anybody waiting", waited)
		}
		if w := s.get("/probe?target=192.0.2.10:443"); w.Code != http.StatusOK || len(f.asked()) != 2 {
			t.Errorf("status %d after %d runs: a new request joined the ended run", w.Code, len(f.asked()))
		}
	})
}
