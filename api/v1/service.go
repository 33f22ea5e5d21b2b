package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/targets"
)

func (a *API) registerService() {
	op := operation(http.MethodGet, "/api/v1/service", "get-service", "What this service is, and which modules a run may name", "service")
	huma.Register(a.huma, op, a.getService)
}

func (a *API) getService(ctx context.Context, _ *struct{}) (*struct{ Body view.Service }, error) {
	who := callerOf(ctx)
	return &struct{ Body view.Service }{view.Service{Version: a.opts.Version, Modules: a.opts.Config().ModuleNames(), DefaultModule: targets.DefaultModule,
		Authenticated: who.authenticated != nil && who.authenticated()}}, nil
}
