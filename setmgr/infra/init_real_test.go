package infra

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// running is an init that runs as process 1 of a PID namespace of its own.
type running struct {
	*testing.T
	cmd *exec.Cmd
}

// run starts the init of an architecture, natively or by QEMU.
func run(t *testing.T, arch string) *running {
	t.Helper()
	testx.Need(t, testx.Root)
	file := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(file, initOf(t, arch), 0o755); err != nil {
		t.Fatal(err)
	}
	argv := []string{file}
	if arch != runtime.GOARCH {
		qemu := emulator(t, arch)
		argv = []string{qemu, file}
	}
	r := &running{T: t, cmd: exec.Command(argv[0], argv[1:]...)}
	r.cmd.Env = []string{}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	r.settled()
	return r
}

func emulator(t *testing.T, arch string) string {
	t.Helper()
	name := "qemu-" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch] + "-static"
	qemu, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("the init of %s needs an emulator here: apt-get install qemu-user-static: %v", arch, err)
	}
	return qemu
}

func (r *running) pid() int { return r.cmd.Process.Pid }

func (r *running) proc(name string) string {
	r.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(r.pid()), name))
	if err != nil {
		r.Fatal(err)
	}
	return string(data)
}

// settled waits until it waits: all signals are blocked, and it sleeps.
func (r *running) settled() {
	r.Helper()
	testx.Eventually(r.T, 10*time.Second, func() error {
		if call := strings.Fields(r.proc("syscall"))[0]; call != "128" && call != "137" { // rt_sigtimedwait
			return errors.New("in system call " + call)
		}
		return nil
	})
}

func (r *running) signal(s syscall.Signal) {
	r.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.Fatal(err)
	}
}

// ends waits for its end and compares the exit code.
func (r *running) ends(want int) {
	r.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.cmd.Wait()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		r.Fatal("it does not end")
	}
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Exited() || ws.ExitStatus() != want {
		r.Errorf("got %v, want exit code %d", r.cmd.ProcessState, want)
	}
}

// children are its children, with their states.
func (r *running) children() map[int]string {
	r.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		r.Fatal(err)
	}
	out := map[int]string{}
	for _, s := range stats {
		data, err := os.ReadFile(s)
		if err != nil {
			continue // it ended meanwhile
		}
		text := string(data)
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if f[1] == strconv.Itoa(r.pid()) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
			out[pid] = f[0]
		}
	}
	return out
}

// inside runs a line of sh in its PID namespace.
func (r *running) inside(line string) {
	r.Helper()
	// Without output: a pipe would be open as long as an orphan has it.
	if err := exec.Command("nsenter", "-t", strconv.Itoa(r.pid()), "-p", "sh", "-c", line).Run(); err != nil {
		r.Fatalf("%s: %v", line, err)
	}
}

var architectures = []string{"amd64", "arm64"}

func TestInitEndsWellWhenTold(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
				r := run(t, arch)
				r.signal(s)
				r.ends(0)
			}
		})
	}
}

func TestInitOutlivesOtherSignals(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			r := run(t, arch)
			except := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGSTOP}
			if arch != runtime.GOARCH {
				// QEMU uses some itself, and its version 7.2 does not survive faults that it is sent at once.
				except = append(except, 32, 33, 34, 63, 64, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT,
					syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSYS)
			}
			for s := syscall.Signal(1); s <= 64; s++ {
				if !slices.Contains(except, s) {
					r.signal(s)
				}
			}
			r.settled()
			r.signal(syscall.SIGSTOP) // interrupts its waiting
			testx.Eventually(t, 10*time.Second, func() error {
				if !strings.Contains(r.proc("status"), "T (stopped)") {
					return errors.New("not stopped")
				}
				return nil
			})
			r.signal(syscall.SIGCONT)
			r.settled()
			r.signal(syscall.SIGTERM)
			r.ends(0)
		})
	}
}

func TestInitReapsOrphans(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			r := run(t, arch)
			r.inside("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (sleep 0.2 &) ; done; (sleep 1000 &)")
			if n := len(r.children()); n == 0 {
				t.Fatal("it got no orphans")
			}
			var last int
			testx.Eventually(t, 20*time.Second, func() error {
				left := r.children()
				for last = range left {
				}
				if len(left) != 1 {
					return fmt.Errorf("children left: %v", left)
				}
				return nil
			})
			r.settled()
			if err := syscall.Kill(last, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 10*time.Second, func() error {
				if left := r.children(); len(left) > 0 {
					return fmt.Errorf("children left: %v", left)
				}
				return nil
			})
			r.signal(syscall.SIGTERM)
			r.ends(0)
		})
	}
}

func TestInitNeedsLittleMemory(t *testing.T) {
	r := run(t, runtime.GOARCH)
	if kib := pss(t, r.proc("smaps_rollup")); kib > 64 {
		t.Errorf("PSS is %d KiB", kib)
	} else {
		t.Logf("PSS is %d KiB", kib)
	}
}

// pss reads the proportional set size from smaps_rollup.
func pss(t *testing.T, rollup string) int {
	t.Helper()
	for line := range strings.Lines(rollup) {
		if f := strings.Fields(line); f[0] == "Pss:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	t.Fatalf("no Pss in %s", rollup)
	return 0
}
