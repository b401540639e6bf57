// Command mos-authz guards a Docker Engine by a policy: a daemon that serves an
// authorization plugin, a guarded socket and an admin socket. See package authz
// for what it does and docs/authz.md for how to use it.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/mosdocker/mosdocker/authz"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/version"
)

const help = `mos-authz: authorization plugin and guarded socket of a Docker Engine

mos-authz [FLAG...]   serves, as /etc/mos/mos-authz.toml and flags say

-print-config tells what each flag is without it, and its place in that file. Flags:

`

func main() { os.Exit(daemon.Code("mos-authz", run(os.Args[1:], os.Environ()))) }

func run(args, env []string) error {
	cfg := authz.Defaults()
	if err := daemon.Load(config.Source{Name: "mos-authz", Help: help, Args: args, Env: env}, &cfg); err != nil {
		return err
	}
	log, err := daemon.Log(cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	ctx, stop := daemon.UntilStopped(context.Background())
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
