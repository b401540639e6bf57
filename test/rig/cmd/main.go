// Command cmd opens a rig for a person: a shell in its first host, until that
// ends. Run it as root:
//
//	go run ./test/rig/cmd up -hosts 2 -ovs -outside
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/mosdocker/mosdocker/test/rig"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) == 0 || args[0] != "up" {
		return errors.New("usage: rig up [-hosts N] [-engine 20.10|new|none] [-ovs] [-tso] [-outside] [-live-restore] [COMMAND...]")
	}
	flags := flag.NewFlagSet("rig up", flag.ContinueOnError)
	var cfg rig.Config
	flags.IntVar(&cfg.Hosts, "hosts", 1, "number of hosts")
	engine := flags.String("engine", string(rig.Engine20), "20.10, new or none")
	flags.BoolVar(&cfg.OVS, "ovs", false, "run Open vSwitch")
	flags.BoolVar(&cfg.TSO, "tso", false, "switch userspace TSO on")
	flags.BoolVar(&cfg.Outside, "outside", false, "add the world beyond the hosts")
	flags.BoolVar(&cfg.LiveRestore, "live-restore", false, "let containers outlive dockerd")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	cfg.Engine = rig.Engine(*engine)
	r, err := rig.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, h := range r.Hosts() {
		fmt.Fprintf(os.Stderr, "%s: nsenter -a -t %d    docker -H unix://%s\n", h.Name, h.Holder(), h.Socket())
	}
	fmt.Fprintf(os.Stderr, "logs below %s; the rig ends with this command\n", r.Dir())
	command := flags.Args()
	if len(command) == 0 {
		command = []string{"bash"}
	}
	return r.Host(1).Attach(command...)
}
