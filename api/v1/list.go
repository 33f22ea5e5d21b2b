package v1

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/results"
)

const (
	pathResults = "/api/v1/results"
	tagResults  = "results"
	mimePcapng  = "application/vnd.tcpdump.pcap" // as registered; pcapng has none of its own
)

func (a *API) registerResults() {
	list := operation(http.MethodGet, pathResults, "list-results", "List rounds that went wrong, and diagnoses, the newest first", tagResults, http.StatusUnprocessableEntity)
	list.Description = "Rounds in which all went well live on in the history only. Of rounds alike that come fast, one in 10 s is listed."
	huma.Register(a.huma, list, a.listResults)
	huma.Register(a.huma, operation(http.MethodGet, pathResults+"/{id}", "get-result", "A round as it is listed", tagResults, http.StatusNotFound), a.getResult)
	huma.Register(a.huma, operation(http.MethodGet, pathResults+"/{id}/round", "get-result-round", "All that was seen of a round, as vipprobe -o json has it", tagResults,
		http.StatusNotFound), a.getRound)
	capture := operation(http.MethodGet, pathResults+"/{id}/capture", "get-result-capture", "The frames of a round as pcapng, a comment on every frame", tagResults, http.StatusNotFound)
	capture.Responses = map[string]*huma.Response{"200": {Description: "a pcapng file", Content: map[string]*huma.MediaType{
		mimePcapng: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
	huma.Register(a.huma, capture, a.getCapture)
}

type listInput struct {
	Target  string    `query:"target" doc:"as asked for"`
	Job     string    `query:"job"`
	Module  string    `query:"module"`
	Addr    string    `query:"addr" doc:"as probed, ADDR:PORT"`
	Origin  string    `query:"origin" enum:"schedule,diagnosis,probe,run"`
	Run     string    `query:"run" doc:"a run's id"`
	Verdict string    `query:"verdict" doc:"named as any cause"`
	Level   string    `query:"level" enum:"proven,confirmed,suspected,inconclusive,not_applicable" doc:"of any cause"`
	Success string    `query:"success" enum:"true,false"`
	Named   string    `query:"named" enum:"true,false" doc:"whether a cause other than healthy is named"`
	From    time.Time `query:"from" doc:"started then or later"`
	To      time.Time `query:"to" doc:"started earlier"`
	Limit   int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor  string    `query:"cursor" maxLength:"100" doc:"next of the page before"`
}

func (in *listInput) filter() results.Filter {
	return results.Filter{Target: in.Target, Job: in.Job, Module: in.Module, Addr: in.Addr, Origin: results.Origin(in.Origin), Run: in.Run, Verdict: in.Verdict,
		Level: in.Level, Success: truth(in.Success), Named: truth(in.Named), Healthy: string(diagnose.Healthy), From: in.From, To: in.To}
}

// truth reads "true" and "false"; nil: neither was said.
func truth(s string) *bool {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil
	}
	return &b
}

func (a *API) listResults(ctx context.Context, in *listInput) (*struct{ Body view.Results }, error) {
	after, err := readCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return nil, invalid("query.to", "it is not after from")
	}
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	list, next, err := a.reader.Rounds(ctx, in.filter(), after, in.Limit)
	if err != nil {
		return nil, unread(err)
	}
	out := view.Results{Results: make([]view.Result, 0, len(list)), Next: cursor(next)}
	for i := range list {
		out.Results = append(out.Results, view.NewResult(&list[i]))
	}
	return &struct{ Body view.Results }{out}, nil
}

type resultInput struct {
	ID int64 `path:"id" minimum:"1" doc:"the round"`
}

func (a *API) getResult(ctx context.Context, in *resultInput) (*struct{ Body view.Result }, error) {
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := a.reader.Round(ctx, in.ID)
	if err != nil {
		return nil, unread(err)
	}
	return &struct{ Body view.Result }{view.NewResult(&r)}, nil
}

func (a *API) getRound(ctx context.Context, in *resultInput) (*struct{ Body raw[view.Round] }, error) {
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	content, err := a.reader.Content(ctx, in.ID)
	if err != nil {
		return nil, unread(err)
	}
	return &struct{ Body raw[view.Round] }{content}, nil
}

type captureOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (a *API) getCapture(ctx context.Context, in *resultInput) (*captureOutput, error) {
	ctx, done, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	frames, err := a.reader.Pcapng(ctx, in.ID)
	if err != nil {
		return nil, unread(err)
	}
	return &captureOutput{mimePcapng, `attachment; filename="vipprobe-` + strconv.FormatInt(in.ID, 10) + `.pcapng"`, frames}, nil
}
