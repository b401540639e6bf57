package xexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waitDelay is how long a killed command's pipes may stay open. A grandchild
// that left the process group can hold them for ever.
const waitDelay = 2 * time.Second

// Host runs commands on this machine. The end of the context kills the
// command with all of its process group.
type Host struct {
	// Enter, when set, is called before each command starts, on an operating
	// system thread of its own that is thrown away afterwards. It may move the
	// thread to other namespaces: the command is born there.
	Enter func() error
}

// Run implements [Runner].
func (h Host) Run(ctx context.Context, c Cmd) ([]byte, error) {
	if len(c.Argv) == 0 {
		return nil, &Error{Code: -1, Err: errors.New("empty argument vector")}
	}
	var stdout, stderr output
	if c.Outlives {
		for _, o := range []*output{&stdout, &stderr} {
			if err := o.inFile(); err != nil {
				return nil, &Error{Argv: c.Argv, Code: -1, Err: err}
			}
			defer o.close()
		}
	}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	cmd.Stdout, cmd.Stderr = stdout.writer(), stderr.writer()
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitDelay
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		return stdout.read(), nil
	}
	e := &Error{Argv: c.Argv, Code: -1, Stderr: strings.TrimSpace(string(stderr.read())), Err: err}
	if cmd.ProcessState != nil {
		e.Code = cmd.ProcessState.ExitCode()
	}
	// A command that ends by itself just before the deadline keeps its own
	// exit code; only a killed one is the context's doing.
	if cause := context.Cause(ctx); cause != nil && e.Code < 0 && !errors.Is(err, cause) {
		e.Err = fmt.Errorf("%w (%w)", cause, err)
	}
	return stdout.read(), e
}

// output is what a command writes: by a pipe into memory, or into a file in memory.
type output struct {
	pipe bytes.Buffer
	file *os.File
}

func (o *output) inFile() error {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err == nil {
		o.file = os.NewFile(uintptr(fd), "output")
	}
	return err
}

func (o *output) close() { _ = o.file.Close() } // what is in it was read

func (o *output) writer() io.Writer {
	if o.file != nil {
		return o.file
	}
	return &o.pipe
}

func (o *output) read() []byte {
	if o.file == nil {
		return o.pipe.Bytes()
	}
	if info, err := o.file.Stat(); err == nil {
		b := make([]byte, info.Size())
		n, _ := o.file.ReadAt(b, 0) // it is memory
		return b[:n]
	}
	return nil
}

// Start starts cmd as [Host.Run] does, without waiting for its end. It is for
// commands that live on, such as daemons in tests.
func (h Host) Start(cmd *exec.Cmd) error {
	if h.Enter == nil {
		return cmd.Start()
	}
	return OnThread(func() error {
		if err := h.Enter(); err != nil {
			return err
		}
		return cmd.Start()
	})
}

// OnThread calls f on an operating system thread that ends afterwards, so that
// f may move it to other namespaces. Goroutines that f starts run elsewhere.
func OnThread(f func() error) error {
	done := make(chan error)
	go func() {
		// Without an unlock the thread ends with this goroutine.
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		// The process's first thread cannot end, and /proc/self shows its
		// namespaces as the process's. While it is held here, the next
		// goroutine is on another one.
		defer runtime.UnlockOSThread()
		done <- OnThread(f)
	}()
	return <-done
}
