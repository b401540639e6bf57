package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/test/vm/machine"
)

const usage = `usage: go run ./test/vm/cmd COMMAND

  up                  boot the warm VM, unless it runs
  down                end it and remove its disks
  status              tell whether it runs
  run COMMAND...      run a shell line in it
  ssh                 open a shell in it
  copy LOCAL REMOTE   copy a file or folder into it
  powercut            cut its power and boot it again
  reboot              let it shut down and boot it again
  console             print what its console said
  image               build its image, print the image's folder
  exec BINARY ARG...  run a test binary in it, as "go test -exec" asks for
`

var errUsage = errors.New("no such command")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(),
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	os.Exit(exitCode(err, os.Stderr))
}

// exitCode reports err and returns the code to end with: that of the command in
// the VM, 2 for bad usage, 1 for what else went wrong.
func exitCode(err error, stderr io.Writer) int {
	var remote *machine.ExitError
	var local *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		_, _ = io.WriteString(stderr, usage)
		return 2
	case errors.As(err, &remote) && remote.Code > 0 && remote.Code < 255:
		return remote.Code // it has told why itself
	case errors.As(err, &local) && local.ExitCode() > 0:
		return local.ExitCode()
	}
	_, _ = fmt.Fprintln(stderr, "vm:", err)
	return 1
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "down":
		return machine.WarmDown(ctx)
	case "status":
		return status(ctx)
	case "image":
		image, err := machine.BuildImage(ctx)
		return printLine(err, image.Dir)
	case "exec":
		return execute(ctx, args)
	}
	return inVM(ctx, name, args)
}

// inVM runs the commands that need the VM to be up.
func inVM(ctx context.Context, name string, args []string) error {
	commands := map[string]func(context.Context, *machine.Machine, []string) error{
		"up": func(_ context.Context, m *machine.Machine, _ []string) error { return printStatus(m) },
		"run": func(ctx context.Context, m *machine.Machine, args []string) error {
			return m.Stream(ctx, strings.Join(args, " "), stdio())
		},
		"ssh": shell,
		"copy": func(ctx context.Context, m *machine.Machine, args []string) error {
			if len(args) != 2 {
				return errUsage
			}
			return m.Copy(ctx, args[0], args[1])
		},
		"powercut": func(ctx context.Context, m *machine.Machine, _ []string) error { return m.PowerCut(ctx) },
		"reboot":   func(ctx context.Context, m *machine.Machine, _ []string) error { return m.Reboot(ctx) },
		"console": func(_ context.Context, m *machine.Machine, _ []string) error {
			return printLine(nil, m.Console())
		},
	}
	command, ok := commands[name]
	if !ok {
		return errUsage
	}
	m, err := machine.Warm(ctx)
	if err != nil {
		return err
	}
	return command(ctx, m, args)
}

// execute is what "go test -exec" calls. It has the VM for itself.
func execute(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	release, err := machine.ReserveWarm(ctx)
	if err != nil {
		return err
	}
	defer release()
	m, err := machine.Warm(ctx)
	if err != nil {
		return err
	}
	return m.RunTest(ctx, machine.TestBinary{Path: args[0], Dir: ".", Args: args[1:], Env: os.Environ(), Stdio: stdio()})
}

func stdio() machine.Stdio {
	return machine.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

func shell(ctx context.Context, m *machine.Machine, _ []string) error {
	argv := append(m.SSH(), "-t")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func status(ctx context.Context) error {
	dir, err := machine.WarmDir(ctx)
	if err != nil {
		return err
	}
	m, err := machine.Open(dir)
	if errdefs.IsNotFound(err) || err == nil && !m.Running() {
		return printLine(nil, "the warm VM is not up")
	}
	if err != nil {
		return err
	}
	return printStatus(m)
}

func printStatus(m *machine.Machine) error {
	since := "?"
	if info, err := os.Stat(m.Dir() + "/qemu.log"); err == nil {
		since = time.Since(info.ModTime()).Round(time.Second).String()
	}
	return printLine(nil, fmt.Sprintf("the warm VM is up for %s: process %d, ssh port %d, folder %s", since, m.PID(), m.Port(), m.Dir()))
}

func printLine(err error, line string) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, line)
	return err
}
