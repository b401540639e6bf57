package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const usage = `usage: netcheck serve [-ready FILE] [-share] :PORT
       netcheck send [-timeout D] tcp|udp ADDR BYTES
       netcheck whoami [-timeout D] tcp|udp ADDR
       netcheck get [-timeout D] URL
       netcheck load [-rate N] [-timeout D] URL
       netcheck spoof [-n N] KIND IFACE key=value...`

// errUsage makes main print the usage.
var errUsage = errors.New("wrong arguments")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "netcheck:", err)
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "netcheck:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	timeout := flags.Duration("timeout", 10*time.Second, "")
	ready := flags.String("ready", "", "")
	share := flags.Bool("share", false, "")
	rate := flags.Int("rate", 100, "")
	count := flags.Int("n", 3, "")
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	rest := flags.Args()
	if args[0] == "serve" && len(rest) == 1 {
		return serve(ctx, rest[0], *ready, *share)
	}
	if args[0] == "spoof" && len(rest) >= 2 {
		return spoof(out, rest[0], rest[1], rest[2:], *count)
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	switch {
	case args[0] == "send" && len(rest) == 3:
		size, err := strconv.Atoi(rest[2])
		if err != nil || size < 0 {
			return fmt.Errorf("size %q: want a number of bytes: %w", rest[2], errUsage)
		}
		return send(ctx, out, rest[0], rest[1], size)
	case args[0] == "whoami" && len(rest) == 2:
		return whoami(ctx, out, rest[0], rest[1])
	case args[0] == "load" && len(rest) == 1:
		if *rate < 1 || *rate > 10000 {
			return fmt.Errorf("rate %d: want 1 to 10000 a second: %w", *rate, errUsage)
		}
		return load(ctx, out, rest[0], *rate)
	case args[0] == "get" && len(rest) == 1:
		return get(ctx, http.DefaultClient, out, rest[0])
	}
	return errUsage
}
