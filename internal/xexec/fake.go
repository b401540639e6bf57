package xexec

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrFake is behind the error of the command that [Fake.FailAt] names.
var ErrFake = errors.New("fault put in by the test")

// Fake stands in for the host in tests: it records each command and lets a
// function answer. The zero value answers everything with an empty output.
type Fake struct {
	// Answer gives the output and the error of c; nil answers nothing and
	// no error. It may be called from several goroutines at a time. An error
	// that is no [*Error] is wrapped in one, with code 1.
	Answer func(c Cmd) (stdout []byte, err error)
	// FailAt is the number of the command, counted from 1, that fails with
	// exit code 1 and [ErrFake] before Answer is asked; 0 lets all pass.
	FailAt int

	mu   sync.Mutex // guards all below
	runs []Cmd
}

// Run implements [Runner]. A command under an ended context is not recorded.
func (f *Fake) Run(ctx context.Context, c Cmd) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, &Error{Argv: c.Argv, Code: -1, Err: err}
	}
	f.mu.Lock()
	f.runs = append(f.runs, Cmd{Argv: slices.Clone(c.Argv), Stdin: slices.Clone(c.Stdin), Env: slices.Clone(c.Env), Outlives: c.Outlives})
	n := len(f.runs)
	f.mu.Unlock()
	if n == f.FailAt {
		return nil, &Error{Argv: c.Argv, Code: 1, Stderr: ErrFake.Error(), Err: ErrFake}
	}
	if f.Answer == nil {
		return nil, nil
	}
	out, err := f.Answer(c)
	var e *Error
	if err != nil && !errors.As(err, &e) {
		err = &Error{Argv: c.Argv, Code: 1, Stderr: err.Error(), Err: err}
	}
	return out, err
}

// Runs returns the commands so far, in the order in which they came.
func (f *Fake) Runs() []Cmd {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.runs)
}

// Lines returns the commands so far as their [Cmd.String], for comparing.
func (f *Fake) Lines() []string {
	var lines []string
	for _, c := range f.Runs() {
		lines = append(lines, c.String())
	}
	return lines
}

// Reset forgets the commands so far.
func (f *Fake) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs = nil
}
