package link

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// The paths of the link, below which a server is mounted.
const (
	Root            = "/v1/link/"
	pathReports     = Root + "reports"
	pathAssignments = Root + "assignments"
	pathJoin        = Root + "join"
	pathRenew       = Root + "renew"
)

// Bounds of the link.
const (
	mostReport  = 4 << 20         // bytes
	mostHolding = 1 << 20         // bytes of a report with what its host has: it is to be there in callLimit
	keepalive   = 3 * time.Second // a stream of assignments is never silent for longer
	silentFor   = 30 * time.Second
	clocksApart = 30 * time.Second // more keeps a host from joining
)

// Peer is who asks.
type Peer struct {
	Host string // by whose certificate it comes
	Any  bool   // it comes by this machine's unix socket, and may be any host
}

// Authority lets hosts join. Package scheduler/ca has it.
type Authority interface {
	// Admit checks the secret of a token. It is of class PermissionDenied if it is none.
	Admit(ctx context.Context, secret string) error
	// Sign makes a host's certificate, and that of the authority, for a request in PEM.
	Sign(ctx context.Context, host string, request []byte) (Certificate, error)
}

// Certificate is PEM.
type Certificate struct {
	Own       string `json:"certificate"`
	Authority string `json:"authority"`
}

// Config is what a [Server] needs.
type Config struct {
	// Cluster is the cluster's mark, which hosts keep.
	Cluster    string
	Controller Controller
	Who        func(*http.Request) (Peer, error)
	Authority  Authority // nil lets no host join
	Log        *slog.Logger
}

// Server is the controllers' end of the link.
type Server struct {
	cfg Config
	mux http.ServeMux

	mu    sync.Mutex // guards all below
	heard map[string]time.Time

	sessions sessions
}

// NewServer makes one. It is an http.Handler for all below [Root]: its streams last for as
// long as their requests' contexts, so whoever serves it ends these, or the connections,
// to stop.
func NewServer(cfg Config) *Server {
	s := &Server{cfg: cfg, heard: map[string]time.Time{}}
	s.mux.HandleFunc("POST "+pathReports, s.handle(s.report))
	s.mux.HandleFunc("GET "+pathAssignments, s.handle(s.assignments))
	s.mux.HandleFunc("POST "+pathJoin, s.handle(s.join))
	s.mux.HandleFunc("POST "+pathRenew, s.handle(s.renew))
	s.mux.HandleFunc("GET "+pathSessions, s.handle(s.offers))
	s.mux.HandleFunc("POST "+pathSessions+"/{id}", s.handle(s.attach))
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) handle(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil && r.Context().Err() == nil {
			s.cfg.Log.DebugContext(r.Context(), "link refused", "path", r.URL.Path, "err", err)
			pluginsrv.Refuse(w, err)
		}
	}
}

// may says whether who asks may speak for a host.
func (s *Server) may(r *http.Request, host string) (Peer, error) {
	p, err := s.cfg.Who(r)
	if err != nil {
		return p, err
	}
	if !p.Any && (p.Host == "" || p.Host != host) {
		return p, fault.Of(errdefs.ErrPermissionDenied, "%q may not speak for host %.80q", p.Host, host)
	}
	return p, nil
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) error {
	var in Report
	if err := body(w, r, &in); err != nil {
		return err
	}
	p, err := s.may(r, in.Host)
	if err != nil {
		return err
	}
	if err := s.known(r.Context(), p, in); err != nil {
		return err
	}
	lease, err := s.cfg.Controller.Report(r.Context(), in)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.heard[in.Host] = time.Now()
	s.mu.Unlock()
	return answer(w, lease)
}

// known sees that a host is one of the cluster, and still the same machine. One that
// comes by the unix socket joins by that.
func (s *Server) known(ctx context.Context, p Peer, in Report) error {
	h, err := s.cfg.Controller.Host(ctx, in.Host)
	switch {
	case err == nil && h.Status.Machine == in.Status.Machine:
		return nil
	case err != nil && !errdefs.IsNotFound(err):
		return err
	case p.Any:
		return s.cfg.Controller.Join(ctx, in.Host, in.Status)
	case err != nil:
		return fault.Of(errdefs.ErrPermissionDenied, "host %s is not of this cluster any more: docker mos host join lets it in again", in.Host)
	}
	return fault.Exists("host %s is another machine by now: docker mos host join --name takes another name for this one", in.Host)
}

// assignments writes a line for each assignment of a host, and an empty one where it has
// nothing to say for a while. It ends when the host is not heard of any more.
func (s *Server) assignments(w http.ResponseWriter, r *http.Request) error {
	host := r.URL.Query().Get("host")
	if _, err := s.may(r, host); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	type next struct {
		Assignment
		err error
	}
	all := make(chan next)
	work.Go(func() {
		defer close(all)
		for a, err := range s.cfg.Controller.Assignments(ctx, host) {
			a.Cluster = s.cfg.Cluster
			select {
			case all <- next{a, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	out := http.NewResponseController(w)
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	for begun := false; ; {
		var line []byte
		select {
		case n, more := <-all:
			switch {
			case begun && (!more || n.err != nil):
				return nil // the host sees the end, and asks again
			case !more:
				return fault.Unavailable("nothing is known of host %s here", host)
			case n.err != nil:
				return n.err
			}
			var err error
			if line, err = encode(&n.Assignment); err != nil {
				return err
			}
			if !begun {
				w.Header().Set("Content-Type", "application/x-ndjson")
			}
			begun = true
		case <-tick.C:
			if !begun || s.silent(host) {
				return nil
			}
		}
		// It may be a server that bounds how long answers take, and the host may be cut off.
		_ = out.SetWriteDeadline(time.Now().Add(3 * keepalive))
		if _, err := w.Write(append(line, '\n')); err != nil {
			return nil // the host is gone
		}
		if err := out.Flush(); err != nil {
			return nil // the host is gone
		}
	}
}

// codecs are those that nobody writes with. Assignments share the templates of the controllers,
// which never change in place.
var codecs = sync.Pool{New: func() any { return api.NewCodec() }} //nolint:gochecknoglobals // a pool

func encode(a *Assignment) ([]byte, error) {
	c, _ := codecs.Get().(*api.Codec)
	defer codecs.Put(c)
	return c.Marshal(a)
}

func (s *Server) silent(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.heard[host]
	if time.Since(last) < silentFor {
		return false
	}
	delete(s.heard, host)
	return true
}

// JoinRequest asks that a host becomes one of the cluster.
type JoinRequest struct {
	Host    string         `json:"host"`
	Secret  string         `json:"secret"` // of a token
	Sent    time.Time      `json:"sent"`
	Request string         `json:"request"` // for a certificate, PEM
	Status  api.HostStatus `json:"status"`
}

// RenewRequest asks for the next certificate of a host.
type RenewRequest struct {
	Request string `json:"request"` // PEM
}

func (s *Server) join(w http.ResponseWriter, r *http.Request) error {
	var in JoinRequest
	if err := body(w, r, &in); err != nil {
		return err
	}
	if s.cfg.Authority == nil {
		return fault.Later("this mos-scheduler has no authority: hosts of other machines cannot join it")
	}
	if err := s.cfg.Authority.Admit(r.Context(), in.Secret); err != nil {
		return err
	}
	if apart := time.Since(in.Sent); apart.Abs() > clocksApart {
		return fault.Conflict("the clock of host %.80s is %s from ours: certificates and leases need clocks that agree within %s, so set it, such as by NTP, and join again", in.Host, apart.Abs().Round(time.Second), clocksApart)
	}
	probe := api.Host{Meta: api.Meta{Name: in.Host}, Status: in.Status}
	if err := probe.Check(); err != nil {
		return err
	}
	if in.Status.Machine == "" {
		return fault.Invalid("the request to join does not say which machine it is")
	}
	if err := s.cfg.Controller.Join(r.Context(), in.Host, in.Status); err != nil {
		return err
	}
	cert, err := s.cfg.Authority.Sign(r.Context(), in.Host, []byte(in.Request))
	if err != nil {
		return err
	}
	s.cfg.Log.InfoContext(r.Context(), "host joined", "host", in.Host)
	return answer(w, cert)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) error {
	var in RenewRequest
	if err := body(w, r, &in); err != nil {
		return err
	}
	p, err := s.cfg.Who(r)
	switch {
	case err != nil:
		return err
	case p.Host == "" || s.cfg.Authority == nil:
		return fault.Of(errdefs.ErrPermissionDenied, "there is no certificate to renew")
	}
	if _, err := s.cfg.Controller.Host(r.Context(), p.Host); err != nil {
		return err
	}
	cert, err := s.cfg.Authority.Sign(r.Context(), p.Host, []byte(in.Request))
	if err != nil {
		return err
	}
	return answer(w, cert)
}

// body reads a request. What it does not know is of a later version and is passed over.
func body(w http.ResponseWriter, r *http.Request, to any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostReport))
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		return fault.Invalid("read the request: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v, jsontext.EscapeForHTML(false))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n')) // who asked may be gone
	return nil
}
