package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
)

const simulateHelp = `mos-scheduler simulate runs the real controllers on a real store of its own against hosts
that run nothing, and says what it measured. It takes minutes; no scheduler is touched.

`

func simulation(ctx context.Context, args, _ []string, out io.Writer) error {
	fs := flag.NewFlagSet("mos-scheduler simulate", flag.ContinueOnError)
	var c simulate.Config
	fs.IntVar(&c.Hosts, "hosts", 1000, "how many `hosts`")
	fs.IntVar(&c.Sets, "sets", 10_000, "how many `sets`, of services with sizes as in public traces")
	fs.IntVar(&c.Lose, "lose", 4, "how many `hosts` are killed at the end")
	fs.BoolVar(&c.NoBrake, "no-brake", false, "sets of lost hosts are replaced however many are lost at a time")
	fs.Float64Var(&c.Fill, "fill", 0.7, "`part` of all cores that the sets want")
	fs.Uint64Var(&c.Seed, "seed", 1, "where chance begins")
	fs.StringVar(&c.Dir, "data", "", "empty `folder` for the store, instead of one that is removed at the end")
	rest, err := parse(fs, simulateHelp, args, out)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: mos-scheduler simulate takes flags only, not %q", daemon.ErrConfig, rest[0])
	}
	log, err := daemon.Log("error", "text")
	if err != nil {
		return err
	}
	c.Log = log.Logger
	return simulate.Run(ctx, c, out)
}
