package v1

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/results"
)

func (a *API) registerRuns() {
	a.registerStart()
	huma.Register(a.huma, operation(http.MethodGet, pathRuns, "list-runs", "List runs, the newest first", tagRuns), a.listRuns)
	huma.Register(a.huma, operation(http.MethodGet, pathRuns+"/{id}", "get-run", "A run's state", tagRuns, http.StatusNotFound), a.getRun)
	cancel := operation(http.MethodPost, pathRuns+"/{id}/cancel", "cancel-run", "End a run; what it saw until then is kept", tagRuns, http.StatusNotFound, http.StatusConflict)
	cancel.DefaultStatus = http.StatusAccepted
	huma.Register(a.huma, cancel, a.cancelRun)
	huma.Register(a.huma, operation(http.MethodGet, pathRuns+"/{id}/result", "get-run-result", "What a run gave, as vipprobe -o json has it", tagRuns,
		http.StatusNotFound, http.StatusConflict), a.runResult)
	events := operation(http.MethodGet, pathRuns+"/{id}/events", "follow-run", "Follow a run: server-sent events", tagRuns, http.StatusNotFound)
	events.Description = "Every burst of a diagnosis is told before it begins (progress), a sign of life comes every 15 s (waiting), and the end once (end), after which the " +
		"stream ends. Last-Event-ID resumes."
	events.Middlewares = huma.Middlewares{a.seated, a.known}
	sse.Register(a.huma, events, map[string]any{"progress": view.Progress{}, "waiting": view.Waiting{}, "end": view.Run{}}, a.follow)
}

type runInput struct {
	ID string `path:"id" pattern:"^[0-9a-f]{32}$" doc:"the run"`
}

// find returns a run, wherever it is kept.
func (a *API) find(ctx context.Context, id string) (view.Run, *flight, error) {
	if r, asked, f, ok := a.runs.get(id); ok {
		return view.NewRun(&r, asked), f, nil
	}
	r, err := a.reader.Run(ctx, id)
	switch {
	case errors.Is(err, results.ErrNotFound):
		return view.Run{}, nil, problem(http.StatusNotFound, "no such run", "path.id", "it is not kept, or not any more")
	case err != nil:
		return view.Run{}, nil, huma.Error500InternalServerError("the results cannot be read")
	}
	v, err := shown(&r)
	return v, nil, err
}

func shown(r *results.Run) (view.Run, error) {
	var asked view.RunRequest
	if err := json.Unmarshal(r.Request, &asked); err != nil {
		return view.Run{}, huma.Error500InternalServerError("what run " + r.ID + " was asked for cannot be read")
	}
	return view.NewRun(r, asked), nil
}

func (a *API) getRun(ctx context.Context, in *runInput) (*struct{ Body view.Run }, error) {
	v, _, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body view.Run }{v}, nil
}

func (a *API) cancelRun(ctx context.Context, in *runInput) (*struct{ Body view.Run }, error) {
	ended := a.runs.cancel(in.ID)
	v, _, err := a.find(ctx, in.ID)
	switch {
	case err != nil:
		return nil, err
	case !ended:
		return nil, problem(http.StatusConflict, "the run has ended already", "path.id", "its state is "+v.State)
	}
	return &struct{ Body view.Run }{v}, nil
}

type listRunsInput struct {
	State  string `query:"state" enum:"running,done,cancelled,interrupted" doc:"only runs in this state"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" pattern:"^[0-9a-f]{32}$" doc:"next of the page before"`
}

func (a *API) listRuns(ctx context.Context, in *listRunsInput) (*struct{ Body view.Runs }, error) {
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	list, next, err := a.reader.Runs(ctx, results.State(in.State), in.Cursor, in.Limit)
	if err != nil {
		return nil, unread(err)
	}
	out := view.Runs{Runs: make([]view.Run, 0, len(list)), Next: next}
	for i := range list {
		v, err := shown(&list[i])
		if err != nil {
			return nil, err
		}
		out.Runs = append(out.Runs, v)
	}
	return &struct{ Body view.Runs }{out}, nil
}

// raw is JSON that was written as a T, passed on as it is.
type raw[T any] json.RawMessage

// MarshalJSON implements json.Marshaler.
func (r raw[T]) MarshalJSON() ([]byte, error) { return r, nil }

// Schema implements huma.SchemaProvider.
func (r raw[T]) Schema(reg huma.Registry) *huma.Schema {
	return reg.Schema(reflect.TypeFor[T](), true, "")
}

// document is view.Document with rounds as they were stored.
type document struct {
	Rounds []raw[view.Round]  `json:"rounds"`
	Errors []view.TargetError `json:"errors,omitempty"`
}

func (a *API) runResult(ctx context.Context, in *runInput) (*struct{ Body document }, error) {
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	v, f, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	// A run is settled once its rounds can be read; one that was cancelled may share an execution that goes on.
	if settled := v.State == string(results.Done) || v.State == string(results.Interrupted); f != nil && !settled {
		if _, over, _ := f.since(0); !over {
			return nil, later(http.StatusConflict, time.Second, "the run is under way: follow its events, or ask again")
		}
	}
	under := v.ID
	if v.RoundsOf != "" {
		under = v.RoundsOf
	}
	list, _, err := a.reader.Rounds(ctx, results.Filter{Run: under}, results.Cursor{}, 1000)
	if err != nil {
		return nil, unread(err)
	}
	out := document{Rounds: make([]raw[view.Round], 0, len(list))}
	for _, r := range slices.Backward(list) {
		content, err := a.reader.Content(ctx, r.ID)
		if err != nil {
			return nil, unread(err)
		}
		out.Rounds = append(out.Rounds, content)
	}
	if v.Error != "" {
		out.Errors = []view.TargetError{{Target: v.Request.Target, Error: v.Error, ErrorKind: v.ErrorKind}}
	}
	return &struct{ Body document }{out}, nil
}

// seated refuses those who come when all seats are taken.
func (a *API) seated(ctx huma.Context, next func(huma.Context)) {
	leave := a.follows.take(callerOf(ctx.Context()).client)
	if leave == nil {
		ctx.SetHeader("Retry-After", "5")
		_ = huma.WriteErr(a.huma, ctx, http.StatusTooManyRequests, "too many follow runs, or this client too many") // the client may be gone
		return
	}
	defer leave()
	next(ctx)
}

// known refuses a run that is not there before the stream begins.
func (a *API) known(ctx huma.Context, next func(huma.Context)) {
	if _, _, err := a.find(ctx.Context(), ctx.Param("id")); err != nil {
		_ = huma.WriteErr(a.huma, ctx, http.StatusNotFound, "no such run") // the client may be gone
		return
	}
	next(ctx)
}

type followInput struct {
	ID          string `path:"id" pattern:"^[0-9a-f]{32}$" doc:"the run"`
	LastEventID int    `header:"Last-Event-ID" minimum:"0" doc:"events up to this one are left out"`
}

// signOfLife is how often a stream without news says that it lives, so that nothing on the way takes it for dead.
const signOfLife = 15 * time.Second

// follow tells a run's progress until its end.
func (a *API) follow(ctx context.Context, in *followInput, send sse.Sender) {
	alive := time.NewTicker(signOfLife)
	defer alive.Stop()
	began := time.Now()
	for told := in.LastEventID; ; {
		v, f, err := a.find(ctx, in.ID)
		if err != nil {
			return
		}
		over, changed := true, (<-chan struct{})(nil)
		if f != nil {
			var progress []view.Progress
			progress, over, changed = f.since(told)
			for i := range progress {
				told++
				if send(sse.Message{ID: told, Data: progress[i]}) != nil {
					return
				}
			}
		}
		if over || v.State != string(results.Running) {
			_ = send(sse.Message{ID: told + 1, Data: v}) // the client may be gone
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-alive.C:
			if send.Data(view.Waiting{WaitedNS: int64(time.Since(began))}) != nil {
				return
			}
		}
	}
}
