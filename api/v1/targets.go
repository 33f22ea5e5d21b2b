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

func (a *API) listTargets(_ context.Context, in *targetsInput) (*struct{ Body view.Targets }, error) {
	all := a.allTargets()
	all = slices.DeleteFunc(all, func(t view.Target) bool {
		return in.Job != "" && t.Job != in.Job || in.Target != "" && t.Target != in.Target || in.Group != "" && t.Group != in.Group || in.State != "" && t.State != in.State
	})
	slices.SortFunc(all, byName)
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, invalid("query.cursor", "it is none that a page before has given")
	}
	from, _ := slices.BinarySearchFunc(all, string(after)+"\x00", func(t view.Target, end string) int { return strings.Compare(place(&t), end) })
	if in.Cursor == "" {
		from = 0
	}
	out := view.Targets{Targets: all[from:]}
	if len(out.Targets) > in.Limit {
		out.Targets = out.Targets[:in.Limit]
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(place(&out.Targets[in.Limit-1])))
	}
	return &struct{ Body view.Targets }{out}, nil
}

// place orders targets: what stands together is near.
func place(t *view.Target) string {
	return strings.Join([]string{cmp.Or(t.Group, t.Target), cmp.Or(map[string]string{"vip": "0", "member": "1"}[t.Role], "2"), t.Job, t.Target, t.Addr}, "\x1f")
}

func byName(a, b view.Target) int { return strings.Compare(place(&a), place(&b)) }

// allTargets are those that were probed, and those of the configuration that were not yet.
func (a *API) allTargets() []view.Target {
	type name struct{ job, target string }
	jobs := map[string]*targets.Job{}
	list := a.jobs()
	for i := range list {
		jobs[list[i].Name] = &list[i]
	}
	probed := map[name]bool{}
	out := []view.Target{}
	for _, t := range a.opts.Recorder.Targets() {
		v := shownTarget(&t)
		probed[name{v.Job, v.Target}] = true
		if j := jobs[v.Job]; j != nil {
			v.IntervalNS = int64(j.Interval)
		}
		out = append(out, v)
	}
	for i := range list {
		j := &list[i]
		for _, t := range j.Targets {
			if !probed[name{j.Name, t}] {
				v := view.Target{Job: j.Name, Module: j.Module, Target: t, Labels: j.Labels, State: "pending", IntervalNS: int64(j.Interval), Causes: []view.Named{}}
				v.Group, v.Role = j.Labels["vip"], j.Labels["role"]
				out = append(out, v)
			}
		}
	}
	return out
}

func shownTarget(t *record.Target) view.Target {
	r := view.NewResult(&t.Last)
	v := view.Target{Job: r.Job, Module: r.Module, Target: r.Target, Addr: r.Addr, Labels: r.Labels, Group: r.Labels["vip"], Role: r.Labels["role"], State: "pending",
		Started: &r.Started, Why: r.Why, Headline: r.Headline, Causes: r.Causes, Attempts: r.Attempts, Stalled: r.Stalled, Result: r.ID,
		RecentAttempts: t.Attempts, RecentStalled: t.Stalled}
	states := map[record.Mark]string{record.MarkWell: "well", record.MarkStalled: "stalled", record.MarkNamed: "named", record.MarkFailed: "failed", record.MarkError: "error"}
	var recent strings.Builder
	for _, m := range t.Recent {
		recent.WriteByte(byte(m))
		v.State = states[m]
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
