package pluginsrv

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says how a server works. Log is required.
type Config struct {
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted
	// CallLimit is the deadline of one call; 0 is 110 s, which is below the two
	// minutes after which people and their tools give up on `docker run`.
	CallLimit time.Duration
	// StopLimit is how long running calls may go on after a stop; 0 is 20 s.
	StopLimit time.Duration
	// MaxBody is the largest request in bytes; 0 is 1 MiB.
	MaxBody int64
}

// Server is one set of calls, served on any number of sockets.
type Server struct {
	cfg   Config
	mux   *http.ServeMux
	calls *prometheus.CounterVec
	took  *prometheus.HistogramVec
	open  prometheus.Gauge
	// Alive, when set, is asked before each ping of systemd's watchdog: an
	// error lets systemd restart a daemon that hangs.
	Alive func(context.Context) error

	mu         sync.Mutex // guards all below
	implements []string
}

// contentType is what dockerd sends and expects of plugins.
const contentType = "application/vnd.docker.plugins.v1.1+json"

// New makes a server without calls.
func New(cfg Config) *Server {
	if cfg.CallLimit == 0 {
		cfg.CallLimit = 110 * time.Second
	}
	if cfg.StopLimit == 0 {
		cfg.StopLimit = 20 * time.Second
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	s := &Server{
		cfg:   cfg,
		mux:   http.NewServeMux(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mos_plugin_calls_total", Help: "Plugin calls, by method and result."}, []string{"method", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mos_plugin_call_seconds", Help: "Time a plugin call took, by method.",
			Buckets: []float64{.001, .002, .005, .01, .02, .03, .06, .1, .3, 1, 3, 10, 30, 110},
		}, []string{"method"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mos_plugin_calls_open", Help: "Plugin calls under way."}),
	}
	if cfg.Registry != nil {
		cfg.Registry.MustRegister(s.calls, s.took, s.open)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Sprintf("%.80q is not implemented by this plugin", r.URL.Path))
	})
	s.mux.HandleFunc("POST /Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		answer(w, map[string][]string{"Implements": s.implements})
	})
	return s
}

// Implements says which plugin protocols the server speaks.
func (s *Server) Implements(protocols ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.implements = append(s.implements, protocols...)
}

// None is the request of calls that take nothing, and the answer of those that
// give nothing.
type None struct{}

// Handle adds a call. With Req = [None] any body is taken, also none.
func Handle[Req, Resp any](s *Server, path string, f func(context.Context, Req) (Resp, error)) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		s.call(w, r, path[1:], func(ctx context.Context) (any, error) {
			var req Req
			if _, none := any(req).(None); !none {
				if err := decode(http.MaxBytesReader(w, r.Body, s.cfg.MaxBody), &req, false); err != nil {
					return nil, fmt.Errorf("request: %w", err)
				}
			}
			return f(ctx, req)
		})
	})
}

// call runs one call: deadline, panic, log line, counters, answer.
func (s *Server) call(w http.ResponseWriter, r *http.Request, method string, f func(context.Context) (any, error)) {
	// The call goes on when Docker hangs up: half a change is worth less.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.cfg.CallLimit)
	defer cancel()
	start := time.Now()
	s.open.Inc()
	defer s.open.Dec()
	resp, err := s.guard(ctx, method, f)
	took := time.Since(start)
	s.took.WithLabelValues(method).Observe(took.Seconds())
	if err != nil {
		s.calls.WithLabelValues(method, "error").Inc()
		s.cfg.Log.Warn("call failed", "method", method, "took", took, "err", err)
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.calls.WithLabelValues(method, "ok").Inc()
	s.cfg.Log.Debug("call", "method", method, "took", took)
	answer(w, resp)
}

// guard turns a panic of a call into its error.
func (s *Server) guard(ctx context.Context, method string, f func(context.Context) (any, error)) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Log.Error("call panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s broke inside: %v: %w, see the daemon's log", method, p, errdefs.ErrInternal)
		}
	}()
	return f(ctx)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", contentType)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		// The client is gone; it asks again.
		return
	}
}

func fail(w http.ResponseWriter, status int, msg string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"Err": msg, "Error": msg}) //nolint:errchkjson // strings only; the client may be gone
}
