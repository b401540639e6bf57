package xexec_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

func sh(script string) xexec.Cmd { return xexec.Cmd{Argv: []string{"sh", "-c", script}} }

func TestHostDrainsBothPipes(t *testing.T) {
	const size = 300_000 // more than a pipe holds
	out, err := xexec.Host{}.Run(t.Context(), sh("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3"))
	if len(out) != size {
		t.Errorf("got %d bytes of output, want %d", len(out), size)
	}
	var e *xexec.Error
	if !errors.As(err, &e) || e.Code != 3 || len(e.Stderr) != size {
		t.Errorf("want exit code 3 with %d bytes of standard error", size)
	}
}

func TestHostPassesInputAndEnvironment(t *testing.T) {
	c := sh(`cat; echo "$LC_ALL $A"`)
	c.Stdin, c.Env = []byte("in "), []string{"A=b"}
	out, err := xexec.Host{}.Run(t.Context(), c)
	if err != nil || string(out) != "in C b\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestCommandOutlivesItsReader: what it writes after its parent ended does not kill it.
func TestCommandOutlivesItsReader(t *testing.T) {
	c := sh("echo in; echo out >&2; exit 3")
	c.Outlives = true
	out, err := xexec.Host{}.Run(t.Context(), c)
	var e *xexec.Error
	if string(out) != "in\n" || !errors.As(err, &e) || e.Stderr != "out" || e.Code != 3 {
		t.Errorf("got %q, %v", out, err)
	}
	c = sh("readlink /proc/self/fd/1 /proc/self/fd/2")
	c.Outlives = true
	out, err = xexec.Host{}.Run(t.Context(), c)
	if err != nil || strings.Contains(string(out), "pipe") {
		t.Errorf("it writes to %s, %v", out, err)
	}
}

func TestHostErrorTellsArgumentsCodeAndReason(t *testing.T) {
	_, err := xexec.Host{}.Run(t.Context(), sh("echo ' no such bridge ' >&2; exit 2"))
	want := "run sh -c echo ' no such bridge ' >&2; exit 2: exit code 2: no such bridge"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = xexec.Host{}.Run(t.Context(), xexec.Cmd{Argv: []string{"no-such-program"}})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v, want %v", err, exec.ErrNotFound)
	}
	if _, err := (xexec.Host{}).Run(t.Context(), xexec.Cmd{}); err == nil {
		t.Error("an empty command passes")
	}
}

func TestHostKillsTheWholeGroupAtTheDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	// The child keeps the pipes open: killing sh alone would wait for it.
	out, err := xexec.Host{}.Run(ctx, sh("sleep 100 & echo $!; wait"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(out)))
	if pid == 0 {
		t.Fatalf("no pid of the child in %q", out)
	}
	gone := func() bool {
		stat, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		return err != nil || strings.HasPrefix(string(stat), "Z") || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	for range 50 {
		if gone() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d outlives its group's end", pid)
}

func TestHostEntersOnAThreadOfItsOwn(t *testing.T) {
	testx.Need(t, testx.NetNS)
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	h := xexec.Host{Enter: func() error { return syscall.Unshare(syscall.CLONE_NEWNET) }}
	for range 50 {
		if _, err := h.Run(t.Context(), sh("true")); err != nil {
			t.Fatal(err)
		}
		if ns, err := os.Readlink("/proc/self/ns/net"); err != nil || ns != here {
			t.Fatalf("got %s, %v: the first thread moved from %s", ns, err, here)
		}
	}
	for range 3 {
		out, err := h.Run(t.Context(), sh("readlink /proc/self/ns/net"))
		if err != nil || len(out) == 0 || strings.TrimSpace(string(out)) == here {
			t.Errorf("got %q, %v: want another network namespace than %s", out, err, here)
		}
		out, err = xexec.Host{}.Run(t.Context(), sh("readlink /proc/self/ns/net"))
		if err != nil || strings.TrimSpace(string(out)) != here {
			t.Errorf("got %q, %v: the thread came back with its namespace", out, err)
		}
	}
	h.Enter = func() error { return syscall.ENOENT }
	if _, err := h.Run(t.Context(), sh("true")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v, want %v", err, syscall.ENOENT)
	}
}

func TestFakeRecordsAnswersAndFails(t *testing.T) {
	f := &xexec.Fake{FailAt: 2, Answer: func(c xexec.Cmd) ([]byte, error) {
		if c.Argv[0] == "bad" {
			return nil, errors.New("no luck")
		}
		return []byte(c.Argv[0]), nil
	}}
	run := func(name string) (string, error) {
		out, err := f.Run(t.Context(), xexec.Cmd{Argv: []string{name, "x"}})
		return string(out), err
	}
	if out, err := run("one"); out != "one" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := run("two"); !errors.Is(err, xexec.ErrFake) {
		t.Errorf("got %v, want the fault", err)
	}
	_, err := run("bad")
	if e := new(xexec.Error); !errors.As(err, &e) || e.Code != 1 || !strings.Contains(e.Error(), "no luck") {
		t.Errorf("got %v, want the answer's error", err)
	}
	if diff := cmp.Diff([]string{"one x", "two x", "bad x"}, f.Lines()); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Run(ctx, sh("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if f.Reset(); len(f.Runs()) != 0 {
		t.Error("commands outlive a reset")
	}
}

var _ = []xexec.Runner{xexec.Host{}, (*xexec.Fake)(nil)}
