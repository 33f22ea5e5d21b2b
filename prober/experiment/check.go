package experiment

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// HealthCheck imitates keepalived's TCP_CHECK: one ordinary connect at a time, closed as soon as it is there, and the bookkeeping that takes
// a real server out of its pool and puts it back. It changes nothing anywhere.
//
// keepalived 2.x: a failed check of a server that is up is repeated after delay_before_retry, up to retry times, before the server is
// taken out; of one that is down it is not; everything else waits delay_loop from the end of the last connect
// (keepalived/check/check_tcp.c tcp_epilog). One success puts the server back.
type HealthCheck struct {
	Source netip.AddrPort
	Dst    netip.AddrPort
	Ladder plan.Ladder
	CheckTiming
}

// CheckTiming are the options of a check, named as keepalived names them.
type CheckTiming struct {
	DelayLoop        time.Duration
	ConnectTimeout   time.Duration
	DelayBeforeRetry time.Duration
	Retry            int
	// Loops is how many loops are imitated; a loop with its retries is one.
	Loops int
}

// DefaultCheckTiming is what keepalived 2.x does where its configuration says nothing: delay_loop 60 s (KEEPALIVED_DEFAULT_DELAY,
// keepalived/include/check_data.h), connect_timeout 5 s (alloc_vs, keepalived/check/check_data.c), one retry after 1 s (queue_checker,
// keepalived/check/check_api.c). Two loops are the fewest that show both a failure and what follows.
func DefaultCheckTiming() CheckTiming {
	return CheckTiming{DelayLoop: time.Minute, ConnectTimeout: 5 * time.Second, DelayBeforeRetry: time.Second, Retry: 1, Loops: 2}
}

// Span is the longest that the loops can take: every try of the first fails in time, and so does the one of each later loop.
func (t CheckTiming) Span() time.Duration {
	if t.Loops < 1 {
		return 0
	}
	return times(t.Retry+t.Loops, t.ConnectTimeout) + times(t.Retry, t.DelayBeforeRetry) + times(t.Loops-1, t.DelayLoop)
}

func times(n int, d time.Duration) time.Duration { return time.Duration(n) * d }

// CheckEvent is what a loop does to the pool.
type CheckEvent string

// The events; CheckNone: nothing changes.
const (
	CheckNone    CheckEvent = "none"
	CheckEvicted CheckEvent = "evicted"
	CheckBack    CheckEvent = "put_back"
)

// CheckTry is one connect of a loop.
type CheckTry struct {
	At      time.Time
	Took    time.Duration
	OK      bool
	Outcome observe.Outcome
	SYNs    int // sent, repeats included
}

// CheckLoop is one loop with its retries, and the server's state after it.
type CheckLoop struct {
	Tries []CheckTry
	Event CheckEvent
	Up    bool
}

// OK reports whether the loop passed: its last try did.
func (l *CheckLoop) OK() bool { return len(l.Tries) > 0 && l.Tries[len(l.Tries)-1].OK }

// CheckRun is what the loops so far came to.
type CheckRun struct {
	Loops []CheckLoop
	// Unsure counts connects that could not be made: they are neither passed nor failed, and the loop waits for the next.
	Unsure              int
	Evictions, PutBacks int
	// Out is how long the server was out of the pool, up to the end of what was seen.
	Out time.Duration

	wait    time.Duration // before the next connect
	retries int           // of the loop under way
	open    bool          // a loop is under way, and its retry comes next
	up      bool
	since   time.Time // out since
}

// Read replays what was seen through keepalived's bookkeeping. The server is taken to be up at first, as keepalived takes it.
func (h *HealthCheck) Read(seen []observe.Observation) CheckRun {
	r := CheckRun{up: true}
	for i := range seen {
		for j := range seen[i].Attempts {
			h.try(&r, &seen[i].Attempts[j], &seen[i])
		}
	}
	if n := len(seen); n > 0 && !r.up {
		r.Out += seen[n-1].Finished.Sub(r.since)
	}
	return r
}

// try takes one connect.
func (h *HealthCheck) try(r *CheckRun, a *observe.Attempt, o *observe.Observation) {
	t := CheckTry{At: o.Started, Took: a.Handshake, OK: a.Outcome == observe.Accepted && a.Handshake <= h.ConnectTimeout, Outcome: a.Outcome, SYNs: len(a.SYNs)}
	if !t.OK {
		t.Took = o.Finished.Sub(o.Started)
	}
	if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown {
		r.Unsure++
		r.wait = h.DelayLoop // keepalived reschedules a connect that its own host denied
		return
	}
	if !r.open {
		r.Loops = append(r.Loops, CheckLoop{Event: CheckNone, Up: r.up})
		r.retries = 0
	}
	l := &r.Loops[len(r.Loops)-1]
	l.Tries = append(l.Tries, t)
	if !t.OK && r.up && r.retries < h.Retry {
		r.retries++
		r.wait, r.open = h.DelayBeforeRetry, true
		return
	}
	r.wait, r.open = h.DelayLoop, false
	switch {
	case t.OK && !r.up:
		r.up, l.Event = true, CheckBack
		r.PutBacks++
		r.Out += o.Finished.Sub(r.since)
	case !t.OK && r.up:
		r.up, l.Event = false, CheckEvicted
		r.Evictions++
		r.since = o.Finished
	}
	l.Up = r.up
}

// Next returns the next connect and how long to wait before it, or false when the loops are done.
func (h *HealthCheck) Next(seen []observe.Observation) (b plan.Burst, wait time.Duration, more bool) {
	r := h.Read(seen)
	if !r.open && len(r.Loops)+r.Unsure >= max(h.Loops, 1) {
		return b, 0, false
	}
	b = plan.Burst{Label: "check", Kind: plan.KindCheck, Listen: h.ConnectTimeout,
		Arms:  []plan.Arm{{Name: "check", Via: plan.Kernel, Script: plan.Script{Ladder: h.Ladder.Until(h.ConnectTimeout), Then: plan.Exchange{Close: plan.CloseFirst}}}},
		Shots: []plan.Shot{{Flow: wire.Flow{Src: h.Source, Dst: h.Dst}}}}
	if len(seen) == 0 {
		return b, 0, true
	}
	return b, r.wait, true
}
