package server

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Control answers what only the controllers know.
type Control interface {
	// Explain says what becomes of one more set of a service, which need not be stored; of a
	// host in particular, where its name is not empty. Of sets, those are named that tell is true for.
	Explain(ctx context.Context, s *api.Service, host string, tell func(set string) bool) (*api.Explanation, error)
	// DryRun says where the sets of a service would go if it were stored now.
	DryRun(ctx context.Context, s *api.Service, tell func(set string) bool) (*api.Forecast, error)
	// Plan fills in the moves of a rebalance.
	Plan(ctx context.Context, o *api.Operation) error
	// Usage is a page of what hosts and sets use. It is of class Unavailable where this process
	// does not lead.
	Usage(ctx context.Context, q api.MeasuredQuery) (*api.Page[api.Measured], error)
}

// Config is that of a server. Store and Log are required.
type Config struct {
	Store    *state.Store
	Log      *slog.Logger
	Control  Control      // nil: what asks it is refused
	Link     http.Handler // of hosts, below /v1/link/; it knows by itself whom to let in
	Sessions Sessions     // with containers on hosts; nil refuses them
	Name     string       // of this process among the controllers
	// As is how another of them is asked in a caller's name, for what only the one that leads
	// has; [ca.Authority.As] is. nil asks none.
	As      func(role api.Role, name string) (*tls.Config, error)
	Version string // of the program
	// Authority is the certificate in PEM that signed all others, and Pin its hash, which
	// stands behind the tokens of hosts.
	Authority []byte
	Pin       string
	Now       func() time.Time // time.Now by default
	// Tenants is the policy, as mos-authz has them, for what tenants' sets may be, who are
	// known by common names; [Tenants] by default.
	Tenants *policy.Policy
	// Rate is how many requests a second a caller may make, but for those of the unix socket;
	// Burst how many at once. 0 is no bound.
	Rate  float64
	Burst int
	// Ready says why this process should not be asked now.
	Ready func(context.Context) error
}

// Server is the API.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	handler http.Handler
	api     huma.API
	openAPI []byte
	bearers *bearers
	revoked *revoked
	pace    pace
	metrics *metrics
	atEnd   func(do func()) (stop func() bool) // of the server
}

// New makes a server, whose watches end with ctx.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Store == nil || c.Log == nil {
		return nil, fault.Invalid("the API needs a store and a logger")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Tenants == nil {
		c.Tenants = Tenants()
	}
	if c.Control == nil {
		c.Control = noControl{}
	}
	s := &Server{cfg: c, mux: http.NewServeMux(), atEnd: func(do func()) func() bool { return context.AfterFunc(ctx, do) }}
	// A page of somebody else's in a browser that has our certificate is not its user.
	s.handler = http.NewCrossOriginProtection().Handler(s.mux)
	s.bearers = &bearers{store: c.Store, now: c.Now}
	s.pace = pace{every: rate.Limit(c.Rate), burst: max(c.Burst, 1)}
	var err error
	if s.revoked, err = newRevoked(ctx, c.Store, c.Log); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	s.metrics = newMetrics(registry, c.Store)
	s.api = humago.New(s.mux, describe(c.Version))
	s.api.OpenAPI().Components.Schemas.RegisterTypeAlias(reflect.TypeFor[api.Template](), reflect.TypeFor[setSchema]())
	s.api.UseMiddleware(s.guard)
	s.resources()
	s.watches()
	s.questions()
	s.usage()
	s.tokens()
	s.describeSession()
	s.mux.HandleFunc("POST "+pathSession, s.session)
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(s.openAPI) // the client may be gone
	})
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		c := call{}
		var err error
		if c.Caller, err = s.identify(r.Context(), r.Header.Get("Authorization"), r.TLS); err == nil {
			err = c.may(look, api.Hosts, "")
		}
		if err != nil {
			refuse(w, err)
			return
		}
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, fault.NotFound("there is no %s %.80s: /openapi.json has all", r.Method, r.URL.Path))
	})
	s.mux.HandleFunc("GET /v1/authority", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(c.Authority) // the client may be gone
	})
	if c.Link != nil {
		s.mux.HandleFunc(link.Root, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context()) // its streams end with it
			defer cancel()
			defer s.atEnd(cancel)()
			c.Link.ServeHTTP(w, r.WithContext(ctx))
		})
	}
	s.openAPI, err = document(s.api.OpenAPI())
	return s, err
}

// OpenAPI is the document of the API.
func (s *Server) OpenAPI() []byte { return s.openAPI }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, done, err := s.revoked.admit(r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer done()
	r.Body = drained{r.Body}
	s.handler.ServeHTTP(w, r)
}

// drained reads what is left of a body that is too large before it closes it: a client that asked for
// "Connection: close" and still writes would have its connection broken, and never read why.
type drained struct{ io.ReadCloser }

func (d drained) Close() error {
	_, _ = io.CopyN(io.Discard, d.ReadCloser, 4*mostBody) // the client may be gone
	return d.ReadCloser.Close()
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(r.Context()); err != nil {
			refuse(w, err)
			return
		}
	}
	_, _ = w.Write([]byte("ok\n"))
}

// refuse answers outside of huma.
func refuse(w http.ResponseWriter, err error) {
	p := api.NewProblem(err)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_, _ = w.Write(encode(p)) //nolint:gosec // JSON that says so; the client may be gone
}

// noControl is where the controllers are missing.
type noControl struct{}

func (noControl) Explain(context.Context, *api.Service, string, func(string) bool) (*api.Explanation, error) {
	return nil, fault.Later("this process has no controllers that could explain placement")
}

func (noControl) DryRun(context.Context, *api.Service, func(string) bool) (*api.Forecast, error) {
	return nil, fault.Later("this process has no controllers that could plan")
}

func (noControl) Plan(context.Context, *api.Operation) error {
	return fault.Later("this process has no controllers that could plan")
}

func (noControl) Usage(context.Context, api.MeasuredQuery) (*api.Page[api.Measured], error) {
	return nil, fault.Later("this process has no controllers that hosts could tell what they use")
}
