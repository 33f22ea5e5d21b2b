package prober

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// inquiries are the diagnoses that scheduled rounds call for: at once, one at a time of a target, and few at a time of all. What calls for
// one while it runs shares it; so does what calls soon after.
type inquiries struct {
	run func(context.Context, string, DiagnoseOptions) ([]Round, error)

	mu    sync.Mutex
	going map[string]bool
	last  map[string]time.Time // when the last one of a target ended
	swept time.Time
}

// The bounds of diagnoses that nobody asked for by hand: so many at a time, so long, so many SYNs to each address and so many members of a VIP,
// and so long between two of one target.
const (
	inquiriesAtOnce = 2
	inquirySeconds  = 45
	inquirySYNs     = 600
	inquiryMembers  = 16
	inquiryPause    = 10 * time.Minute
)

func newInquiries(run func(context.Context, string, DiagnoseOptions) ([]Round, error)) *inquiries {
	return &inquiries{run: run, going: map[string]bool{}, last: map[string]time.Time{}}
}

// ill reports whether a round calls for a diagnosis: an attempt was not accepted, or only after a SYN was lost. What this host could not send
// does not, nor what is a diagnosis itself.
func (r *Round) ill() bool {
	if r.Err != nil || len(r.Observations) == 0 || traitsOf(r.Kind).subject != diagnose.SubjectUnknown {
		return false
	}
	s := Summarize(r.Connections())
	return !r.Success || s.Stalled > 0
}

// enter takes a target's turn; false: it is not to be diagnosed now.
func (q *inquiries) enter(target string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.swept) > inquiryPause {
		for t, at := range q.last {
			if now.Sub(at) >= inquiryPause {
				delete(q.last, t)
			}
		}
		q.swept = now
	}
	if last, known := q.last[target]; q.going[target] || len(q.going) >= inquiriesAtOnce || known && now.Sub(last) < inquiryPause {
		return false
	}
	q.going[target] = true
	return true
}

func (q *inquiries) leave(target string, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.going, target)
	q.last[target] = now
}

// inquire has a target diagnosed whose rounds are not well, where its job wants that. It does not wait.
func (s *Schedule) inquire(ctx context.Context, d *dueTarget, j *Job, rounds []Round) {
	if s.asks == nil || !j.Diagnose || !slices.ContainsFunc(rounds, func(r Round) bool { return r.ill() }) || !s.asks.enter(d.target, time.Now()) {
		return
	}
	m := DefaultModule()
	m.Source, m.Interface, m.IPProtocol, m.IPFallback = j.Module.Source, j.Module.Interface, j.Module.IPProtocol, j.Module.IPFallback
	m.Record.On = true
	members := j.Members[:min(len(j.Members), inquiryMembers)]
	s.spawn(func() {
		defer func() { s.asks.leave(d.target, time.Now()) }()
		found, err := s.asks.run(ctx, d.target, DiagnoseOptions{Module: m, Seconds: inquirySeconds, MaxSYNs: inquirySYNs, Members: members})
		if err == nil && ctx.Err() == nil && !d.gone.Load() {
			s.sink.Diagnosed(j.Name, j.Module.Name, j.Labels, d.target, found)
		}
	})
}
