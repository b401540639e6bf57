package xexec

import (
	"context"
	"fmt"
	"strings"
)

// Cmd is one command to run.
type Cmd struct {
	// Argv is the program and its arguments. The program is looked up in
	// PATH unless it holds a slash.
	Argv []string
	// Stdin is all the command can read; nil is an empty input.
	Stdin []byte
	// Env holds "KEY=value" entries that are added to this process's
	// environment and win over it.
	Env []string
	// Outlives says that the command comes to its end also when this process
	// ends before: what it writes goes to files in memory, since a pipe that
	// nobody reads any more would kill it.
	Outlives bool
}

// String returns the arguments joined by single spaces, for messages.
func (c Cmd) String() string { return strings.Join(c.Argv, " ") }

// Runner runs commands.
type Runner interface {
	// Run runs c to its end and returns all it wrote to standard output,
	// also when it failed. A command that cannot be started, that exits
	// with a code other than 0, or that ctx ends, gives an [*Error]; when
	// ctx ended it, the error wraps the context's cause too.
	Run(ctx context.Context, c Cmd) (stdout []byte, err error)
}

// Error says that a command did not do its work.
type Error struct {
	Argv []string
	// Code is the exit code, or -1 when there is none: the command did not
	// start, or a signal ended it.
	Code int
	// Stderr is what the command wrote to standard error, without the
	// white space around it.
	Stderr string
	// Err is what lies behind it: an [*os/exec.ExitError], an
	// [os/exec.ErrNotFound], a context error.
	Err error
}

// Error returns one line with the arguments, the exit code or the reason why
// there is none, and the standard error.
func (e *Error) Error() string {
	msg := "run " + strings.Join(e.Argv, " ")
	switch {
	case e.Code >= 0:
		msg += fmt.Sprintf(": exit code %d", e.Code)
	case e.Err != nil:
		msg += ": " + e.Err.Error()
	}
	if s := strings.TrimSpace(e.Stderr); s != "" {
		msg += ": " + s
	}
	return msg
}

// Unwrap returns what lies behind the error.
func (e *Error) Unwrap() error { return e.Err }
