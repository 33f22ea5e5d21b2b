package api

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/vipprobe/vipprobe/api/page"
	"github.com/vipprobe/vipprobe/api/record"
	v1 "github.com/vipprobe/vipprobe/api/v1"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
	"github.com/vipprobe/vipprobe/targets/discovery"
)

// DefaultListen is where the service listens unless told otherwise. 19115 is blackbox_exporter's 9115 and ten thousand: it stands
// neither among Prometheus' default port allocations (9100 to 9999 are all taken, the list goes on from 10000; of 19xxx it has
// 19091 and 19999) nor in Debian's /etc/services, and lies below ip_local_port_range.
const DefaultListen = ":19115"

// Prober probes and investigates targets. The errors are a *prober.TargetError, *prober.NotAllowedError, *prober.ResolveError,
// *prober.BudgetError, *prober.EnvironmentError, or ctx's.
type Prober = v1.Prober

// Options are what a Server is made of. Prober and Config are required.
type Options struct {
	Prober Prober
	// Config returns the configuration in force. A request asks once and keeps the answer.
	Config func() *targets.Config
	// Reload reads the configuration anew and puts it in force; on an error the old one stays. nil: /-/reload answers 501.
	Reload func() error
	// Jobs are the jobs that are scheduled here, with the targets that were found, perhaps in parts of one name; nil: those of Config as they stand.
	Jobs func() []targets.Job
	// Discovery is what /metrics tells of how targets are found; nil: nothing.
	Discovery *discovery.Discovery
	// Pprof serves profiles of the process under /debug/pprof/.
	Pprof bool
	// Ready says why the service cannot work yet; nil: it always can.
	Ready func() error
	// Testimony returns what is told of this host, and to whom, as it is now; nil, or a nil result: nothing.
	Testimony func() *Testimony
	// Metrics are the service's own; nil: new ones.
	Metrics *Metrics
	// Version of the program, for the API's description.
	Version string
	// Registry is what /metrics shows; nil: a new one with the Go runtime and the process. The Server adds Metrics to it.
	Registry *prometheus.Registry
	// Results keep what rounds give; nil: some of it is kept in memory until Close. Recorder takes the rounds; nil: a new one.
	Results  *results.Store
	Recorder *record.Recorder
	// Authenticated reports whether a caller has proved who it is; nil: nobody has. What can hurt a target is done for such callers only.
	Authenticated func(*http.Request) bool
	Logger        zerolog.Logger
	// History is how many recent probes /logs keeps; 0: 100.
	History int
	// MaxInFlight is how many probes may run at once on behalf of requests, the next one answers 503; 0: 512.
	MaxInFlight int
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	opts     Options
	metrics  *Metrics
	series   *probeSeries
	flights  flights
	history  *history
	slots    chan struct{}
	reload   sync.Mutex
	logs     *template.Template
	handler  http.Handler
	walkable chi.Routes
	gatherer prometheus.Gatherer
	recorder *record.Recorder
	v1       *v1.API
	own      *results.Store // to be closed; nil: it is another's
}

// New makes a Server; the error says what is missing in o.
func New(o Options) (*Server, error) {
	if o.Prober == nil || o.Config == nil {
		return nil, errors.New("api: a Server needs a Prober and a Config")
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(MetricsOptions{})
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
		o.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if o.History <= 0 {
		o.History = 100
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 512
	}
	if err := o.Registry.Register(o.Metrics); err != nil {
		return nil, err
	}
	if o.Discovery != nil {
		if err := o.Registry.Register(discoveryMetrics{o.Discovery}); err != nil {
			return nil, err
		}
	}
	list, err := template.New("logs").Parse(logsPage)
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: o, metrics: o.Metrics, series: newProbeSeries(), history: newHistory(o.History), slots: make(chan struct{}, o.MaxInFlight),
		logs: list, gatherer: o.Registry,
	}
	if s.handler, err = s.routes(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// keep makes what is missing to keep results.
func (s *Server) keep() error {
	o := &s.opts
	if o.Results == nil {
		complain := func(err error) { o.Logger.Error().Err(err).Msg("results") }
		var err error
		if o.Results, err = results.Open(context.Background(), results.Options{OnError: complain}); err != nil {
			return err
		}
		s.own = o.Results
	}
	if s.recorder = o.Recorder; s.recorder == nil {
		s.recorder = record.New(o.Results, evidence.Origin{Program: "vipprobe"}, func(err error) { o.Logger.Error().Err(err).Msg("result not kept whole") })
	}
	return o.Registry.Register(resultsMetrics{o.Results, s.recorder})
}

// Close ends the runs that were asked for, and waits for them.
func (s *Server) Close() error {
	if s.v1 != nil {
		s.v1.Close()
	}
	if s.own != nil {
		return s.own.Close()
	}
	return nil
}

// Handler serves every endpoint. It needs no other middleware; TLS and authentication are exporter-toolkit's.
func (s *Server) Handler() http.Handler { return s.handler }

// Limits of the HTTP server. A probe takes 120 s at most, and its answer is written after that.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 130 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 16 << 10 // octets
	maxBody           = 64 << 10 // octets
)

// HTTPServer is a server of Handler with bounds on slow and huge requests, ready for exporter-toolkit's web.ListenAndServe.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(zerolog.NewSlogHandler(s.opts.Logger), slog.LevelWarn),
	}
}

func (s *Server) routes() (http.Handler, error) {
	if err := s.keep(); err != nil {
		return nil, err
	}
	files, err := page.New()
	if err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Use(s.guard)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r.Method(method, "/", files)
		r.Method(method, page.Prefix+"*", files)
	}
	r.Get("/probe", s.serveProbe)
	r.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(s.gatherer, promhttp.HandlerOpts{
		ErrorLog: metricsLog{s.opts.Logger}, EnableOpenMetrics: true, MaxRequestsInFlight: 8,
	}))
	r.Get("/config", s.serveConfig)
	r.Get("/logs", s.serveLogs)
	r.Get(testimonyPath, s.serveTestimony)
	for _, method := range []string{http.MethodGet, http.MethodHead} { // load balancers and uptime checks ask with HEAD
		r.MethodFunc(method, "/-/healthy", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "Healthy") })
		r.MethodFunc(method, "/-/ready", s.serveReady)
	}
	r.Post("/-/reload", s.serveReload)
	r.Put("/-/reload", s.serveReload)
	if s.opts.Pprof {
		profiles(r)
	}
	s.v1, err = v1.New(r, v1.Options{Version: s.opts.Version, Prober: s.opts.Prober, Config: s.opts.Config, Store: s.opts.Results, Recorder: s.recorder,
		Authenticated: s.opts.Authenticated, Jobs: s.opts.Jobs})
	if err != nil {
		return nil, err
	}
	describeTestimony(s.v1.OpenAPI())
	s.walkable = r
	r.NotFound(noRoute(r))
	r.MethodNotAllowed(noRoute(r))
	return http.MaxBytesHandler(r, maxBody), nil
}

// guard answers 500 to a panic of a handler, and keeps browsers from guessing types.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.opts.Logger.Error().Str("path", r.URL.Path).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("handler panicked")
				writeText(w, http.StatusInternalServerError, "internal error")
			}
		}()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

type metricsLog struct{ log zerolog.Logger }

func (l metricsLog) Println(v ...any) { l.log.Error().Msgf("write /metrics: %v", v) }
