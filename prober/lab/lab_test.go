package lab_test

import (
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func TestMain(m *testing.M) { os.Exit(topo.Enter(m.Run)) }

// start builds a scenario, or skips where this machine has no private namespaces (a failure in CI).
func start(t *testing.T, name string, set map[string]string) *lab.Running {
	t.Helper()
	if !topo.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("private namespaces are not available")
		}
		t.Skip("private namespaces are not available: see the message at the top")
	}
	sc, ok := lab.Find(name)
	if !ok {
		t.Fatalf("no scenario %s", name)
	}
	run, err := sc.Start(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Close)
	return run
}

// burst opens n connections at once from the client and returns how long each took, sorted; failed ones take −1.
func burst(t *testing.T, run *lab.Running, n int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			began := time.Now()
			c, err := run.Client().Dial(t.Context(), &net.Dialer{Timeout: 5 * time.Second}, run.Target())
			took[i] = time.Since(began)
			if err != nil {
				took[i] = -1
				return
			}
			_ = c.SetLinger(0)
			c.Close()
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}

// about counts the durations of a burst by whole seconds.
func about(took []time.Duration) map[int]int {
	out := map[int]int{}
	for _, d := range took {
		if d < 0 {
			out[-1]++
			continue
		}
		out[int(d/(900*time.Millisecond))]++
	}
	return out
}

func TestARPClient(t *testing.T) {
	run := start(t, "arp-client", nil)
	for range 2 {
		got := about(burst(t, run, 10))
		if got[0] != 3 || got[1] != 7 {
			t.Errorf("cold: connects by seconds: %v, want 3 at once and 7 a second later", got)
		}
		if got := about(burst(t, run, 10)); got[0] != 10 {
			t.Errorf("warm: connects by seconds: %v, want 10 at once", got)
		}
		if err := run.Rearm(); err != nil {
			t.Fatal(err)
		}
	}
}
