// Command mos-lvm is Docker's volume driver on LVM and loop images: a daemon
// that serves a plugin socket and an admin socket. "mos-lvm init" gives it a
// volume group. See package lvmvolume for what it does and docs/OPERATIONS.md
// for how to run it.
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
	"github.com/mosdocker/mosdocker/lvmvolume"
)

func main() {
	run := serve
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "init" {
		run, args = initialize, args[1:]
	}
	err := run(args, os.Environ())
	switch {
	case err == nil || errors.Is(err, config.ErrDone):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "mos-lvm: error:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mos-lvm: error:", err)
		os.Exit(1)
	}
}

// errUsage marks what the user must change before a start can succeed.
var errUsage = errors.New("configuration")

func load(args, env []string) (lvmvolume.Config, *logx.Logger, error) {
	cfg := lvmvolume.Defaults()
	if err := config.Load(config.Source{Name: "mos-lvm", Args: args, Env: env}, &cfg); err != nil {
		if errors.Is(err, config.ErrDone) {
			return cfg, nil, err
		}
		return cfg, nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	log, err := logx.New(os.Stderr, logx.Config{Level: cfg.Log.Level, Format: cfg.Log.Format})
	if err != nil {
		return cfg, nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return cfg, log, nil
}

// untilStopped ends with the first signal that asks for it.
func untilStopped() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

func serve(args, env []string) error {
	cfg, log, err := load(args, env)
	if err != nil {
		return err
	}
	ctx, stop := untilStopped()
	defer stop()
	log.Info("starting", "version", version.String(), "state", cfg.StateDir)
	d, err := lvmvolume.Open(cfg, log)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	running, end := context.WithCancel(ctx)
	work.Go(func() { d.Run(running) })
	err = d.Serve(ctx)
	end()
	work.Wait()
	return err
}
