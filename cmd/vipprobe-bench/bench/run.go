package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/figures"
)

// Options shape a run.
type Options struct {
	Rounds int
	// For bounds the whole run; 0: nothing does.
	For time.Duration
	// Only are the parts to run; none: all. See Parts.
	Only []string
	// Progress is told what runs.
	Progress io.Writer
}

// Parts are the names for Options.Only.
func Parts() []string { return []string{"transmit", "match", "connect", "raw", "time"} }

// course is one run of the benchmark under way.
type course struct {
	rig      *rig
	dir      string
	report   *figures.Report
	progress io.Writer
}

// Run runs everything, in turn and in rounds, inside private namespaces (see topo.Enter). Contestants that are not installed are left out; one
// that fails leaves a line in the report and the others go on. An error means that nothing could be measured.
func Run(ctx context.Context, o Options) (*figures.Report, error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dir, err := os.MkdirTemp("", "vipprobe-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c := &course{rig: r, dir: dir, report: &figures.Report{Began: time.Now(), Rounds: o.Rounds}, progress: o.Progress}
	if c.report.Host, err = host(ctx); err != nil {
		return nil, err
	}
	where := fmt.Sprintf("on core %d, contestants on core 0: what it costs is in no figure (rps_cpus)", responderCore)
	received := "on core 0 by the contestant's kernel, as from a wire, and in the figure"
	if r.together() {
		where = fmt.Sprintf("on the sender's core: what it costs is in every figure (%v)", r.steered)
	}
	ctx, cancel := o.bounded(ctx)
	defer cancel()
	c.report.Note("probes that are matched, full connects, bursts of raw SYNs", "the kernel that answers", where)
	if !r.together() {
		c.report.Note(connectCPU, "the answers are received", received)
	}
	c.report.Note(transmitCPU, "who drops", "the other end of the pair, within the sender's own system call: what that costs is in every figure")
	c.report.Note(nearCPU, "the kernel that answers", "within the SYN's own system call, on the sender's core: what it costs is in the figure, and nobody has to wait for an answer")
	told := "one whose answer the contestant tells; those it sends and hears nothing of stand in the figure of probes sent"
	c.report.Note(matchApart.matched, "what a probe is", told)
	c.report.Note(matchNear.matched, "what a probe is", told)
	c.report.Note(matchNear.matched, "the kernel that answers", "on the sender's core: what it costs is in the figures of all alike")
	for round := range o.Rounds {
		err := c.round(ctx, round, o.wants)
		if errors.Is(err, errOver) {
			c.report.Rounds = round + 1
			c.report.Failures = append(c.report.Failures, fmt.Sprintf("what came after %s, in round %d of %d: the time was over", o.For, round+1, o.Rounds))
			break
		}
		if err != nil {
			return nil, err
		}
	}
	c.report.Took = time.Since(c.report.Began)
	c.report.Judge(targets(o.wants))
	return c.report, nil
}

// errOver is the end of the time for a run.
var errOver = errors.New("the time for the run is over")

// bounded ends ctx when the run's time is over.
func (o *Options) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.For <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.For, errOver)
}

func (o *Options) wants(part string) bool {
	if len(o.Only) == 0 {
		return true
	}
	return slices.Contains(o.Only, part)
}

// round runs every contestant once, those that are compared one right after the other.
func (c *course) round(ctx context.Context, round int, wants func(string) bool) error {
	for _, part := range []struct {
		name  string
		where placement
		list  []contestant
		also  string // blackbox_exporter is measured for this figure; empty: it is not
	}{
		{"transmit", sharing, transmit(), ""},
		{"match", apart, matchApart.contestants(c.dir), ""},
		{"match", sharing, matchNear.contestants(c.dir), ""},
		{"connect", wired, connect(connectCPU), connectCPU},
		{"connect", sharing, connect(nearCPU), ""},
		{"raw", apart, raw(), coalesced(2000)},
	} {
		if !wants(part.name) {
			continue
		}
		back, err := c.rig.place(part.where)
		if err != nil {
			return err
		}
		for i := range part.list {
			c.one(ctx, round, &part.list[i])
		}
		if part.also != "" {
			c.blackbox(ctx, round, part.also)
		}
		back()
	}
	if wants("time") {
		c.times(ctx, round)
	}
	return context.Cause(ctx)
}

func (c *course) one(ctx context.Context, round int, x *contestant) {
	if !x.installed() || ctx.Err() != nil {
		return
	}
	fmt.Fprintf(c.progress, "round %d: %s\n", round+1, strings.Join(x.argv(c.rig), " "))
	ms, err := x.run(ctx, c.rig)
	if ctx.Err() != nil {
		return // cut off: what it did so far is no figure
	}
	if err != nil {
		c.failed(round, x.name, err)
		return
	}
	for _, m := range ms {
		c.report.Add(m.figure, x.name, m.unit, round, m.value)
		c.report.Note(m.figure, x.name, command(x, c.rig, c.dir))
	}
}

// command is how a person would run the contestant.
func command(x *contestant, r *rig, dir string) string {
	s := strings.ReplaceAll(strings.Join(x.argv(r), " "), dir, "/tmp")
	s = strings.ReplaceAll(s, "/proc/self/exe", "vipprobe-bench")
	if x.forced {
		s += fmt.Sprintf("   (killed after %s)", x.limit)
	}
	return s
}

func (c *course) failed(round int, name string, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, errOver) {
		return
	}
	c.report.Failures = append(c.report.Failures, fmt.Sprintf("round %d, %s: %v", round+1, name, err))
}

// targets are the bounds that the figures are meant to keep.
func targets(wants func(string) bool) []figures.Target {
	var all []figures.Target
	add := func(part string, t ...figures.Target) {
		if wants(part) {
			all = append(all, t...)
		}
	}
	add("transmit", figures.Target{Figure: transmitCPU, Over: "masscan", Of: ours, Least: 1.6},
		figures.Target{Figure: transmitCPU, Over: "masscan", Of: oursXDP, Least: 2.4})
	for _, m := range []matching{matchApart, matchNear} {
		add("match", figures.Target{Figure: m.matched, Over: "zmap", Of: ours, Least: 1.6}, figures.Target{Figure: m.matched, Over: "masscan", Of: ours, Least: 2.2},
			figures.Target{Figure: m.seen, Of: ours, Least: 99.99, Unit: "%"})
	}
	add("connect", figures.Target{Figure: connectCPU, Over: "net.Dialer", Of: ours, Least: 2.2},
		figures.Target{Figure: connectCPU, Over: blackbox, Of: ours, Least: 18})
	add("raw", figures.Target{Figure: coalesced(2000), Over: blackbox, Of: ours, Least: 80}, figures.Target{Figure: memory, Of: ours, Most: 64, Unit: "octets"})
	add("time", figures.Target{Figure: errorOf(1000, true), Of: oursRaw, Most: 1, Unit: "µs"}, figures.Target{Figure: errorOf(1000, true), Of: oursKernel, Most: 1, Unit: "µs"})
	return all
}
