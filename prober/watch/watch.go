package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/sockdiag"
	"github.com/vipprobe/vipprobe/prober/peers"
)

// Options say what is watched.
type Options struct {
	// Places are namespaces as hostproc.ParsePlace has them; none: this process's own.
	Places []hostproc.Place
	// Peers is how many peers are named at most; 0: connections are not looked at.
	Peers int
	// Sockets bounds the connections followed, 0: peers.DefaultSockets.
	Sockets int
}

// Reading is one place at one moment.
type Reading struct {
	// Place is how the namespace was called, Kernel the machine's release ("6.18.0").
	Place, Kernel string
	At            time.Time
	// Span is the time since the reading before, Since that since the first: 0 at the first.
	Span, Since time.Duration
	// Values are the counters as they stand. Interval and Whole are by how much they rose in Span and Since, where they did.
	Values, Interval, Whole map[string]int64
	// Missing is what the kernel or namespace does not show, with why. Reset is counters that fell, and count anew from here.
	Missing, Reset []string
	// Peers is the connections by peer, of Span and of Since; nil where they were not looked at, and PeersErr says why.
	Peers, PeersWhole *peers.Report
	PeersErr          error
	// Err is why the place could not be read; nothing above but Place and At is then new.
	Err error
}

// Watcher reads places. It is not safe for concurrent use.
type Watcher struct {
	subjects []*subject
	release  string
}

// subject is one place and what is remembered of it.
type subject struct {
	ns      *hostproc.Namespace
	sockets *sockdiag.Conn
	tracker *peers.Tracker
	top     int
	deny    error // why connections are not looked at
	first   time.Time
	last    Reading
	before  hostproc.Counters
}

// Open opens all places. The error says which could not be, and what would permit it.
func Open(o Options) (*Watcher, error) {
	if len(o.Places) == 0 {
		o.Places = []hostproc.Place{{}}
	}
	w := &Watcher{}
	w.release, _ = hostproc.Kernel()
	for _, p := range o.Places {
		ns, err := hostproc.OpenNamespace(p)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		s := &subject{ns: ns, top: o.Peers}
		w.subjects = append(w.subjects, s)
		if o.Peers > 0 {
			s.tracker = peers.NewTracker(o.Sockets, 0)
			s.deny = ns.Do(func() (err error) {
				s.sockets, err = sockdiag.Dial()
				return err
			})
		}
	}
	return w, nil
}

// Close closes all places.
func (w *Watcher) Close() error {
	var errs []error
	for _, s := range w.subjects {
		if s.sockets != nil {
			errs = append(errs, s.sockets.Close())
		}
		errs = append(errs, s.ns.Close())
	}
	return errors.Join(errs...)
}

// Limited lists, for places that could not be entered, why only their counters are read.
func (w *Watcher) Limited() []error {
	var out []error
	for _, s := range w.subjects {
		if err := s.ns.Limited(); err != nil {
			out = append(out, fmt.Errorf("only counters are read of %s: %w", s.ns.Place(), err))
		}
	}
	return out
}

// Settings reads the settings of TCP of each place. The error says of which they could not be read.
func (w *Watcher) Settings() ([]map[string]string, error) {
	var out []map[string]string
	for _, s := range w.subjects {
		m, err := s.ns.Sysctls()
		if err != nil {
			return nil, fmt.Errorf("read the settings of %s: %w", s.ns.Place(), err)
		}
		out = append(out, m)
	}
	return out, nil
}

// Read takes a reading of each place.
func (w *Watcher) Read() []Reading {
	out := make([]Reading, 0, len(w.subjects))
	for _, s := range w.subjects {
		out = append(out, s.read(w.release))
	}
	return out
}

func (s *subject) read(release string) Reading {
	at := time.Now()
	c, err := s.ns.Read()
	r := s.last
	r.Place, r.Kernel, r.Err = s.ns.Place().String(), release, err
	if err != nil {
		r.At = at
		return r
	}
	if s.first.IsZero() {
		s.first, s.before = at, c
		r.Whole = map[string]int64{}
	} else {
		r.Span = at.Sub(r.At)
	}
	r.At, r.Since = at, at.Sub(s.first)
	r.rise(s.before, c)
	s.before = c
	s.connections(&r)
	s.last = r
	return r
}

// rise adds what rose between two readings.
func (r *Reading) rise(before, after hostproc.Counters) {
	r.Values, r.Missing = after.Values, after.Missing
	r.Interval = hostproc.Delta(before, after)
	r.Reset = hostproc.Reset(before, after)
	whole := maps.Clone(r.Whole) // the one of the last reading is somebody else's now
	if whole == nil {
		whole = map[string]int64{}
	}
	for name, n := range r.Interval {
		whole[name] += n
	}
	r.Whole = whole
}

// connections reads the sockets, if that is asked for and permitted.
func (s *subject) connections(r *Reading) {
	r.Peers, r.PeersWhole, r.PeersErr = nil, nil, s.deny
	if s.tracker == nil || s.deny != nil {
		return
	}
	s.tracker.Begin()
	if r.PeersErr = s.sockets.Each(s.tracker.Add); r.PeersErr != nil {
		s.deny = r.PeersErr // a listing cut short would count the rest as ended
		return
	}
	s.tracker.End()
	interval, whole := s.tracker.Interval(s.top), s.tracker.Whole(s.top)
	r.Peers, r.PeersWhole = &interval, &whole
}

// Saved compares two directories that hold copies of a host's /proc/net as "net", taken one after the other. Nothing is known of the
// time between them: Span and Since are 0.
func Saved(before, after string) (Reading, error) {
	a, err := hostproc.ReadSaved(before)
	if err != nil {
		return Reading{}, err
	}
	b, err := hostproc.ReadSaved(after)
	if err != nil {
		return Reading{}, err
	}
	r := Reading{Place: before + " → " + after}
	r.rise(a, b)
	return r, nil
}

// Run reads every interval until ctx ends, or count readings after the first were taken (0: no end), or time is over (0: no end), and
// gives each to f, the first included. It ends with f's error, or the places' when none of them can be read any more; ctx's end is no error.
func (w *Watcher) Run(ctx context.Context, interval time.Duration, count int, length time.Duration, f func([]Reading) error) error {
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	if err := w.hand(f); err != nil {
		return err
	}
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return w.hand(f) // what came since the last tick belongs to the sum
		case <-tick.C:
		}
		if err := w.hand(f); err != nil || n == count {
			return err
		}
	}
}

func (w *Watcher) hand(f func([]Reading) error) error {
	readings := w.Read()
	if err := f(readings); err != nil {
		return err
	}
	var errs []error
	for i := range readings {
		if readings[i].Err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", readings[i].Place, readings[i].Err))
	}
	return errors.Join(errs...)
}

// Gauge is how many sockets of a protocol are in a state, as sockstat has it: TCP and inuse, orphan, tw or alloc.
type Gauge struct {
	Protocol, State string
	N               int64
}

// Sockets lists the socket gauges, memory (pages) left out, in an order of their names.
func (r *Reading) Sockets() []Gauge {
	var out []Gauge
	for name, n := range r.Values {
		rest, ok := strings.CutPrefix(name, "sockstat.")
		if !ok {
			continue
		}
		protocol, state, ok := strings.Cut(rest, ".")
		if ok && state != "mem" && state != "memory" {
			out = append(out, Gauge{protocol, state, n})
		}
	}
	slices.SortFunc(out, func(a, b Gauge) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.State, b.State))
	})
	return out
}
