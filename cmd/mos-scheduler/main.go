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
	"strings"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
)

const (
	program = "mos-scheduler"

	help = `mos-scheduler: places sets of containers on hosts, and keeps them so

mos-scheduler [FLAG...]   serves, as /etc/mos/mos-scheduler.toml and flags say
mos-scheduler token       makes, lists and takes away tokens of users and joining hosts
mos-scheduler cert        makes and revokes certificates
mos-scheduler backup      writes all state into a file
mos-scheduler restore     makes a state of such a file
mos-scheduler simulate    runs the controllers against hosts that run nothing
mos-scheduler -version

Each tells more with -h. Services are made by docker set service. -print-config tells what each
flag is without it, and its place in that file. Flags:

`
)

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
		default:
			if !strings.HasPrefix(args[0], "-") {
				return fmt.Errorf("%w: %q is no command: take token, cert, backup, restore or simulate, or flags to serve; -h tells more", daemon.ErrConfig, args[0])
			}
		}
	}
	cfg, log, err := load(args, env, out)
	if err != nil {
		return err
	}
	return serve(ctx, cfg, log)
}

func load(args, env []string, out io.Writer) (Config, *logx.Logger, error) {
	cfg := Defaults()
	if err := daemon.Load(config.Source{Name: program, Help: help, Args: args, Env: env, Out: out}, &cfg); err != nil {
		return cfg, nil, err
	}
	log, err := daemon.Log(cfg.Log.Level, cfg.Log.Format)
	return cfg, log, err
}
