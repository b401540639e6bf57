// Command mosd is the daemon of a host. It runs the agent that measures containers,
// sets and the host (package agent), and serves what it measures. SIGHUP reads the
// configuration again; see docs/metrics-agent.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/version"
)

const help = `mosd: keeps sets of containers on a host as they are to be, and measures them

mosd [FLAG...]   serves, as /etc/mos/mosd.toml and flags say
mosd -version

-print-config tells what each flag is without it, and its place in that file. Flags:

`

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cpus)
	}
	os.Exit(daemon.Code("mosd", run(context.Background(), os.Args[1:], os.Environ())))
}

// garbage is how many percent of what is in use may lie about until it is collected. A round
// of samples leaves none, so less memory costs hardly any time here.
const garbage = 50

// cpus is how many run its code at once. What mosd does waits for others, mostly: with more,
// each goroutine that wakes has a further thread look for work, which was a sixth of what a
// host of idle containers costs.
const cpus = 1

func run(ctx context.Context, args, env []string) error {
	if slices.ContainsFunc(args, func(a string) bool { return a == "-version" || a == "--version" }) {
		_, err := fmt.Fprintln(os.Stdout, "mosd", version.String())
		return err
	}
	load := func() (Config, error) {
		cfg := Defaults()
		err := daemon.Load(config.Source{Name: "mosd", Help: help, Args: args, Env: env}, &cfg)
		return cfg, err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	log, err := daemon.Log(cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	ctx, stop := daemon.UntilStopped(ctx)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	log.InfoContext(ctx, "starting", "version", version.String())
	if err := loosen(); err != nil {
		log.DebugContext(ctx, "the agent takes some more CPU time", "err", err)
	}
	d, err := newDaemon(cfg, log)
	if err != nil {
		return err
	}
	return d.run(ctx, reload, load)
}
