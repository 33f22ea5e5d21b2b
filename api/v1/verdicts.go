package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/diagnose/catalogue"
)

func (a *API) registerVerdicts() {
	huma.Register(a.huma, operation(http.MethodGet, "/api/v1/verdicts", "list-verdicts", "The catalogue: every verdict that a diagnosis can name", "verdicts"),
		func(context.Context, *struct{}) (*struct{ Body view.Verdicts }, error) {
			return &struct{ Body view.Verdicts }{view.NewVerdicts(catalogue.Entries())}, nil
		})
	huma.Register(a.huma, operation(http.MethodGet, "/api/v1/verdicts/{verdict}", "get-verdict", "One entry of the catalogue", "verdicts", http.StatusNotFound), a.getVerdict)
}

type verdictInput struct {
	Verdict string `path:"verdict" maxLength:"100"`
}

func (a *API) getVerdict(_ context.Context, in *verdictInput) (*struct{ Body view.Verdict }, error) {
	e, ok := catalogue.Find(diagnose.Verdict(in.Verdict))
	if !ok {
		return nil, problem(http.StatusNotFound, "no such verdict", "path.verdict", "/api/v1/verdicts lists them")
	}
	return &struct{ Body view.Verdict }{view.NewVerdict(&e)}, nil
}
