package experiment_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// listening investigates with leave to measure a listener by most half-open connections.
func listening(w *fakenet.World, seed uint64, most int) result {
	return pursue(w, seed, patient, func(s *experiment.Setup) { s.Backlog = most })
}

func figure(t *testing.T, d *diagnose.Diagnosis, name string) diagnose.Measurement {
	t.Helper()
	i := slices.IndexFunc(d.Measurements, func(m diagnose.Measurement) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no %s among %v", name, d.Measurements)
	}
	return d.Measurements[i]
}

func withBacklog(seed uint64, backlog int, c fakenet.Cookies) *fakenet.World {
	w := fakenet.CookiesOverBacklog(seed, backlog)
	w.Hosts[0].Ports[80].Cookies = c
	return w
}

// A listener's backlog is measured to one, whatever it is, and never said to be more than it is.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const asked = 160
	for name, c := range map[string]struct {
		world func(seed uint64, backlog int) *fakenet.World
		from  int // least backlog
		to    int // most
		tight bool
		bound bool // a lower bound at least is found
	}{
		"cookies when full": {from: 1, to: 140, tight: true, bound: true, world: func(seed uint64, n int) *fakenet.World { return withBacklog(seed, n, fakenet.CookiesOnFull) }},
		"on a long, uneven path": {from: 1, to: 140, tight: true, bound: true, world: func(seed uint64, n int) *fakenet.World {
			w := withBacklog(seed, n, fakenet.CookiesOnFull)
			w.OneWay, w.Jitter = 40*time.Millisecond, 20*time.Millisecond
			return w
		}},
		"near miss: more than was asked": {from: 160, to: 4000, bound: true, world: func(seed uint64, n int) *fakenet.World { return withBacklog(seed, n, fakenet.CookiesOnFull) }},
		"near miss: cookies off":         {from: 20, to: 140, bound: true, world: func(seed uint64, n int) *fakenet.World { return withBacklog(seed, n, fakenet.CookiesOff) }},
		"near miss: cookies always":      {from: 1, to: 140, world: func(seed uint64, n int) *fakenet.World { return withBacklog(seed, n, fakenet.CookiesAlways) }},
		"near miss: a SYN proxy":         {from: 1, to: 140, world: func(seed uint64, _ int) *fakenet.World { return fakenet.Synproxy(seed, false) }},
		"near miss: 3 % loss": {from: 1, to: 140, world: func(seed uint64, n int) *fakenet.World {
			return lose(withBacklog(seed, n, fakenet.CookiesOnFull), 0.03)
		}},
		"near miss: three members by hash": {from: 1, to: 45, world: func(seed uint64, n int) *fakenet.World {
			w := fakenet.CleanVIP(seed, 3)
			for _, h := range w.Hosts {
				h.Ports[80].Backlog = n
			}
			return w
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(40) {
				n := between(rand.New(rand.NewPCG(seed, 5)), c.from, c.to)
				w := c.world(seed, n)
				members := max(1, len(w.Members))
				res := listening(w, seed, asked)
				if len(res.diagnosis.Measurements) == 0 && !c.bound {
					continue // given up before, for loss
				}
				m := figure(t, &res.diagnosis, diagnose.ListenerBacklog)
				switch {
				case c.bound && !m.Measured():
					t.Errorf("seed %d, backlog %d: %s", seed, n, &m)
				case m.Measured() && (m.Value > n*members+members-1 || m.Most > 0 && m.Most < n):
					t.Errorf("seed %d, backlog %d: %s", seed, n, &m)
				case c.tight && (m.Value != n || m.Most != n+1):
					t.Errorf("seed %d, backlog %d: %s", seed, n, &m)
				}
				w.Wait(time.Second) // the last resets arrive
				if w.Lose == 0 && len(w.Members) == 0 && w.Hosts[0].Ports[80].HalfOpen != 0 {
					t.Errorf("seed %d: %d connections left half-open", seed, w.Hosts[0].Ports[80].HalfOpen)
				}
			}
		})
	}
}

// Without leave nothing of the sort is done.
func TestNoBacklogWithoutLeave(t *testing.T) {
	t.Parallel()
	res := investigate(withBacklog(1, 4, fakenet.CookiesOnFull), 1, 10, false)
	for i := range res.seen {
		if k := res.seen[i].Kind; k == plan.KindBacklog || k == plan.KindIdle {
			t.Errorf("burst %d is of kind %s", i, k)
		}
	}
}

// noted counts the seeds in which a benign verdict stands among the notes.
func noted(t *testing.T, v diagnose.Verdict, most int, world func(seed uint64) *fakenet.World) (hits, n int) {
	t.Helper()
	const seeds = 40
	for seed := range uint64(seeds) {
		res := listening(world(seed), seed, most)
		if slices.ContainsFunc(res.diagnosis.Causes, func(c diagnose.Cause) bool { return c.Verdict == v }) {
			t.Errorf("seed %d: %s is named as a cause", seed, v)
		}
		if slices.ContainsFunc(res.diagnosis.Notes, func(f diagnose.Finding) bool { return f.Verdict == v && f.Level >= diagnose.Suspected }) {
			hits++
		}
	}
	return hits, seeds
}

// What is no fault is told where it is seen, and only there.
func TestBenignNotes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		verdict     diagnose.Verdict
		most        int
		world       func(seed uint64) *fakenet.World
		least, much int // of 40
	}{
		"cookies always":                      {diagnose.SYNCookiesActive, 0, fakenet.SYNCookies, 40, 40},
		"cookies always, 3 % loss":            {diagnose.SYNCookiesActive, 0, func(s uint64) *fakenet.World { return lose(fakenet.SYNCookies(s), 0.03) }, 30, 40},
		"a SYN proxy":                         {diagnose.SYNCookiesActive, 0, func(s uint64) *fakenet.World { return fakenet.Synproxy(s, false) }, 40, 40},
		"near miss: cookies beyond a backlog": {diagnose.SYNCookiesActive, 0, func(s uint64) *fakenet.World { return withBacklog(s, 100, fakenet.CookiesOnFull) }, 0, 0},
		"near miss: 3 % loss":                 {diagnose.SYNCookiesActive, 0, func(s uint64) *fakenet.World { return lose(fakenet.Clean(s), 0.03) }, 0, 0},
		"near miss: a clock of 100 Hz": {diagnose.SYNCookiesActive, 0, func(s uint64) *fakenet.World {
			w := fakenet.Clean(s)
			w.Hosts[0].Clock.Hz = 100
			return w
		}, 0, 0},
		"near miss: a clock of 2 Hz": {diagnose.SYNCookiesActive, 0, func(s uint64) *fakenet.World {
			w := fakenet.Clean(s)
			w.Hosts[0].Clock.Hz = 2
			return w
		}, 0, 0},
		"deferred accept":            {diagnose.DeferAcceptBenign, 16, fakenet.DeferAccept, 40, 40},
		"near miss: nobody accepts":  {diagnose.DeferAcceptBenign, 16, func(s uint64) *fakenet.World { return fakenet.AcceptFull(s, 12) }, 0, 0},
		"near miss: an idle service": {diagnose.DeferAcceptBenign, 16, fakenet.Clean, 0, 0},
		"near miss: 5 % loss":        {diagnose.DeferAcceptBenign, 16, func(s uint64) *fakenet.World { return lose(fakenet.Clean(s), 0.05) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if hits, n := noted(t, c.verdict, c.most, c.world); hits < c.least || hits > c.much {
				t.Errorf("noted in %d of %d networks", hits, n)
			}
		})
	}
}

// Members are counted by what makes them differ, never more than there are.
func TestMembers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(seed uint64) *fakenet.World
		least int // in each network; 0: none may be counted
		most  int
	}{
		"four that differ":                    {func(s uint64) *fakenet.World { return fakenet.Mixed(s, 4) }, 3, 4},
		"six of four kinds":                   {func(s uint64) *fakenet.World { return fakenet.Mixed(s, 6) }, 2, 4},
		"near miss: five alike":               {func(s uint64) *fakenet.World { return fakenet.CleanVIP(s, 5) }, 0, 0},
		"near miss: one, cookies when full":   {func(s uint64) *fakenet.World { return withBacklog(s, 3, fakenet.CookiesOnFull) }, 0, 0},
		"near miss: one on a path that jumps": {func(s uint64) *fakenet.World { return fakenet.Jittery(s, 20*time.Millisecond, 30*time.Millisecond) }, 0, 0},
		"near miss: one, 5 % loss":            {func(s uint64) *fakenet.World { return lose(fakenet.Clean(s), 0.05) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(30) {
				res := investigate(c.world(seed), seed, 10, false)
				i := slices.IndexFunc(res.diagnosis.Measurements, func(m diagnose.Measurement) bool { return m.Name == diagnose.PoolMembers })
				got := 0
				if i >= 0 {
					got = res.diagnosis.Measurements[i].Value
				}
				if got < c.least || got > c.most {
					t.Errorf("seed %d: %d members", seed, got)
				}
			}
		})
	}
}
