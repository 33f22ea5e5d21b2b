package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// ScoreOptions say what is scored and how.
type ScoreOptions struct {
	// Only is a shell pattern for scenario names; empty means all.
	Only string
	// Seeds is how many times everything is done, with seeds FirstSeed, FirstSeed+1, …; 0 means once. FirstSeed 0 means 1.
	Seeds, FirstSeed int
	// Loss is the most (0 … 1) that TCP segments are lost at random, each way, just before the client; each row draws its own share of it.
	Loss float64
	// Draw draws the parameters of every row at random, by its seed, within what the scenario has for each; Set stands over what is drawn.
	Draw bool
	// Pairs leaves only the two sides of each pair that fools people: see Pairs.
	Pairs bool
	// Slow includes the scenarios of a minute and more.
	Slow bool
	// Set puts other values in the place of defaults, in scenarios that have all of these parameters; the others are left out, and so
	// are near misses that set one of them themselves.
	Set map[string]string
	// Expect leaves only what is labelled with this verdict alone; empty: everything. With diagnose.Healthy it is a run of healthy networks of every make.
	Expect diagnose.Verdict
	// Parallel is how many scenarios run at once, those marked heavy apart; 0 means twelve a processor, most of which wait.
	Parallel int
	// Diagnose is the diagnosis under test; nil means Exec(nil).
	Diagnose Diagnoser
	// Evidence is a directory that keeps the evidence of every diagnosis that was not right, each in a directory named after its row; empty: none is kept.
	Evidence string
	// Progress, if set, is called with each row as it is done, from several goroutines.
	Progress func(Row)
}

// Row is one diagnosis of one scenario.
type Row struct {
	Scenario   string
	Seed       int
	NearMiss   string // its name; empty for the fault itself
	Parameters map[string]string
	Loss       float64 // share of TCP segments that were lost on purpose, each way
	Expected   []diagnose.Verdict
	Named      []Named
	Result     Result
	Why        string
	Took       time.Duration
}

// job is a row to be made.
type job struct {
	sc    Scenario
	label Label
	set   map[string]string
	row   Row
}

// Score runs the scenarios and their near misses, each in a network of its own, and holds the diagnoses against the labels. It works only
// inside private namespaces. The error says that nothing could be run; what went wrong with one scenario stands in its row.
func Score(ctx context.Context, o ScoreOptions) (*Report, error) {
	if !topo.Inside() {
		return nil, topo.ErrOutside
	}
	list, err := List(o.Only)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no scenario matches %q", o.Only)
	}
	if o.Diagnose == nil {
		o.Diagnose = Exec(nil)
	}
	if o.Parallel <= 0 {
		o.Parallel = 12 * runtime.GOMAXPROCS(0)
	}
	jobs, err := o.narrow(o.plan(list))
	if err != nil {
		return nil, err
	}
	if o.Evidence != "" {
		if err := os.MkdirAll(o.Evidence, 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of evidence: %w", err)
		}
	}
	began := time.Now()
	light, heavy := order(jobs)
	do(ctx, light, o, o.Parallel)
	do(ctx, heavy, o, 1)
	r := &Report{Took: time.Since(began)}
	for i := range jobs {
		r.Rows = append(r.Rows, jobs[i].row)
	}
	return r, ctx.Err()
}

// narrow leaves the jobs that the options ask for; none left is an error that says which option did it.
func (o *ScoreOptions) narrow(jobs []job) ([]job, error) {
	if len(jobs) == 0 {
		return nil, fmt.Errorf("no scenario that matches %q has the parameters %v", o.Only, slices.Sorted(maps.Keys(o.Set)))
	}
	if o.Expect != "" {
		jobs = slices.DeleteFunc(jobs, func(j job) bool { return !sameSet(j.label.Verdicts, []diagnose.Verdict{o.Expect}) })
		if len(jobs) == 0 {
			return nil, fmt.Errorf("nothing that matches %q is labelled %s alone", o.Only, o.Expect)
		}
	}
	if o.Pairs {
		jobs = slices.DeleteFunc(jobs, func(j job) bool { return !paired(j.row.Scenario, j.row.NearMiss) })
		if len(jobs) == 0 {
			return nil, fmt.Errorf("nothing that matches %q is a side of a pair", o.Only)
		}
	}
	return jobs, nil
}

// order splits the jobs by weight and puts faults before near misses: a diagnosis takes longest where something is wrong.
func order(jobs []job) (light, heavy []*job) {
	for _, miss := range []bool{false, true} {
		for i := range jobs {
			switch j := &jobs[i]; {
			case (j.row.NearMiss != "") != miss:
			case j.sc.Heavy:
				heavy = append(heavy, j)
			default:
				light = append(light, j)
			}
		}
	}
	return light, heavy
}

// do runs jobs, so many at once. Rows carry their own errors.
func do(ctx context.Context, jobs []*job, o ScoreOptions, parallel int) {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, j := range jobs {
		g.Go(func() error {
			j.run(ctx, o)
			return nil
		})
	}
	_ = g.Wait()
}

// plan lists every row in the order of the catalogue.
func (o *ScoreOptions) plan(list []Scenario) []job {
	var jobs []job
	for _, sc := range list {
		if !sc.has(o.Set) {
			continue
		}
		first := max(o.FirstSeed, 1)
		for seed := first; seed < first+max(o.Seeds, 1); seed++ {
			jobs = append(jobs, o.job(sc, NearMiss{}, seed))
			for _, m := range sc.NearMisses {
				if !overlap(m.Set, o.Set) {
					jobs = append(jobs, o.job(sc, m, seed))
				}
			}
		}
	}
	return jobs
}

// has reports whether a scenario has all these parameters.
func (s *Scenario) has(set map[string]string) bool {
	for name := range set {
		if !slices.ContainsFunc(s.all(), func(p Param) bool { return p.Name == name }) {
			return false
		}
	}
	return true
}

func overlap(a, b map[string]string) bool {
	for name := range a {
		if _, ok := b[name]; ok {
			return true
		}
	}
	return false
}

// job is one row: a near miss, or the fault itself where that has no name.
func (o *ScoreOptions) job(sc Scenario, m NearMiss, seed int) job {
	sc = sc.WithLoss(drawLoss(o.Loss, sc.Name, m.Name, seed))
	set := map[string]string{}
	if o.Draw {
		set = sc.Draw(m.Name, seed)
	} else if slices.ContainsFunc(sc.Params, func(p Param) bool { return p.Name == "seed" }) {
		set["seed"] = strconv.Itoa(seed)
	}
	maps.Copy(set, m.Set)
	maps.Copy(set, o.Set)
	l := sc.LabelOf(set)
	return job{sc, l, set, Row{Scenario: sc.Name, Seed: seed, NearMiss: m.Name, Parameters: set, Loss: sc.Loss, Expected: l.Verdicts}}
}

func (j *job) run(ctx context.Context, o ScoreOptions) {
	r := &j.row
	defer func() {
		if o.Progress != nil {
			o.Progress(*r)
		}
	}()
	if j.sc.Slow && !o.Slow {
		r.Result, r.Why = Skipped, "takes a minute and more: asked for separately"
		return
	}
	run, err := j.sc.Start(ctx, j.set)
	switch {
	case errors.Is(err, ErrNeedsRoot), errors.Is(err, ErrNeedsProgram):
		r.Result, r.Why = Skipped, err.Error()
		return
	case err != nil:
		r.Result, r.Why = Inconclusive, err.Error()
		return
	}
	defer run.Close()
	r.Parameters, r.Loss = run.Params, run.loss()
	q := run.Question()
	if o.Evidence != "" {
		q.Evidence = filepath.Join(o.Evidence, r.slug())
		defer r.keep(q.Evidence)
	}
	began := time.Now()
	r.Named, err = o.Diagnose(ctx, q)
	r.Took = time.Since(began)
	if err != nil {
		r.Result, r.Why = Inconclusive, err.Error()
		return
	}
	r.Result, r.Why = j.label.Judge(r.Named)
	if r.Result == Wrong && j.sc.Pending != "" && r.NearMiss == "" && sameSet(firm(r.Named), []diagnose.Verdict{diagnose.Healthy}) {
		r.Result, r.Why = Inconclusive, j.sc.Pending
	}
}

// slug names a row's directory: scenario, seed and near miss.
func (x *Row) slug() string {
	name := x.Scenario + "-" + strconv.Itoa(x.Seed)
	if x.NearMiss != "" {
		name += "-" + x.NearMiss
	}
	return strings.Map(func(c rune) rune {
		if c == '/' || c == ' ' || c == ',' {
			return '_'
		}
		return c
	}, name)
}

// keep leaves the evidence of a row only where it was not right, and says so in the row.
func (x *Row) keep(dir string) {
	if x.Result != Right {
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		x.Why = fmt.Sprintf("remove %s: %s", dir, err)
	}
}
