package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/scheduler/server"
)

// serve runs the daemon until ctx ends.
func serve(ctx context.Context, cfg Config, log *logx.Logger) error {
	log.InfoContext(ctx, "starting", "version", version.String(), "data", cfg.Data, "etcd", cfg.Etcd)
	if cfg.Name == "" {
		var err error
		if cfg.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("name: %w", err)
		}
	}
	s, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	return errors.Join(serveStore(ctx, cfg, log, s), s.close())
}

func serveStore(ctx context.Context, cfg Config, log *logx.Logger, s *store) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		select {
		case err := <-s.failed:
			end(fmt.Errorf("etcd stopped: %w", err))
		case <-ctx.Done():
		}
	})
	api, err := server.New(ctx, server.Config{Store: s.Store, Log: log.Logger, Version: version.String()})
	if err != nil {
		return err
	}
	sockets := pluginsrv.New(pluginsrv.Config{Log: log.Logger})
	err = sockets.Run(ctx, pluginsrv.Socket{Name: "mos-scheduler", Path: cfg.Socket, Handler: api, ConnContext: server.PeerContext})
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	end(nil)
	return err
}
