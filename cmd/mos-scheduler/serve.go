package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/scheduler/ca"
	"github.com/mosdocker/mosdocker/scheduler/control"
	"github.com/mosdocker/mosdocker/scheduler/link"
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
	defer end(nil)
	work.Go(func() {
		select {
		case err := <-s.failed:
			end(fmt.Errorf("etcd stopped: %w", err))
		case <-ctx.Done():
		}
	})
	authority, err := ca.Open(ctx, s.Store, time.Now)
	if err != nil {
		return err
	}
	var tenants *policy.Policy
	if cfg.Tenants != "" {
		text, err := os.ReadFile(cfg.Tenants)
		if err == nil {
			tenants, err = policy.Parse(cfg.Tenants, text)
		}
		if err != nil {
			return fmt.Errorf("tenants: %w", err)
		}
	}
	controller := control.New(s.Store, control.Config{
		Name: cfg.Name, Log: log.Logger, Heartbeat: cfg.Heartbeat.Duration, Lease: cfg.Lease.Duration, EngineAway: cfg.EngineAway.Duration, Events: cfg.Events.Duration,
		Endpoints: endpoints(cfg), NoPreemption: !cfg.Preemption, Yield: cfg.PreemptAfter.Duration,
	})
	hosts := link.NewServer(link.Config{Cluster: authority.Cluster(), Controller: controller, Who: server.Who, Authority: authority, Log: log.Logger})
	api, err := server.New(ctx, server.Config{
		Store: s.Store, Log: log.Logger, Version: version.String(), Control: controller, Link: hosts, Sessions: hosts, Name: cfg.Name, As: authority.As, Authority: authority.PEM(), Pin: authority.Pin(), Tenants: tenants, Rate: cfg.Rate, Burst: cfg.Burst,
		Ready: func(ctx context.Context) error { _, _, err := s.Leader(ctx); return err },
	})
	if err != nil {
		return err
	}
	work.Go(func() {
		if err := controller.Run(ctx); err != nil {
			end(err)
		}
	})
	if cfg.Listen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		log.InfoContext(ctx, "serving", "address", l.Addr().String(), "authority", authority.Pin())
		work.Go(func() {
			if err := overTLS(ctx, l, authority.Server(names(cfg)), api, log); err != nil {
				end(err)
			}
		})
	}
	sockets := pluginsrv.New(pluginsrv.Config{Log: log.Logger})
	err = sockets.Run(ctx, pluginsrv.Socket{Name: "mos-scheduler", Path: cfg.Socket, Handler: api, ConnContext: server.PeerContext})
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// names are those by which others may reach this process.
func names(cfg Config) []string {
	all := append([]string{cfg.Name, "localhost", "127.0.0.1", "::1"}, cfg.Names...)
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			return append(all, host)
		}
	}
	addrs, _ := net.InterfaceAddrs() // without, only the names above
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			all = append(all, n.IP.String())
		}
	}
	return all
}

// endpoints are where all hosts are told that they reach this process.
func endpoints(cfg Config) []string {
	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil || port == "0" {
		return nil
	}
	var all []string
	for _, name := range cfg.Names {
		all = append(all, "https://"+net.JoinHostPort(name, port))
	}
	return all
}

// overTLS serves until ctx ends.
func overTLS(ctx context.Context, l net.Listener, c *tls.Config, h http.Handler, log *logx.Logger) error {
	const headerLimit = 10 * time.Second
	s := &http.Server{
		Handler: h, TLSConfig: c, ReadHeaderTimeout: headerLimit, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		const patience = 5 * time.Second
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if s.Shutdown(short) != nil {
			_ = s.Close() // what runs still is cut off
		}
	})
	defer stop()
	if err := s.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
