package docker

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// endExec kills a command that was given up, with what it started: an Engine has no call for
// that. Where its processes are not seen from here it goes on.
func (e *Engine) endExec(ctx context.Context, exec string) {
	if !e.Local {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	in, err := e.c.ExecInspect(ctx, exec, client.ExecInspectOptions{})
	if err != nil || !in.Running || in.PID <= 1 {
		return
	}
	for _, pid := range append(below(in.PID), in.PID) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
	}
}

// below are the processes below one. A kernel that does not tell them has none.
func below(pid int) (all []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil
	}
	for f := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(f); err == nil {
			all = append(append(all, child), below(child)...)
		}
	}
	return all
}
