// Command mos-lvm is Docker's volume driver on LVM and loop images: a daemon
// that serves a plugin socket and an admin socket. "mos-lvm init" gives it a
// volume group. See package lvmvolume for what it does and docs/OPERATIONS.md
// for how to run it.
package main

import (
	"context"
	"os"
	"sync"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/lvmvolume"
)

const help = `mos-lvm: Docker's volume driver on LVM and loop images

mos-lvm [FLAG...]   serves, as /etc/mos/mos-lvm.toml and flags say
mos-lvm init        gives this host a volume group for volumes; -h tells more

-print-config tells what each flag is without it, and its place in that file. Flags:

`

func main() {
	run := serve
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "init" {
		run, args = initialize, args[1:]
	}
	os.Exit(daemon.Code("mos-lvm", run(args, os.Environ())))
}

func load(args, env []string) (lvmvolume.Config, *logx.Logger, error) {
	cfg := lvmvolume.Defaults()
	if err := daemon.Load(config.Source{Name: "mos-lvm", Help: help, Args: args, Env: env}, &cfg); err != nil {
		return cfg, nil, err
	}
	log, err := daemon.Log(cfg.Log.Level, cfg.Log.Format)
	return cfg, log, err
}

// untilStopped is the context of the whole command.
func untilStopped() (context.Context, context.CancelFunc) {
	return daemon.UntilStopped(context.Background())
}

func serve(args, env []string) error {
	cfg, log, err := load(args, env)
	if err != nil {
		return err
	}
	ctx, stop := untilStopped()
	defer stop()
	log.Info("starting", "version", version.String(), "state", cfg.StateDir)
	mine, err := lvmvolume.Claim(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = mine.Close() }() // the end of the process does it, too
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
