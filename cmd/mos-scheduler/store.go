package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
)

// The history of the etcd in this process.
const (
	defaultHistory = 10 * time.Minute
	leastHistory   = time.Minute

	besideLimit = 3 * time.Second
)

// store is the state, on the etcd of this process or one elsewhere.
type store struct {
	*state.Store
	failed <-chan error // gives one when the etcd in this process stops by itself
	end    func() error
}

func embedded(cfg Config, log *logx.Logger) embed.Config {
	return embed.Config{Dir: filepath.Join(cfg.Data, "etcd"), Log: log.Logger, Quota: cfg.Quota, History: cfg.History.Duration}
}

// moved is where the etcd of this process is after its last backup, so that it does not run
// beside the one that took over.
func moved(cfg Config) string { return filepath.Join(cfg.Data, "etcd.moved") }

// open runs etcd, or reaches the one elsewhere, and opens the state.
func open(ctx context.Context, cfg Config, log *logx.Logger) (*store, error) {
	if len(cfg.Etcd) > 0 {
		return dial(ctx, state.Remote{Endpoints: cfg.Etcd, CAFile: cfg.EtcdCA, CertFile: cfg.EtcdCert, KeyFile: cfg.EtcdKey}, cfg.Name)
	}
	c := embedded(cfg, log)
	if _, err := os.Stat(moved(cfg)); err == nil {
		if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Conflict("the state was moved to an etcd elsewhere: name it in etcd; to go on here with what was there before, rename %s to %s", moved(cfg), c.Dir)
		}
	}
	server, err := embed.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &store{failed: server.Failed(), end: server.Close}
	if s.Store, err = state.Open(ctx, server.Client(), state.Options{Name: cfg.Name}); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// dial reaches an etcd in another process.
func dial(ctx context.Context, r state.Remote, name string) (*store, error) {
	etcd, err := state.Dial(r)
	if err != nil {
		return nil, err
	}
	s := &store{end: etcd.Close}
	if s.Store, err = state.Open(ctx, etcd, state.Options{Name: name}); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *store) close() error {
	s.Close()
	return s.end()
}
