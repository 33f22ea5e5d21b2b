package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sd "github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/vipprobe/vipprobe/targets"
)

// Options shape a Discovery.
type Options struct {
	// Logger is told what discovery could not read or ask, secrets left out.
	Logger *slog.Logger
	// Changed is called after targets have come or gone, not more often than each gather; nil: nobody is told. It is called from one goroutine.
	Changed func()
}

// Discovery runs the discovery of jobs. It is safe for concurrent use. Close ends it.
type Discovery struct {
	opts    Options
	metrics *sd.SDMetrics
	ctx     context.Context //nolint:containedctx // it is the life of what runs between New and Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	changed chan struct{}

	mu        sync.Mutex
	jobs      []targets.Job
	providers []*provider
	failures  map[failure]uint64
	counts    []Count // as of the last Found
}

// failure is what went wrong where.
type failure struct{ job, mechanism string }

// provider is one block of one job in execution.
type provider struct {
	job      string
	config   sd.Config
	cancel   context.CancelFunc
	replaced bool // it has ended; what it found holds until those in its place have found something
	started  time.Time
	heard    bool
	groups   map[string]*targetgroup.Group // by source
}

// gather is how long what changes is gathered before it is told; settle is how long what a block has found holds after the block was replaced by
// another that finds nothing.
const (
	gather = 200 * time.Millisecond
	settle = 10 * time.Second
)

// New makes a Discovery of nothing: see Apply. The error is a fault of this program's.
func New(o Options) (*Discovery, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := sd.CreateAndRegisterSDMetrics(prometheus.NewRegistry()) // ours say the same in our words
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	d := &Discovery{opts: o, metrics: m, changed: make(chan struct{}, 1), failures: map[failure]uint64{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.running.Go(d.telling)
	return d, nil
}

// Close ends every block and waits for them.
func (d *Discovery) Close() {
	d.cancel()
	d.running.Wait()
}

// Apply puts the jobs of a configuration in force. Blocks that stay as they are go on; what a changed block has found holds until the new one has found
// something, for some seconds, so that no target goes only to come again. The error names the block that cannot be started; then nothing has changed.
func (d *Discovery) Apply(jobs []targets.Job) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var next, fresh []*provider
	var begin []func()
	old := slices.Clone(d.providers)
	for i := range jobs {
		j := &jobs[i]
		for n, c := range configs(j.Sources) {
			at := slices.IndexFunc(old, func(p *provider) bool {
				return !p.replaced && p.job == j.Name && reflect.DeepEqual(p.config, c)
			})
			if at >= 0 {
				next = append(next, old[at])
				old = slices.Delete(old, at, at+1)
				continue
			}
			p := &provider{job: j.Name, config: c, groups: map[string]*targetgroup.Group{}, started: time.Now()}
			run, err := d.prepare(p)
			if err != nil {
				return fmt.Errorf("job %s: discovery block %d (%s): %w", j.Name, n, c.Name(), err)
			}
			fresh, begin = append(fresh, p), append(begin, run)
		}
	}
	for _, p := range old {
		p.cancel()
		p.replaced = true
		if len(p.groups) > 0 && slices.ContainsFunc(fresh, func(f *provider) bool { return f.job == p.job }) {
			next = append(next, p)
		}
	}
	d.jobs, d.providers = slices.Clone(jobs), append(next, fresh...)
	d.prune(time.Now())
	for _, run := range begin {
		run()
	}
	if len(fresh) > 0 {
		d.running.Go(d.settling)
	}
	return nil
}

// prepare makes a block ready to be run.
func (d *Discovery) prepare(p *provider) (run func(), err error) {
	name := p.config.Name()
	log := slog.New(&discreet{to: d.opts.Logger.With("job", p.job, "discovery", name).Handler(), hide: secretsOf(p.config), failed: func() { d.failed(failure{p.job, name}) }})
	finder, err := p.config.NewDiscoverer(sd.DiscovererOptions{Logger: log, Metrics: d.metrics.MechanismMetrics[name], SetName: p.job})
	if err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithCancel(d.ctx)
		p.cancel = cancel
		found := make(chan []*targetgroup.Group)
		d.running.Go(func() { finder.Run(ctx, found) })
		d.running.Go(func() { d.hear(ctx, p, found) })
	}, nil
}

// hear takes what a block finds until it ends.
func (d *Discovery) hear(ctx context.Context, p *provider, found <-chan []*targetgroup.Group) {
	for {
		select {
		case <-ctx.Done():
			return
		case groups, open := <-found:
			if !open {
				return
			}
			d.take(p, groups)
		}
	}
}

// take keeps what a block has found; a group without targets is one that has gone.
func (d *Discovery) take(p *provider, groups []*targetgroup.Group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.replaced {
		return
	}
	for _, g := range groups {
		switch {
		case g == nil:
		case len(g.Targets) == 0:
			delete(p.groups, g.Source)
		default:
			p.groups[g.Source] = g
		}
	}
	p.heard = true
	d.prune(time.Now())
	d.tell()
}

// prune forgets what replaced blocks have found, of jobs whose blocks have all found something or had the time to. The caller holds the lock.
func (d *Discovery) prune(now time.Time) {
	waits := map[string]bool{}
	for _, p := range d.providers {
		waits[p.job] = waits[p.job] || !p.replaced && !p.heard && now.Sub(p.started) < settle
	}
	d.providers = slices.DeleteFunc(d.providers, func(p *provider) bool { return p.replaced && !waits[p.job] })
}

// settling prunes once blocks that were begun have had their time.
func (d *Discovery) settling() {
	t := time.NewTimer(settle)
	defer t.Stop()
	select {
	case <-d.ctx.Done():
	case <-t.C:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.prune(time.Now())
		d.tell()
	}
}

func (d *Discovery) tell() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// telling tells of changes, gathered.
func (d *Discovery) telling() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.changed:
		}
		t := time.NewTimer(gather)
		select {
		case <-d.ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		select { // what came meanwhile is told with it
		case <-d.changed:
		default:
		}
		if d.opts.Changed != nil {
			d.opts.Changed()
		}
	}
}

func (d *Discovery) failed(f failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures[f]++
}
