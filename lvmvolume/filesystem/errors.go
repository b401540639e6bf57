package filesystem

import (
	"context"
	"errors"
	"os/exec"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

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
	return f.runCmd(ctx, xexec.Cmd{Argv: argv})
}

// runThrough is run for what leaves a file system half changed when it is cut off:
// it ends by itself, whatever becomes of us.
func (f FS) runThrough(ctx context.Context, argv ...string) ([]byte, error) {
	return f.runCmd(context.WithoutCancel(ctx), xexec.Cmd{Argv: argv, Outlives: true})
}

func (f FS) runCmd(ctx context.Context, c xexec.Cmd) ([]byte, error) {
	argv := c.Argv
	out, err := f.Runner.Run(ctx, c)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fault.Conflict("%s is not installed: apt-get install %s", argv[0], packageOf(argv[0]))
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
