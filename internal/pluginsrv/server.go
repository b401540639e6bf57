package pluginsrv

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says how a server works. Log is required.
type Config struct {
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted
	// CallLimit is the deadline of one call; 0 is 110 s, which is below the two
	// minutes after which people and their tools give up on `docker run`. Calls
	// of VolumeDriver other than Create and Mount have at most 50 s: there the
	// Engine itself gives up after a minute.
	CallLimit time.Duration
	// CallLimits are the deadlines of single calls, by method such as
	// "NetworkDriver.Join". They win over CallLimit.
	CallLimits map[string]time.Duration
	// StopLimit is how long running calls may go on after a stop; 0 is 20 s.
	// After it their contexts end.
	StopLimit time.Duration
	// MaxBody is the largest request in bytes; 0 is 1 MiB.
	MaxBody int64
	// Gated holds back plugin calls, but not /Plugin.Activate nor the admin API,
	// until [Server.Ready].
	Gated bool
	// ReadyLimit is how long a call waits for Ready before it is refused; 0 is 10 s.
	ReadyLimit time.Duration
}

// Server is one set of calls, served on any number of sockets. Calls are added
// before it runs.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	metrics metrics
	number  atomic.Uint64 // of the last call
	open    inFlight
	ready   chan struct{} // closed by Ready
	cut     chan struct{} // closed when running calls must end
	once    struct{ ready, cut sync.Once }

	// Alive, when set, is asked before each ping of systemd's watchdog: an
	// error lets systemd restart a daemon that hangs. It is set before Run.
	Alive func(context.Context) error

	mu         sync.Mutex // guards all below
	implements []string
}

// New makes a server without calls.
func New(cfg Config) *Server {
	def(&cfg.CallLimit, 110*time.Second)
	def(&cfg.StopLimit, 20*time.Second)
	def(&cfg.ReadyLimit, 10*time.Second)
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), ready: make(chan struct{}), cut: make(chan struct{})}
	s.metrics = newMetrics(cfg.Registry)
	if !cfg.Gated {
		s.Ready()
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.metrics.calls.WithLabelValues("unknown", resultUnknown).Inc()
		cfg.Log.WarnContext(r.Context(), "call of an unknown path", "path", r.URL.Path, "method", r.Method)
		fail(w, http.StatusNotFound, "this plugin does not implement "+r.Method+" "+clip(r.URL.Path))
	})
	s.mux.HandleFunc("POST /Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = answer(w, map[string][]string{"Implements": s.implements}) // strings can be encoded
	})
	return s
}

// Implements says which plugin protocols the server speaks, such as
// "NetworkDriver".
func (s *Server) Implements(protocols ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.implements = append(s.implements, protocols...)
}

// Ready lets the calls of a gated server through, and lets systemd know. Calling
// it again does nothing.
func (s *Server) Ready() { s.once.ready.Do(func() { close(s.ready) }) }

// Handler returns the plugin's calls.
func (s *Server) Handler() http.Handler { return s.mux }

// limit returns the deadline of a method.
func (s *Server) limit(method string) time.Duration {
	if d, ok := s.cfg.CallLimits[method]; ok {
		return d
	}
	switch {
	case method == "VolumeDriver.Create", method == "VolumeDriver.Mount":
	case strings.HasPrefix(method, "VolumeDriver."):
		return min(s.cfg.CallLimit, 50*time.Second)
	}
	return s.cfg.CallLimit
}

func def(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// clip shortens what a stranger sent, for logs and answers.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// inFlight counts running calls.
type inFlight struct {
	mu   sync.Mutex // guards all below
	n    int
	idle chan struct{} // closed at 0, when somebody waits
}

func (f *inFlight) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n += n; f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// wait returns how many calls run still when the last has ended or d is over.
func (f *inFlight) wait(d time.Duration) int {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return 0
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}
