package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// classError carries a class of errdefs without adding its words to the
// sentence.
type classError struct {
	class error
	err   error
}

func (e *classError) Error() string   { return e.err.Error() }
func (e *classError) Unwrap() []error { return []error{e.err, e.class} }

func classed(class error, format string, args ...any) error {
	return &classError{class: class, err: fmt.Errorf(format, args...)}
}

// packageOf returns the Debian package that holds a program.
func packageOf(program string) string {
	switch program {
	case "mkfs.xfs":
		return "xfsprogs"
	case "wipefs":
		return "util-linux"
	}
	return "e2fsprogs"
}

// run runs a program and says, when it is missing, where to get it.
func (f FS) run(ctx context.Context, argv ...string) ([]byte, error) {
	out, err := f.Runner.Run(ctx, xexec.Cmd{Argv: argv})
	if errors.Is(err, exec.ErrNotFound) {
		return nil, classed(errdefs.ErrFailedPrecondition, "%s is not installed: apt-get install %s", argv[0], packageOf(argv[0]))
	}
	return out, err
}

// exitCode returns the code with which a program ended, -1 when it did not by
// itself.
func exitCode(err error) int {
	if e, ok := errors.AsType[*xexec.Error](err); ok {
		return e.Code
	}
	return -1
}
