// Command mos-scheduler places services of sets on hosts and keeps them so. It serves the
// API of package scheduler/server, and runs etcd in its own process unless it is told of
// another. "mos-scheduler backup", "restore", "token" and "cert" work on its state; see
// docs/scheduler.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
)

const program = "mos-scheduler"

func main() {
	os.Exit(daemon.Code(program, run(context.Background(), os.Args[1:], os.Environ(), os.Stdout)))
}

func run(ctx context.Context, args, env []string, out io.Writer) error {
	ctx, stop := daemon.UntilStopped(ctx)
	defer stop()
	if len(args) > 0 {
		switch args[0] {
		case "-version", "--version":
			_, err := fmt.Fprintln(out, program, version.String())
			return err
		case "backup":
			return backup(ctx, args[1:], env, out)
		case "restore":
			return restore(ctx, args[1:], env, out)
		case "simulate":
			return simulation(ctx, args[1:], env, out)
		case "token":
			return token(ctx, args[1:], out)
		case "cert":
			return certificate(ctx, args[1:], env, out)
		}
	}
	cfg, log, err := load(args, env)
	if err != nil {
		return err
	}
	return serve(ctx, cfg, log)
}

func load(args, env []string) (Config, *logx.Logger, error) {
	cfg := Defaults()
	if err := daemon.Load(program, args, env, &cfg); err != nil {
		return cfg, nil, err
	}
	log, err := daemon.Log(cfg.Log.Level, cfg.Log.Format)
	return cfg, log, err
}
