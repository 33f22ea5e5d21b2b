package prober

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/deposition"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/witness"
)

// TestimonySource is a server that tells its own kernel counters while it is probed.
type TestimonySource struct {
	// Server is the target or member whose counters they are, HOST:PORT as it was asked for.
	Server string
	// URL is that of a vipprobe that serves its testimony (HOST:PORT will do), or of a node_exporter (it ends in /metrics).
	URL string
	// User, where set, asks with HTTP basic authentication and Secret for password; else Secret is a bearer token; empty: none.
	User   string
	Secret Secret
	CAFile string // PEM; empty: the system's authorities
}

// Secret is a text that is never printed.
type Secret string

// String hides it.
func (Secret) String() string { return "<hidden>" }

// GoString hides it from %#v.
func (Secret) GoString() string { return `"<hidden>"` }

// CheckTestimony reports why a source cannot be asked at all: its URL, or the file of its authority.
func (s *TestimonySource) CheckTestimony() error {
	k, err := s.client(0)
	if err != nil {
		return fmt.Errorf("testimony of %s at %q: %w", s.Server, s.URL, err)
	}
	k.Close()
	return nil
}

func (s *TestimonySource) client(port uint16) (*deposition.Client, error) {
	c := deposition.Credentials{User: s.User, Secret: string(s.Secret), CAFile: s.CAFile}
	return deposition.New(s.URL, c, witness.Counters(), []uint16{port})
}

// How often servers are asked, and how long before the first burst: their counters' background is what moves then.
const (
	askEvery         = 200 * time.Millisecond
	askExporterEvery = 500 * time.Millisecond // a scrape costs a node_exporter some ms of a core
	askTimeout       = 2 * time.Second
	quietLead        = 2 * time.Second
	// quietExporter makes up for the longer stretches: six without SYNs, and nine with, tell chance from a witness.
	quietExporter  = 3 * time.Second
	mostStatements = 4096 // of one diagnosis: thirteen minutes
)

// inquest reads the counters of some servers, all at the same moments, until it is closed. A nil inquest reads nothing.
type inquest struct {
	clients []*deposition.Client
	every   time.Duration
	lead    time.Duration
	cancel  context.CancelFunc
	ended   sync.WaitGroup

	mu        sync.Mutex
	witnesses []observe.Witness
	refused   []bool
	asking    sync.Mutex // held while a round of questions is under way
}

// inquire begins to read the counters of the servers that belong to a target, and returns once the quiet before the first burst has been heard;
// nil where nobody can be asked.
func inquire(ctx context.Context, target string, o *DiagnoseOptions) (*inquest, error) {
	q := &inquest{every: askEvery, lead: quietLead}
	for i := range o.Testimony {
		s := &o.Testimony[i]
		if s.Server != target && !slices.Contains(o.Members, s.Server) {
			continue
		}
		ep, err := ParseEndpoint(s.Server)
		if err != nil {
			return nil, err
		}
		k, err := s.client(ep.Port)
		if err != nil {
			q.close()
			return nil, fmt.Errorf("testimony of %s at %q: %w", s.Server, s.URL, err)
		}
		q.clients = append(q.clients, k)
		q.witnesses = append(q.witnesses, observe.Witness{Server: s.Server, Direct: s.Server == target, Source: k.Source(), Port: ep.Port})
		if k.Source() == observe.SourceNodeExporter {
			q.every, q.lead = askExporterEvery, quietExporter
		}
	}
	if len(q.clients) == 0 {
		return nil, nil
	}
	q.refused = make([]bool, len(q.clients))
	q.ask(ctx, true)
	ctx, q.cancel = context.WithCancel(ctx)
	q.ended.Go(func() { q.run(ctx) })
	if slices.Contains(q.refused, false) {
		pause(ctx, q.lead)
	}
	return q, nil
}

// run asks again and again.
func (q *inquest) run(ctx context.Context) {
	tick := time.NewTicker(q.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			q.ask(ctx, false)
		}
	}
}

// ask puts one round of questions to all servers at once. Who does not answer has an empty statement, so that the statements of all stay in step.
func (q *inquest) ask(ctx context.Context, settings bool) {
	q.asking.Lock()
	defer q.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make([]deposition.Answer, len(q.clients))
	errs := make([]error, len(q.clients))
	var wg sync.WaitGroup
	for i, k := range q.clients {
		if q.refused[i] {
			continue
		}
		wg.Go(func() { answers[i], errs[i] = k.Ask(ctx, settings) })
	}
	wg.Wait()
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the end of the inquest, and no fault of theirs
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range answers {
		q.hear(i, &answers[i], errs[i])
	}
}

// mostComplaints is how many different errors of one server are kept.
const mostComplaints = 4

// hear keeps one answer. The caller holds mu.
func (q *inquest) hear(i int, a *deposition.Answer, err error) {
	w := &q.witnesses[i]
	if err != nil {
		if _, refused := errors.AsType[*deposition.RefusedError](err); refused {
			q.refused[i] = true
		}
		a.Missing = []string{err.Error()}
	}
	for _, m := range a.Missing {
		if len(w.Missing) < mostComplaints && !slices.Contains(w.Missing, m) {
			w.Missing = append(w.Missing, m)
		}
	}
	if len(a.Settings) > 0 {
		w.Settings = a.Settings
	}
	if a.Kernel != "" {
		w.Kernel = a.Kernel
	}
	if len(w.Statements) < mostStatements {
		w.Statements = append(w.Statements, a.Statement)
	}
}

// mostHeard bounds the wait for a background at the end of a diagnosis.
const mostHeard = 6 * time.Second

// heard is what the servers have said, once they have been listened to for long enough after the last SYN of ours to tell their counters' background, as far as the
// time of the diagnosis allows it.
func (q *inquest) heard(ctx context.Context, seen []observe.Observation) []observe.Witness {
	said := q.said(ctx)
	if d := min(witness.Lacks(seen, said), mostHeard); d > 0 && ctx.Err() == nil {
		pause(ctx, d)
		said = q.said(ctx)
	}
	return said
}

// said asks once more and returns what the servers have said so far.
func (q *inquest) said(ctx context.Context) []observe.Witness {
	if q == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	q.ask(ctx, false)
	q.mu.Lock()
	defer q.mu.Unlock()
	out := slices.Clone(q.witnesses)
	for i := range out {
		out[i].Statements, out[i].Missing = slices.Clone(out[i].Statements), slices.Clone(out[i].Missing)
	}
	return out
}

// close ends the inquest and waits for it.
func (q *inquest) close() {
	if q == nil {
		return
	}
	if q.cancel != nil {
		q.cancel()
	}
	q.ended.Wait()
	for _, k := range q.clients {
		k.Close()
	}
}
