package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/watch"
)

type watchFlags struct {
	netns         []string
	pids          []int
	interval      time.Duration
	count         int
	length        time.Duration
	output        string
	listen        string
	before, after string
	compare       bool
	peers         bool
	drops         bool
	top           int
	all           bool
}

func watchCommand() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch [--compare A B]",
		Short: "Watch a host's own counters, by the faults that they testify to",
		Long: "watch reads the kernel's counters again and again and shows those that rise, by topic, each with what it means and which\n" +
			"verdicts it speaks for. It sends nothing and changes nothing. Counters are of all connections of a network namespace (or of\n" +
			"the machine, where that is said): what rises while a fault is there is a witness, not yet the cause.\n\n" +
			"Ctrl-C ends it with the sum. Another namespace is entered with CAP_SYS_ADMIN; counters of a process's namespace are read\n" +
			"without.",
		Example: "  vipprobe watch\n  vipprobe watch --pid $(pidof -s postgres) --for 1m\n  vipprobe watch --peers\n  vipprobe watch --compare host 4711\n" +
			"  mkdir before after; cp -rL /proc/net before/; sleep 60; cp -rL /proc/net after/\n  vipprobe watch --before before --after after",
		Args: f.args,
		RunE: f.run,
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.netns, "netns", nil, "network namespace by its name (ip netns) or path, may be repeated; default: this process's own")
	fs.IntSliceVar(&f.pids, "pid", nil, "network namespace of a process, such as a container's; may be repeated")
	fs.DurationVar(&f.interval, "interval", time.Second, "time between readings, 100 ms to 1 h")
	fs.IntVar(&f.count, "count", 0, "end after this many intervals; 0: none")
	fs.DurationVar(&f.length, "for", 0, "end after this time; 0: no end")
	fs.StringVarP(&f.output, "output", "o", "table", "table, json (the sum), ndjson (each interval, and the sum) or prometheus (one exposition of the counters as they stand)")
	fs.StringVar(&f.listen, "listen", "", "serve the counters on this address under /metrics in place of showing them")
	fs.StringVar(&f.before, "before", "", "directory with a copy of /proc/net as it was before (see the examples), in place of a live host; with --after")
	fs.StringVar(&f.after, "after", "", "directory with a copy of /proc/net as it was after")
	fs.BoolVar(&f.compare, "compare", false, "compare two namespaces, each a name, a path, a process id or \"host\": settings that differ, and rates side by side")
	fs.BoolVar(&f.peers, "peers", false, "look at every TCP connection, and say which peers are behind what is sent again and reordered")
	fs.BoolVar(&f.drops, "drops", false, "count in the kernel (eBPF) which packets it drops and why, which segments TCP sends again to whom and why, and what becomes of "+
		"neighbours; it needs CAP_BPF, CAP_PERFMON and a kernel with BTF")
	fs.IntVar(&f.top, "top", 10, "peers, flows or neighbours to name at most, 1 to 1000")
	fs.BoolVar(&f.all, "all", false, "also show counters that rise and have no explanation")
	return cmd
}

// args are the two namespaces of --compare, and else none.
func (f *watchFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case f.compare && len(args) != 2:
		return usageError{fmt.Errorf("watch --compare: want two namespaces, not %d: names, paths, process ids or %q", len(args), watch.Host)}
	case !f.compare:
		return noArgs(cmd, args)
	}
	return nil
}

// check says what is wrong with the flags, each by its name.
func (f *watchFlags) check() error {
	switch {
	case !slices.Contains([]string{"table", "json", "ndjson", "prometheus"}, f.output):
		return fmt.Errorf("--output %q: want table, json, ndjson or prometheus", f.output)
	case f.interval < 100*time.Millisecond || f.interval > time.Hour:
		return fmt.Errorf("--interval %s: want 100ms to 1h", f.interval)
	case f.count < 0:
		return fmt.Errorf("--count %d: want 0 or more", f.count)
	case f.length < 0:
		return fmt.Errorf("--for %s: want 0 or more", f.length)
	case f.top < 1 || f.top > 1000:
		return fmt.Errorf("--top %d: want 1 to 1000", f.top)
	}
	return f.together()
}

// together says which flags do not go with each other.
func (f *watchFlags) together() error {
	places, metrics := len(f.netns)+len(f.pids) > 0, f.listen != "" || f.output == "prometheus"
	if f.before != "" || f.after != "" {
		return f.saved(metrics || places)
	}
	if err := f.tracing(metrics); err != nil {
		return err
	}
	switch {
	case f.compare && places:
		return errors.New("--compare names its two namespaces itself; leave out --netns and --pid")
	case f.compare && metrics:
		return errors.New("--compare is for people and JSON; metrics of two namespaces are had by --netns or --pid given twice")
	case f.listen != "" && (f.count > 0 || f.length > 0):
		return errors.New("--listen serves until it is ended; leave out --count and --for")
	}
	return nil
}

// saved says what does not go with copies of /proc/net; live: something of this moment is asked for.
func (f *watchFlags) saved(live bool) error {
	switch {
	case f.before == "" || f.after == "":
		return errors.New("--before and --after go together: two copies of /proc/net")
	case live || f.peers || f.compare || f.drops:
		return errors.New("--before and --after: saved copies have no namespaces, no connections and no present; leave out --netns, --pid, --peers, --drops, --compare, --listen and -o prometheus")
	}
	return nil
}

// tracing says what does not go with --drops.
func (f *watchFlags) tracing(metrics bool) error {
	if f.drops && (metrics || f.peers || f.compare || len(f.netns)+len(f.pids) > 1) {
		return errors.New("--drops looks at one namespace, in a table, JSON or ndjson; leave out --compare, --peers, --listen, -o prometheus and a second --netns or --pid")
	}
	return nil
}

// places are the namespaces asked for, in their order.
func (f *watchFlags) places(args []string) ([]watch.Place, error) {
	var out []watch.Place
	for _, text := range args {
		p, err := watch.ParsePlace(text)
		if err != nil {
			return nil, fmt.Errorf("--compare %w", err)
		}
		out = append(out, p)
	}
	for _, text := range f.netns {
		if strings.ContainsRune(text, '/') {
			out = append(out, watch.Place{Path: text})
			continue
		}
		p, err := watch.NamedPlace(text)
		if err != nil {
			return nil, fmt.Errorf("--netns: %w", err)
		}
		out = append(out, p)
	}
	for _, pid := range f.pids {
		if pid < 1 {
			return nil, fmt.Errorf("--pid %d: want a process id", pid)
		}
		out = append(out, watch.Place{PID: pid})
	}
	return out, nil
}

func (f *watchFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return usageError{err}
	}
	if f.before != "" {
		r, err := watch.Saved(f.before, f.after)
		if err != nil {
			return usageError{err}
		}
		return f.sink(cmd).finish([]watch.Reading{r})
	}
	places, err := f.places(args)
	if err != nil {
		return usageError{err}
	}
	o := watch.Options{Places: places}
	if f.peers {
		o.Peers = f.top
	}
	w, err := watch.Open(o)
	if err != nil {
		if !errors.Is(err, os.ErrPermission) { // the place is not one
			return usageError{err}
		}
		return err
	}
	for _, err := range w.Limited() {
		complain(cmd.ErrOrStderr(), err)
	}
	if f.drops {
		return errors.Join(f.dropped(cmd, w), w.Close())
	}
	return errors.Join(f.live(cmd, w), w.Close())
}

// live does what was asked for with open places.
func (f *watchFlags) live(cmd *cobra.Command, w *watch.Watcher) error {
	switch {
	case f.listen != "":
		return f.serve(cmd, w)
	case f.output == "prometheus":
		return f.expose(cmd, w)
	}
	s := f.sink(cmd)
	if f.compare {
		settings, err := w.Settings()
		if err != nil {
			return err
		}
		s.settings = settings
	}
	ctx := cmd.Context()
	err := w.Run(ctx, f.interval, f.count, f.length, s.interval)
	if e := s.finish(s.last); e != nil {
		return e
	}
	if err == nil && ctx.Err() != nil && (f.count > 0 || f.length > 0) && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return exitError(exitInterrupted) // it was to end by itself
	}
	return err
}

// watchSink is where the readings go.
type watchSink struct {
	flags *watchFlags
	p     *printer
	live  bool // a terminal, drawn anew at each reading
	n     int
	last  []watch.Reading
	// told are the words that were explained.
	told map[string]bool
	// settings of the two places that are compared.
	settings []map[string]string
}

func (f *watchFlags) sink(cmd *cobra.Command) *watchSink {
	w := cmd.OutOrStdout()
	return &watchSink{flags: f, p: newPrinter(w), live: isTerminal(w) && os.Getenv("TERM") != "dumb"}
}

// interval takes a reading of each place as it comes; the first is what later ones are held against.
func (s *watchSink) interval(readings []watch.Reading) error {
	s.last = readings
	s.n++
	switch {
	case s.n == 1 && s.flags.output == "table":
		s.p.watchIntro(s)
	case s.n == 1:
	case s.flags.output == "ndjson":
		for i := range readings {
			if err := view.WriteLine(s.p.w, view.NewWatch(&readings[i], false, s.flags.all)); err != nil {
				return err
			}
		}
	case s.flags.output == "table" && (s.live || s.flags.count != 1): // one interval is the sum
		s.p.watchInterval(s, readings)
	}
	return s.p.err
}

// finish writes the sum.
func (s *watchSink) finish(readings []watch.Reading) error {
	views := make([]view.Watch, 0, len(readings))
	for i := range readings {
		views = append(views, view.NewWatch(&readings[i], true, s.flags.all))
	}
	switch s.flags.output {
	case "json":
		doc := view.WatchDocument{Places: views}
		if s.settings != nil {
			doc.Settings = view.NewSettings(s.settings[0], s.settings[1])
		}
		return view.WriteJSON(s.p.w, doc)
	case "ndjson":
		for i := range views {
			if err := view.WriteLine(s.p.w, views[i]); err != nil {
				return err
			}
		}
		return nil
	}
	s.p.watchSum(s, readings)
	return s.p.err
}
