package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process names one process for all time: Linux gives an id again, but not with
// the same start time.
type process struct {
	PID int `json:"pid"`
	// Start is the time of its start in clock ticks after the boot, field 22
	// of /proc/PID/stat.
	Start uint64 `json:"start"`
	// Boot is the boot of the host that the two belong to.
	Boot string `json:"boot"`
}

var errGone = errors.New("the process is gone")

// newProcess names the running process pid.
func newProcess(pid int) (process, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}, err
	}
	start, err := startTime(pid)
	return process{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, err
}

// startTime returns the start time of a process that lives; [errGone] when
// there is none, or only what its parent has not collected yet.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, errGone)
	}
	// The program's name is in parentheses and may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	// Threads may end still whose first one is at its end, field 20 counts them: until
	// they have, files and the locks on them are held.
	if len(fields) < 20 || (fields[0] == "Z" || fields[0] == "X") && (fields[17] == "0" || fields[17] == "1") {
		return 0, fmt.Errorf("process %d: %w", pid, errGone)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func (p process) alive() bool {
	if p.PID == 0 {
		return false
	}
	now, err := newProcess(p.PID)
	return err == nil && now == p
}

// kill ends the process at once and waits until it is gone. It is no error when
// it was gone before.
func (p process) kill(ctx context.Context) error {
	if p.PID == 0 {
		return nil
	}
	// The handle is taken before the check, so that the id cannot be given
	// to another process between the check and the signal.
	handle, err := os.FindProcess(p.PID)
	if errors.Is(err, os.ErrProcessDone) || !p.alive() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find process %d: %w", p.PID, err)
	}
	if err := handle.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return poll(ctx, 20*time.Millisecond, func() (bool, error) { return !p.alive(), nil })
}

// start runs a command in the background, its output to a file. Unless detached
// the kernel kills it when this process ends, however that comes.
func start(ctx context.Context, argv []string, output *os.File, detached bool) (process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if detached {
		return startHere(cmd)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	type result struct {
		p   process
		err error
	}
	started := make(chan result)
	go func() {
		// Pdeathsig follows the thread, not the process: this thread must
		// live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p, err := startNoWait(cmd)
		started <- result{p, err}
		if err == nil {
			_ = cmd.Wait() // its end is seen by its id, its words are in the file
		}
	}()
	r := <-started
	return r.p, r.err
}

func startHere(cmd *exec.Cmd) (process, error) {
	p, err := startNoWait(cmd)
	if err == nil {
		go func() { _ = cmd.Wait() }() // only collects the child, should it end before us
	}
	return p, err
}

func startNoWait(cmd *exec.Cmd) (process, error) {
	if err := cmd.Start(); err != nil {
		return process{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return newProcess(cmd.Process.Pid)
}

// poll calls f every pause until it says true or fails, or ctx ends.
func poll(ctx context.Context, pause time.Duration, f func() (bool, error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
