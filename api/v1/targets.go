package v1

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
)

func (a *API) registerTargets() {
	list := operation(http.MethodGet, "/api/v1/targets", "list-targets", "How the scheduled targets fare", "targets", http.StatusUnprocessableEntity)
	list.Description = "Every address of every scheduled target with its last round, those that were not probed yet included; in order of group, job, target and address."
	huma.Register(a.huma, list, a.listTargets)
	history := operation(http.MethodGet, "/api/v1/history", "get-history", "What became of a target's connections over time", "targets", http.StatusUnprocessableEntity)
	history.Description = "Figures for each step of time, and the single connections as far as they are kept, by columns. At most 35 days at once."
	huma.Register(a.huma, history, a.getHistory)
}

type targetsInput struct {
	Job    string `query:"job" doc:"only this job's"`
	Target string `query:"target" doc:"only this one's addresses, as asked for"`
	Group  string `query:"group" doc:"only this VIP and its real servers"`
	State  string `query:"state" enum:"pending,well,stalled,named,failed,error" doc:"only those in this state"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next of the page before"`
}

func (a *API) listTargets(ctx context.Context, in *targetsInput) (*struct{ Body view.Targets }, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, invalid("query.cursor", "it is none that a page before has given")
	}
	_, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	all := a.listed(in)
	slices.SortFunc(all, func(x, y listed) int { return strings.Compare(x.place, y.place) })
	if in.Cursor != "" {
		from, _ := slices.BinarySearchFunc(all, string(after)+"\x00", func(t listed, end string) int { return strings.Compare(t.place, end) })
		all = all[from:]
	}
	out := view.Targets{}
	if len(all) > in.Limit {
		all = all[:in.Limit]
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(all[in.Limit-1].place))
	}
	out.Targets = a.shown(all)
	return &struct{ Body view.Targets }{out}, nil
}

// listed is one address of a target where it stands on the list.
type listed struct {
	record.Brief
	place string
	job   *targets.Job // nil: it is in none any more
}

// newListed puts a target where it belongs: what stands together is near.
func newListed(b record.Brief, j *targets.Job) listed {
	group, role := b.Labels["vip"], map[string]string{"vip": "0", "member": "1"}[b.Labels["role"]]
	return listed{b, strings.Join([]string{cmp.Or(group, b.Target), cmp.Or(role, "2"), b.Job, b.Target, b.Addr}, "\x1f"), j}
}

// fits reports whether it is asked for.
func (in *targetsInput) fits(b *record.Brief) bool {
	return (in.Job == "" || b.Job == in.Job) && (in.Target == "" || b.Target == in.Target) && (in.Group == "" || b.Labels["vip"] == in.Group) &&
		(in.State == "" || stateOf(b.Mark) == in.State)
}

// listed are those that were probed, and those of the configuration that were not yet, as far as they are asked for.
func (a *API) listed(in *targetsInput) (out []listed) {
	type name struct{ job, target string }
	jobs := map[string]*targets.Job{}
	list := a.jobs()
	for i := range list {
		jobs[list[i].Name] = &list[i]
	}
	known := a.opts.Recorder.List(in.Target)
	probed := make(map[name]bool, len(known))
	for i := range known {
		b := &known[i]
		probed[name{b.Job, b.Target}] = true
		if in.fits(b) {
			out = append(out, newListed(*b, jobs[b.Job]))
		}
	}
	for i := range list {
		j := &list[i]
		for _, t := range j.Targets {
			if b := (record.Brief{Job: j.Name, Target: t, Labels: j.Labels}); !probed[name{j.Name, t}] && in.fits(&b) {
				out = append(out, newListed(b, j))
			}
		}
	}
	return out
}

// shown are targets of the list with all that is told of them.
func (a *API) shown(list []listed) []view.Target {
	briefs := make([]record.Brief, len(list))
	for i := range list {
		briefs[i] = list[i].Brief
	}
	out := make([]view.Target, 0, len(list))
	for i, t := range a.opts.Recorder.Look(briefs) {
		b, v := &briefs[i], shownTarget(&t)
		if t.Last.Target == "" { // it was not probed yet
			v = view.Target{Job: b.Job, Target: b.Target, Labels: b.Labels, Group: b.Labels["vip"], Role: b.Labels["role"], State: stateOf(0), Causes: []view.Named{}}
			if j := list[i].job; j != nil {
				v.Module = j.Module
			}
		}
		if j := list[i].job; j != nil {
			v.IntervalNS = int64(j.Interval)
		}
		out = append(out, v)
	}
	return out
}

// stateOf says what the mark of a target's last round is called.
func stateOf(m record.Mark) string {
	switch m {
	case record.MarkWell:
		return "well"
	case record.MarkStalled:
		return "stalled"
	case record.MarkNamed:
		return "named"
	case record.MarkFailed:
		return "failed"
	case record.MarkError:
		return "error"
	}
	return "pending"
}

func shownTarget(t *record.Target) view.Target {
	r := view.NewResult(&t.Last)
	v := view.Target{Job: r.Job, Module: r.Module, Target: r.Target, Addr: r.Addr, Labels: r.Labels, Group: r.Labels["vip"], Role: r.Labels["role"], State: stateOf(0),
		Started: &r.Started, Why: r.Why, Headline: r.Headline, Causes: r.Causes, Attempts: r.Attempts, Stalled: r.Stalled, Result: r.ID,
		RecentAttempts: t.Attempts, RecentStalled: t.Stalled}
	var recent strings.Builder
	for _, m := range t.Recent {
		recent.WriteByte(byte(m))
		v.State = stateOf(m)
	}
	v.Recent = recent.String()
	if d := t.Diagnosis; d != nil {
		x := view.NewResult(d)
		v.Diagnosis = &x
	}
	for _, d := range []struct {
		from time.Duration
		to   **int64
	}{{t.Median, &v.MedianNS}, {t.Worst, &v.MaxNS}} {
		if d.from > 0 {
			n := int64(d.from)
			*d.to = &n
		}
	}
	return v
}

// jobs are those that are scheduled here.
func (a *API) jobs() []targets.Job {
	if a.opts.Jobs != nil {
		return a.opts.Jobs()
	}
	return a.opts.Config().Jobs()
}

type historyInput struct {
	Target string    `query:"target" required:"true" minLength:"1" doc:"as asked for"`
	Job    string    `query:"job"`
	Module string    `query:"module"`
	Addr   string    `query:"addr" doc:"as probed, ADDR:PORT"`
	From   time.Time `query:"from" doc:"default: an hour before to"`
	To     time.Time `query:"to" doc:"default: now"`
	Step   int       `query:"step" minimum:"0" maximum:"86400" doc:"seconds, whole minutes; default: such that there are at most 500"`
	Points int       `query:"points" minimum:"0" maximum:"200000" default:"20000" doc:"most single connections, the newest"`
}

// fill puts the defaults in.
func (in *historyInput) fill(now time.Time) {
	if in.To.IsZero() {
		in.To = now
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-time.Hour)
	}
	const most = 500
	if in.Step == 0 {
		minutes := int(in.To.Sub(in.From)/time.Minute)/most + 1
		in.Step = 60 * minutes
	}
}

func (a *API) getHistory(ctx context.Context, in *historyInput) (*struct{ Body view.History }, error) {
	in.fill(time.Now())
	if !in.From.Before(in.To) {
		return nil, invalid("query.to", "it is not after from")
	}
	if in.Step%60 != 0 {
		return nil, invalid("query.step", "want whole minutes, not %d s", in.Step)
	}
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	step := time.Duration(in.Step) * time.Second
	h, err := a.reader.History(ctx, results.SeriesFilter{Target: in.Target, Job: in.Job, Module: in.Module, Addr: in.Addr, From: in.From, To: in.To, Step: step, Points: in.Points})
	if err != nil {
		return nil, unread(err)
	}
	return &struct{ Body view.History }{view.NewHistory(&h, step)}, nil
}
