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

// waitDelay is how long a killed command's pipes may stay open. A grandchild
// that left the process group can hold them for ever.
const waitDelay = 2 * time.Second

// Host runs commands on this machine. The end of the context kills the
// command with all of its process group.
type Host struct{}

// Run implements [Runner].
func (Host) Run(ctx context.Context, c Cmd) ([]byte, error) {
	if len(c.Argv) == 0 {
		return nil, &Error{Code: -1, Err: errors.New("empty argument vector")}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitDelay
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	e := &Error{Argv: c.Argv, Code: -1, Stderr: strings.TrimSpace(stderr.String()), Err: err}
	if cmd.ProcessState != nil {
		e.Code = cmd.ProcessState.ExitCode()
	}
	// A command that ends by itself just before the deadline keeps its own
	// exit code; only a killed one is the context's doing.
	if cause := context.Cause(ctx); cause != nil && e.Code < 0 && !errors.Is(err, cause) {
		e.Err = fmt.Errorf("%w (%w)", cause, err)
	}
	return stdout.Bytes(), e
}
