package pluginsrv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/user"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// headerLimit is how long the head of a request may take to arrive.
const headerLimit = 10 * time.Second

// Run serves the sockets until ctx ends, then takes no more calls and lets the
// running ones come to their end within the stop limit, then ends their
// contexts. It returns nil after a clean stop. It tells systemd READY=1 when it
// serves and [Server.Ready] was called, pings its watchdog, and tells it
// STOPPING=1. It can be called once, since sockets come from systemd but once.
func (s *Server) Run(ctx context.Context, sockets ...Socket) error {
	listeners, err := s.listenAll(ctx, sockets)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	failed := make(chan error, len(sockets)) // one each
	servers := make([]*http.Server, len(sockets))
	for i, so := range sockets {
		srv := &http.Server{
			Handler: so.Handler, ReadHeaderTimeout: headerLimit, ConnContext: so.ConnContext,
			ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
		}
		servers[i] = srv
		l := listeners[i]
		if so.Wrap != nil {
			l = so.Wrap(l)
		}
		work.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", so.Path, err)
			}
		})
		s.cfg.Log.InfoContext(ctx, "serving", "socket", listeners[i].Addr().String())
	}
	telling, stopTelling := context.WithCancel(ctx)
	work.Go(func() { s.tellSystemd(telling) })
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.notify(daemon.SdNotifyStopping)
	stopTelling()
	err = errors.Join(err, s.stop(ctx, servers))
	work.Wait()
	return err
}

// listenAll opens all sockets or none.
func (s *Server) listenAll(ctx context.Context, sockets []Socket) ([]net.Listener, error) {
	given, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take sockets from systemd: %w", err)
	}
	var out []net.Listener
	for _, so := range sockets {
		l := take(given, so)
		if l == nil {
			if l, err = listen(ctx, so); err != nil {
				errs := []error{err}
				for _, l := range out {
					errs = append(errs, l.Close())
				}
				return nil, errors.Join(errs...)
			}
			if _, err := user.LookupGroup(so.Group); so.Group != "" && err != nil {
				s.cfg.Log.WarnContext(ctx, "only root reaches a socket, whose group this host has not: make it with groupadd -r, and start me anew", "socket", so.Path, "group", so.Group)
			}
		}
		out = append(out, l)
	}
	for name, ls := range given {
		for _, l := range ls {
			s.cfg.Log.WarnContext(ctx, "systemd gave a socket that nobody serves", "name", name, "socket", l.Addr().String())
			_ = l.Close() // nobody uses it
		}
	}
	return out, nil
}

// take removes from given the listener for a socket: by its name, else by its
// path. It returns nil when there is none.
func take(given map[string][]net.Listener, so Socket) net.Listener {
	for name, ls := range given {
		for i, l := range ls {
			if (so.Name != "" && name == so.Name) || l.Addr().String() == so.Path {
				given[name] = slices.Delete(ls, i, i+1)
				return l
			}
		}
	}
	return nil
}

// stop ends the servers, gracefully first, all at once.
func (s *Server) stop(ctx context.Context, servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopLimit)
	defer cancel()
	var work sync.WaitGroup
	for _, srv := range servers {
		work.Go(func() {
			// Its error is that calls still run; these are counted below.
			_ = srv.Shutdown(ctx)
		})
	}
	work.Wait()
	var err error
	if n := s.open.wait(0); n > 0 {
		err = fmt.Errorf("%d calls were cut off at the stop: they ran longer than %s", n, s.cfg.StopLimit)
	}
	s.once.cut.Do(func() { close(s.cut) })
	if n := s.open.wait(2 * Grace); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d calls run still: they do not heed the end of their context", n))
	}
	s.flush(servers)
	return err
}

// flush lets the last answers out before connections are closed.
func (s *Server) flush(servers []*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), Grace) //nolint:forbidigo // the stop's own limit is over
	defer cancel()
	for _, srv := range servers {
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // nothing more can be done for them
		}
	}
}

// tellSystemd says READY=1, then feeds the watchdog, where systemd asks for it,
// as long as the daemon is alive and until ctx ends.
func (s *Server) tellSystemd(ctx context.Context) {
	select {
	case <-s.ready:
		s.notify(daemon.SdNotifyReady)
	case <-ctx.Done():
		return
	}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.alive(ctx, every/3); err != nil {
			s.cfg.Log.ErrorContext(ctx, "not alive, systemd is not pinged", "err", err)
			continue
		}
		s.notify(daemon.SdNotifyWatchdog)
	}
}

func (s *Server) alive(ctx context.Context, limit time.Duration) error {
	if s.Alive == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.Alive(ctx)
}

func (s *Server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.cfg.Log.Warn("systemd was not told", "state", state, "err", err)
	}
}
