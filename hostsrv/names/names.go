package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/go-json-experiment/json"
	"github.com/miekg/dns"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Engine is what is asked of the Engine.
type Engine interface {
	// PID is that of a container's first process. NotFound if there is no such container.
	PID(ctx context.Context, id string) (int, error)
	// Events calls each for what happens to containers of sets, until ctx ends or it fails.
	Events(ctx context.Context, ready func(), each func(setmgr.Happened)) error
}

// The times of a server.
const (
	again   = 5 * time.Second // until it is looked whether all sets are served
	reopen  = time.Second     // until the Engine's events are asked for again
	pidTime = 3 * time.Second // for the Engine to say which process a set has
)

// record is what outlives mosd.
type record struct {
	Version int        `json:"version"`
	Names   link.Names `json:"names"`
	// Fallback are resolvers that sets ask themselves when nobody listens. They are part of
	// what a container is made of, so they stay as they were at first.
	Fallback []string `json:"fallback,omitzero"`
}

const (
	version    = 1
	recordFile = "names.json"
)

// Server answers the sets of a host.
type Server struct {
	dir    string
	domain string
	log    *slog.Logger
	answerer

	mu     sync.Mutex // guards all below
	rec    record
	wanted map[string]bool // sets to be served
	served map[string]*listener
	failed map[string]string // why sets are not served, told once
	look   chan struct{}     // of capacity 1: wanted is another
}

// Check says whether names can be of a domain. "" is none: nothing is answered.
func Check(domain string) error {
	if labels, ok := dns.IsDomainName(domain); domain != "" && (!ok || labels < 1 || dns.CanonicalName(domain) != domain+".") {
		return fault.Invalid("%.80q is no domain: write one in small letters, such as mos.internal", domain)
	}
	return nil
}

// Open makes a server for a domain, with the names that are in the folder dir.
func Open(domain, dir string, log *slog.Logger) (*Server, error) {
	s := &Server{
		dir: dir, domain: domain, log: log, wanted: map[string]bool{}, served: map[string]*listener{}, failed: map[string]string{}, look: make(chan struct{}, 1),
	}
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.rec = record{Version: version, Fallback: reachable(resolvConf, behindStub)}
		err = s.save()
	case err == nil:
		if bad := json.Unmarshal(data, &s.rec); bad != nil { // the machine lost its power while it was written
			log.Warn("names are begun anew", "file", filepath.Join(dir, recordFile), "err", bad)
			s.rec = record{Version: version, Fallback: reachable(resolvConf, behindStub)}
			err = s.save()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, recordFile), err)
	}
	if s.rec.Version != version {
		return nil, fault.Conflict("%s is of version %d, and this mosd knows %d: run a newer one", filepath.Join(dir, recordFile), s.rec.Version, version)
	}
	s.upstream = (&resolvers{path: resolvConf}).now
	s.zone.Store(newZone(domain, s.rec.Names))
	return s, nil
}

// save replaces the file. What the machine loses with it in a crash is told again.
func (s *Server) save() error {
	data, err := json.Marshal(s.rec, json.Deterministic(true))
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, recordFile)
	if err := errors.Join(os.MkdirAll(s.dir, 0o700), os.WriteFile(path+".new", data, 0o600)); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Take answers by these names from now on, and keeps them.
func (s *Server) Take(n link.Names) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone.Store(newZone(s.domain, n))
	s.rec.Names = n
	return s.save()
}

// Give has a set ask here, if it has an address by which others can know it and no servers of
// its own.
func (s *Server) Give(set *spec.Set) {
	has := func(n spec.Network) bool { return n.IP != "" || n.IP6 != "" }
	if s.domain == "" || len(set.DNS.Servers) > 0 || !has(set.Network) && !slices.ContainsFunc(set.Networks, has) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	set.DNS.Servers = append([]string{Loopback}, s.rec.Fallback...)
}

// Asks says whether a set was given this server.
func Asks(set *spec.Set) bool { return slices.Contains(set.DNS.Servers, Loopback) }

// Serve has just these sets answered.
func (s *Server) Serve(sets map[string]bool) {
	s.mu.Lock()
	s.wanted = sets
	s.mu.Unlock()
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context, open func() (Engine, error)) {
	if s.domain == "" {
		return
	}
	var work sync.WaitGroup
	defer s.end(ctx)
	defer work.Wait()
	work.Go(func() { s.follow(ctx, open) })
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		if e, err := open(); err == nil {
			s.lookAtAll(ctx, e)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.look:
		}
	}
}

// follow looks at a set as soon as its infra container starts, since its members may ask at
// once, or ends.
func (s *Server) follow(ctx context.Context, open func() (Engine, error)) {
	for ctx.Err() == nil {
		if e, err := open(); err == nil {
			err = e.Events(ctx, func() {}, func(h setmgr.Happened) {
				if h.Member == "" && (h.Action == "start" || h.Action == "die") {
					s.lookAt(ctx, e, h.Set)
				}
			})
			s.log.DebugContext(ctx, "events of the Engine ended", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopen):
		}
	}
}

func (s *Server) lookAtAll(ctx context.Context, e Engine) {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.wanted))
	for name, l := range s.served {
		if !s.wanted[name] {
			delete(s.served, name)
			l.close(ctx)
		}
	}
	s.mu.Unlock()
	for _, name := range names {
		s.lookAt(ctx, e, name)
	}
}

// lookAt has one set served where it runs now.
func (s *Server) lookAt(ctx context.Context, e Engine, name string) {
	now, err := s.find(ctx, e, name)
	if now.File != nil {
		defer func() { _ = now.Close() }()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.served[name]
	if errors.Is(err, errUnsure) || was != nil && now.File != nil && was.in == now.id {
		return // of an Engine that does not answer, what is served stays so
	}
	if was != nil {
		delete(s.served, name)
		was.close(ctx) // its sockets would keep a network that nobody is in
	}
	if err == nil && (now.File == nil || !s.wanted[name]) {
		return
	}
	var udp net.PacketConn
	var tcp net.Listener
	if err == nil {
		udp, tcp, err = listen(ctx, now)
	}
	if err != nil {
		if s.failed[name] != err.Error() {
			s.log.WarnContext(ctx, "a set cannot ask for names of the cluster", "set", name, "err", err)
		}
		s.failed[name] = err.Error()
		return
	}
	delete(s.failed, name)
	s.served[name] = s.serve(name, now.id, udp, tcp)
}

// errUnsure says that it is not known where a set runs: it is looked at again.
var errUnsure = errors.New("not known for sure")

// find opens the network that a set is in, none of one that does not run.
func (s *Server) find(ctx context.Context, e Engine, name string) (netns, error) {
	ctx, cancel := context.WithTimeout(ctx, pidTime)
	defer cancel()
	pid, err := e.PID(ctx, render.InfraName(name))
	switch {
	case errdefs.IsNotFound(err) || err == nil && pid == 0:
		return netns{}, nil
	case err != nil:
		return netns{}, errUnsure
	}
	in, err := networkOf(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return netns{}, errUnsure // it ended just now
	}
	if err != nil {
		return netns{}, err
	}
	s.mu.Lock()
	was := s.served[name]
	s.mu.Unlock()
	if was != nil && was.in == in.id {
		return in, nil
	}
	// The process may have ended before its network was opened, and another have its pid: not
	// if the container has it still.
	if still, err := e.PID(ctx, render.InfraName(name)); err != nil || still != pid {
		_ = in.Close()
		return netns{}, errUnsure
	}
	return in, nil
}

func (s *Server) end(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.served {
		l.close(ctx)
		l.done.Wait()
		delete(s.served, name)
	}
}
