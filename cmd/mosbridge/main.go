// Command mosbridge is Docker's network and IPAM driver on Open vSwitch: a
// daemon that serves a plugin socket and an admin socket. See package
// mosbridge for what it does and docs/OPERATIONS.md for how to run it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/mosbridge"
)

func main() {
	err := run(os.Args[1:], os.Environ())
	switch {
	case err == nil || errors.Is(err, config.ErrDone):
	case errors.Is(err, errConfig):
		fmt.Fprintln(os.Stderr, "mosbridge: error:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mosbridge: error:", err)
		os.Exit(1)
	}
}

// errConfig marks what the user must change before a start can succeed.
var errConfig = errors.New("configuration")

func run(args, env []string) error {
	cfg := mosbridge.Defaults()
	if err := config.Load(config.Source{Name: "mosbridge", Args: args, Env: env}, &cfg); err != nil {
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
	log.Info("starting", "version", version.String(), "state", cfg.StateDir)
	d, err := mosbridge.Open(cfg, log)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	reconciling, end := context.WithCancel(ctx)
	work.Go(func() { d.Run(reconciling) })
	err = d.Serve(ctx)
	end()
	work.Wait()
	return errors.Join(err, d.Close())
}
