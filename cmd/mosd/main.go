// Command mosd is the daemon of a host. It runs the agent that measures containers,
// sets and the host (package agent), and serves what it measures. SIGHUP reads the
// configuration again; see docs/metrics-agent.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Environ())
	switch {
	case err == nil || errors.Is(err, config.ErrDone):
	case errors.Is(err, errConfig):
		fmt.Fprintln(os.Stderr, "mosd: error:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mosd: error:", err)
		os.Exit(1)
	}
}

// errConfig marks what the user must change before a start can succeed.
var errConfig = errors.New("configuration")

func run(ctx context.Context, args, env []string) error {
	if slices.ContainsFunc(args, func(a string) bool { return a == "-version" || a == "--version" }) {
		_, err := fmt.Fprintln(os.Stdout, "mosd", version.String())
		return err
	}
	load := func() (Config, error) {
		cfg := Defaults()
		err := config.Load(config.Source{Name: "mosd", Args: args, Env: env}, &cfg)
		if err != nil && !errors.Is(err, config.ErrDone) {
			err = fmt.Errorf("%w: %w", errConfig, err)
		}
		return cfg, err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	log, err := logx.New(os.Stderr, logx.Config{Level: cfg.Log.Level, Format: cfg.Log.Format})
	if err != nil {
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	log.InfoContext(ctx, "starting", "version", version.String())
	d, err := newDaemon(cfg, log)
	if err != nil {
		return err
	}
	return d.run(ctx, reload, load)
}
