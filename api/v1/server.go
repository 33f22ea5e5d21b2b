package v1

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
)

// Prober runs what is asked for.
type Prober interface {
	// Probe runs a module against every address of a target.
	Probe(ctx context.Context, target string, m prober.Module) ([]prober.Round, error)
	// Diagnose investigates every address of a target.
	Diagnose(ctx context.Context, target string, o prober.DiagnoseOptions) ([]prober.Round, error)
	// Validate holds every address of targets against checks.
	Validate(ctx context.Context, candidates []string, o prober.ValidateOptions) []prober.Validated
}

var _ Prober = (*prober.Prober)(nil)

// Options are what the API is made of; all but Authenticated and the bounds are required.
type Options struct {
	Version  string
	Prober   Prober
	Config   func() *targets.Config
	Store    *results.Store
	Recorder *record.Recorder
	// Jobs are those that are scheduled here; nil: those of Config.
	Jobs func() []targets.Job
	// Authenticated reports whether a caller has proved who it is; nil: nobody has.
	Authenticated func(*http.Request) bool
	// MaxRuns is how many runs may be under way at once; 0: 16.
	MaxRuns int
	// MaxReaders is how many may follow runs at once; 0: 128. One client has a sixteenth of it.
	MaxReaders int
	// ClientRate is how many requests a second one client may make in the long run; 0: 50. Four times as many are taken at once. Starting
	// runs is bounded to a fiftieth of it.
	ClientRate float64
}

func (o Options) withDefaults() (Options, error) {
	if o.Prober == nil || o.Config == nil || o.Store == nil || o.Recorder == nil {
		return o, errors.New("api v1: wants a Prober, a Config, a Store and a Recorder")
	}
	if o.Authenticated == nil {
		o.Authenticated = func(*http.Request) bool { return false }
	}
	if o.MaxRuns <= 0 {
		o.MaxRuns = 16
	}
	if o.MaxReaders <= 0 {
		o.MaxReaders = 128
	}
	if o.ClientRate <= 0 {
		o.ClientRate = 50
	}
	return o, nil
}

// API answers requests under /api/v1. It is safe for concurrent use.
type API struct {
	opts     Options
	huma     huma.API
	reader   *results.Reader
	runs     *runs
	requests *clients
	starts   *clients
	follows  *seats
	reads    chan struct{}
	seats    chan struct{} // of validations, which are waited for
}

// maxReads is how many questions to the store are worked on at once.
const maxReads = 8

// New adds the API's routes to a router.
func New(r chi.Router, o Options) (*API, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	const startShare = 50
	a := &API{opts: o, reader: o.Store.Reader(), runs: newRuns(o.Store, o.Recorder, o.MaxRuns), requests: newClients(o.ClientRate),
		starts: newClients(o.ClientRate / startShare), follows: newSeats(o.MaxReaders), reads: make(chan struct{}, maxReads), seats: make(chan struct{}, o.MaxRuns)}
	r.Group(func(r chi.Router) {
		r.Use(a.admit)
		a.huma = humachi.New(r, describe(o.Version))
		a.register()
	})
	return a, nil
}

// describe is the head of the OpenAPI document. No page is served that would load anything from elsewhere.
func describe(version string) huma.Config {
	c := huma.DefaultConfig("vipprobe", version)
	c.Info.Description = "Runs that are asked for and followed, what rounds gave, how targets fare, and the catalogue of verdicts. Times are RFC 3339; durations are " +
		"integers of nanoseconds in fields that end in _ns; what is not known is left out."
	c.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil // answers are as the command line has them, without $schema
	c.RejectUnknownQueryParameters = true                  // a filter that is misspelt would give everything
	return c
}

func (a *API) register() {
	a.registerRuns()
	a.registerValidation()
	a.registerResults()
	a.registerTargets()
	a.registerVerdicts()
	a.registerService()
	for _, s := range a.huma.OpenAPI().Components.Schemas.Map() {
		unsign(s)
	}
}

// unsign mends the format of unsigned numbers of 32 bits, such as TSvals: huma calls them int32, which a generated client would believe.
func unsign(s *huma.Schema) {
	if s.Format == "int32" && s.Minimum != nil && *s.Minimum == 0 {
		s.Format = "uint32"
	}
	for _, p := range s.Properties {
		unsign(p)
	}
	if s.Items != nil {
		unsign(s.Items)
	}
}

// OpenAPI is the document that is served.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// Close ends the runs under way and waits for them; those who follow them are told.
func (a *API) Close() { a.runs.close() }

// operation describes one route; errs are the statuses of its problems.
func operation(method, path, id, summary, tag string, errs ...int) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, Errors: append(errs, http.StatusTooManyRequests, http.StatusServiceUnavailable)}
}
