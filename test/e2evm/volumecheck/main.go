// Command volumecheck is what tests of volumes run inside the VM: it writes
// blocks whose contents tell what they are and says which of them an fsync made
// durable, checks them, looks for them on raw devices, drives mos-lvm through its
// sockets with many random calls at once, and judges what a cut left of them.
//
//	volumecheck write [-volume V] -file F -seed N [-count N] [-sync N] [-pause D] [-resume] [-hold N -until PATH]
//	volumecheck check [-volume V] -file F -seed N -count N
//	volumecheck stat -volume V
//	volumecheck scan -file DEVICE [-seed N]
//	volumecheck churn -seed N [-workers N] [-for D] [-kill NAME,...] [-prefix P]
//	volumecheck judge -journal FILE [-prefix P]
//	volumecheck call METHOD JSON
//	volumecheck times [-volume V] [-count N]
//
// With -volume the volume is mounted as for a container, which is faster than to
// start one, and F is in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags of all commands.
type options struct {
	file, journal, kill, prefix, volume, until string
	seed, count, sync, hold                    uint64
	workers                                    int
	pause, during                              time.Duration
	resume                                     bool
}

func main() {
	commands := map[string]func(context.Context, options, []string) error{
		"write": within(write), "check": within(check), "scan": scan, "stat": within(stat), "churn": churn, "judge": judge, "call": callOne, "times": times,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "volumecheck: want write, check, stat, scan, churn, judge, call or times")
		os.Exit(2)
	}
	var o options
	fs := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	fs.StringVar(&o.file, "file", "", "file or device")
	fs.StringVar(&o.journal, "journal", "", "what churn printed")
	fs.StringVar(&o.kill, "kill", "", "programs to kill at random")
	fs.StringVar(&o.prefix, "prefix", "ch", "beginning of the volumes' names")
	fs.StringVar(&o.volume, "volume", "", "volume to use")
	fs.Uint64Var(&o.seed, "seed", 1, "what the blocks' contents are made of")
	fs.Uint64Var(&o.count, "count", 0, "blocks, or calls; 0 is until something ends it")
	fs.Uint64Var(&o.sync, "sync", 16, "blocks between two fsyncs")
	fs.Uint64Var(&o.hold, "hold", 0, "blocks after which the last is written again and again until -until is there")
	fs.StringVar(&o.until, "until", "", "file that lets -hold go on")
	fs.IntVar(&o.workers, "workers", 3, "calls at once")
	fs.DurationVar(&o.pause, "pause", 0, "between two blocks, or two kills")
	fs.DurationVar(&o.during, "for", time.Hour, "how long to go on")
	fs.BoolVar(&o.resume, "resume", false, "go on behind the blocks that are there")
	if err := fs.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := commands[os.Args[1]](ctx, o, fs.Args())
	stop()
	if err != nil {
		fmt.Println("error:", err)
		if errors.Is(err, syscall.ENOSPC) {
			os.Exit(3)
		}
		os.Exit(1)
	}
}
