// Command mos-authz guards a Docker Engine by a policy: a daemon that serves an
// authorization plugin, a guarded socket and an admin socket. See package authz
// for what it does and docs/authz.md for how to use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/mosdocker/mosdocker/authz"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
)

func main() {
	err := run(os.Args[1:], os.Environ())
	switch {
	case err == nil || errors.Is(err, config.ErrDone):
	case errors.Is(err, errConfig):
		fmt.Fprintln(os.Stderr, "mos-authz: error:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mos-authz: error:", err)
		os.Exit(1)
	}
}

// errConfig marks what the user must change before a start can succeed.
var errConfig = errors.New("configuration")

func run(args, env []string) error {
	cfg := authz.Defaults()
	if err := config.Load(config.Source{Name: "mos-authz", Args: args, Env: env}, &cfg); err != nil {
		if errors.Is(err, config.ErrDone) {
			return err
		}
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	log, err := logx.New(os.Stderr, logx.Config{Level: cfg.Log.Level, Format: cfg.Log.Format})
	if err != nil {
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log.Info("starting", "version", version.String(), "policy", cfg.Policy)
	d, err := authz.Open(cfg, log)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	running, end := context.WithCancel(ctx)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	work.Go(func() { d.Run(running, hup) })
	err = d.Serve(ctx)
	end()
	work.Wait()
	return errors.Join(err, d.Close())
}
