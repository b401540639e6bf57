// Package xexec runs the commands of the host: with a context, both pipes
// drained, a fixed locale, and the child's own words in the error.
package xexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Cmd is one command: its arguments (Argv[0] is the program), what it reads,
// and variables added to the environment.
type Cmd struct {
	Argv  []string
	Stdin []byte
	Env   []string
}

// Runner runs a command to its end and returns what it wrote to standard
// output. The error of a command that ran and failed is an [*Error].
type Runner interface {
	Run(ctx context.Context, c Cmd) ([]byte, error)
}

// Error is a command that could not be run, failed, or was cut off.
type Error struct {
	Argv   []string
	Code   int // exit code, -1 when it did not exit by itself
	Stderr string
	Err    error
}

// Error is the command line, the exit code and the child's last words.
func (e *Error) Error() string {
	msg := strings.TrimSpace(e.Stderr)
	if msg == "" {
		return fmt.Sprintf("%s: %v", strings.Join(e.Argv, " "), e.Err)
	}
	return fmt.Sprintf("%s: exit %d: %s", strings.Join(e.Argv, " "), e.Code, msg)
}

// Unwrap gives the cause: the context's error when that ended the command.
func (e *Error) Unwrap() error { return e.Err }

// Host runs commands on this host. A command whose context ends is killed
// together with the processes it started.
type Host struct{}

// grace is how long a killed command's pipes may stay open.
const grace = 2 * time.Second

// Run implements [Runner].
func (Host) Run(ctx context.Context, c Cmd) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = grace
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	code := -1
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.Bytes(), &Error{Argv: c.Argv, Code: code, Stderr: errs.String(), Err: err}
}
