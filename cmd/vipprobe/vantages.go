package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/api/agent"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/targets"
)

// vantages are the other places that a rollout is measured from.
type vantages struct {
	clients map[string]*agent.Client // by name
}

// openVantages checks how each vantage is reached. Nothing is sent yet.
func openVantages(r *targets.Rollout) (*vantages, error) {
	out := &vantages{clients: map[string]*agent.Client{}}
	for i := range r.Vantages {
		v := &r.Vantages[i]
		o := agent.Options{URL: v.URL, User: v.User, CAFile: v.CAFile}
		var err error
		if v.PasswordFile != "" {
			o.Password, err = targets.ReadSecret(v.PasswordFile)
		}
		if err == nil {
			out.clients[v.Name], err = agent.New(o)
		}
		if err != nil {
			return nil, usageError{errors.Join(fmt.Errorf("%s:%d:%d: vantage %s: %w", r.Name, v.Line, v.Column, v.Name, err))}
		}
	}
	return out, nil
}

func (x *vantages) close() {
	for _, c := range x.clients {
		c.Close()
	}
}

// perVantage is how many hosts a vantage measures at a time: it is somebody's server.
const perVantage = 2

// begin starts what the vantages measure and is not finished; the function waits for it.
func (x *vantages) begin(ctx context.Context, r *targets.Rollout, golden *profile.Profile, state *stateFile) func() ([]view.Candidate, error) {
	tasks := slices.DeleteFunc(r.Matrix(), func(t targets.RolloutTask) bool { return state.has(t.Target.Target, t.Vantage.Name) })
	found := make([][]view.Candidate, len(tasks))
	slots := map[string]chan struct{}{}
	for name := range x.clients {
		slots[name] = make(chan struct{}, perVantage)
	}
	errs := make([]error, len(tasks))
	var wg sync.WaitGroup
	for i, t := range tasks {
		wg.Go(func() {
			slots[t.Vantage.Name] <- struct{}{}
			defer func() { <-slots[t.Vantage.Name] }()
			found[i] = x.ask(ctx, r, golden, t)
			for k := range found[i] {
				errs[i] = errors.Join(errs[i], state.add(&found[i][k]))
			}
		})
	}
	return func() ([]view.Candidate, error) {
		wg.Wait()
		return slices.Concat(found...), errors.Join(errs...)
	}
}

// ask measures one host from one vantage. A vantage that cannot be asked leaves the host unknown from there.
func (x *vantages) ask(ctx context.Context, r *targets.Rollout, golden *profile.Profile, t targets.RolloutTask) []view.Candidate {
	started := time.Now()
	q := view.ValidationRequest{Target: t.Target.Target, Connects: r.Connects, Burst: r.Burst, MaxSeconds: min(r.Seconds, 120), Measure: measureOf(r)}
	for i := range r.Checks {
		q.Checks = append(q.Checks, r.Checks[i].Text)
	}
	if golden != nil {
		v := view.NewProfile(golden)
		q.Baseline = &v
	}
	list, err := x.asked(ctx, t.Vantage.Name, &q)
	if err != nil {
		return []view.Candidate{{Target: t.Target.Target, Vantage: t.Vantage.Name, Line: t.Target.Line, State: string(rollout.Unknown), Started: started.UTC(),
			TookNS: int64(time.Since(started)), Error: err.Error(), Checks: []view.CheckResult{}}}
	}
	for i := range list {
		list[i].Vantage, list[i].Line = t.Vantage.Name, t.Target.Line
		for k := range list[i].Checks {
			if k < len(r.Checks) {
				list[i].Checks[k].Line = r.Checks[k].Line
			}
		}
	}
	return list
}

// asked asks again, a few times, where the vantage has too much to do.
func (x *vantages) asked(ctx context.Context, name string, q *view.ValidationRequest) ([]view.Candidate, error) {
	for try := 1; ; try++ {
		list, err := x.clients[name].Validate(ctx, q)
		busy, ok := errors.AsType[*agent.BusyError](err)
		if !ok || try == busyTries {
			return list, err
		}
		select {
		case <-time.After(busy.RetryAfter):
		case <-ctx.Done():
			return nil, &prober.EnvironmentError{Target: q.Target, Err: context.Cause(ctx)}
		}
	}
}

const busyTries = 30

func measureOf(r *targets.Rollout) view.ValidationMeasure {
	o := &r.Profile
	return view.ValidationMeasure{PatienceNS: int64(o.Patience), Request: r.Request, Backlog: o.Backlog, NeighborQueue: o.Queue != nil, OwnPath: o.MayPrime,
		TimeWait: o.TimeWait, Overflow: o.Overflow}
}
