// Command mosbridge is Docker's network and IPAM driver on Open vSwitch: a
// daemon that serves a plugin socket and an admin socket. See package
// mosbridge for what it does and docs/OPERATIONS.md for how to run it.
package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/mosbridge"
)

const help = `mosbridge: Docker's network and IPAM driver on Open vSwitch

mosbridge [FLAG...]   serves, as /etc/mos/mosbridge.toml and flags say

-print-config tells what each flag is without it, and its place in that file. Flags:

`

func main() { os.Exit(daemon.Code("mosbridge", run(os.Args[1:], os.Environ()))) }

func run(args, env []string) error {
	cfg := mosbridge.Defaults()
	if err := daemon.Load(config.Source{Name: "mosbridge", Help: help, Args: args, Env: env}, &cfg); err != nil {
		return err
	}
	log, err := daemon.Log(cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	ctx, stop := daemon.UntilStopped(context.Background())
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
