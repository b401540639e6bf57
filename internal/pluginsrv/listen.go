package pluginsrv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Socket is one place to serve. When systemd hands over a listener under Name,
// it is used and left to systemd; else Path is made, with mode 0660 and group
// docker where that exists, and removed on a clean stop.
type Socket struct {
	Name    string // FileDescriptorName of the socket unit
	Path    string
	Handler http.Handler
}

// Handler is the plugin's calls.
func (s *Server) Handler() http.Handler { return s.mux }

// Run serves the sockets until ctx ends, then lets running calls come to their
// end within the stop limit. It returns nil after a clean stop.
func (s *Server) Run(ctx context.Context, sockets ...Socket) error {
	given, err := activation.ListenersWithNames()
	if err != nil {
		return fmt.Errorf("take sockets from systemd: %w", err)
	}
	var work sync.WaitGroup
	failed := make(chan error, len(sockets))
	var servers []*http.Server
	for _, so := range sockets {
		l, err := listen(so, given)
		if err != nil {
			return errors.Join(err, s.stop(servers))
		}
		srv := &http.Server{Handler: so.Handler, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, srv)
		work.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", so.Path, err)
			}
		})
		s.cfg.Log.Info("serving", "socket", l.Addr().String())
	}
	notify(s, daemon.SdNotifyReady)
	stopDog := s.watchdog(ctx)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	notify(s, daemon.SdNotifyStopping)
	stopDog()
	err = errors.Join(err, s.stop(servers))
	work.Wait()
	return err
}

// stop ends the servers gracefully, all at once.
func (s *Server) stop(servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StopLimit) //nolint:forbidigo // the caller's context has ended
	defer cancel()
	errs := make([]error, len(servers))
	var work sync.WaitGroup
	for i, srv := range servers {
		work.Go(func() {
			if errs[i] = srv.Shutdown(ctx); errs[i] != nil {
				errs[i] = errors.Join(fmt.Errorf("calls were cut off at the stop: %w", errs[i]), srv.Close())
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

func notify(s *Server, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.cfg.Log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// watchdog pings systemd as long as the daemon is alive, where systemd asks
// for it. The function it returns ends that and waits.
func (s *Server) watchdog(ctx context.Context) (stop func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(every / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if s.Alive != nil {
				if err := s.Alive(ctx); err != nil {
					s.cfg.Log.Error("not alive, systemd is not pinged", "err", err)
					continue
				}
			}
			notify(s, daemon.SdNotifyWatchdog)
		}
	})
	return func() { cancel(); work.Wait() }
}

func listen(so Socket, given map[string][]net.Listener) (net.Listener, error) {
	if ls := given[so.Name]; so.Name != "" && len(ls) > 0 {
		return ls[0], nil
	}
	if err := os.MkdirAll(filepath.Dir(so.Path), 0o755); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := clearStale(so.Path); err != nil {
		return nil, err
	}
	old := syscall.Umask(0o117)
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", so.Path) //nolint:forbidigo // a unix socket does not block
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := toDocker(so.Path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// clearStale removes a socket that nobody serves and refuses one that is served.
func clearStale(path string) error {
	c, err := net.DialTimeout("unix", path, time.Second) //nolint:noctx // bounded by its own limit
	if err == nil {
		return errors.Join(fmt.Errorf("%s is served by another process: stop that first: %w", path, errdefs.ErrAlreadyExists), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

// toDocker gives the socket to group docker, where the host has it.
func toDocker(path string) error {
	g, err := user.LookupGroup("docker")
	if err != nil {
		return nil //nolint:nilerr // root alone then
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("group docker: %w", err)
	}
	if err := os.Chown(path, -1, gid); err != nil && os.Geteuid() == 0 {
		return fmt.Errorf("give the socket to group docker: %w", err)
	}
	return nil
}
