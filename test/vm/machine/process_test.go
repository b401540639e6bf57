package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// TestKillHitsNoStranger gives kill the id of a process that started at another
// time: what an old vm.json holds after Linux gave the id again.
func TestKillHitsNoStranger(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p, err := newProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, stranger := range []process{
		{PID: p.PID, Start: p.Start + 1, Boot: p.Boot},
		{PID: p.PID, Start: p.Start, Boot: "another"},
		{},
	} {
		if stranger.alive() {
			t.Errorf("%+v counts as alive", stranger)
		}
		if err := stranger.kill(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !p.alive() {
		t.Fatal("a stranger was killed")
	}
	if err := p.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || p.alive() {
		t.Errorf("the process itself was not killed: %v", err)
	}
	if _, err := newProcess(cmd.Process.Pid); !errors.Is(err, errGone) {
		t.Errorf("name a process that is gone: got %v, want %v", err, errGone)
	}
}

// startAndDie starts a child, notes which, and kills this process.
func startAndDie(t *testing.T, note string) {
	t.Helper()
	p, err := start(t.Context(), []string{"sleep", "600"}, os.Stderr, false)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {}
}

// TestStartDiesWithUs starts a child by a process that is killed at once.
func TestStartDiesWithUs(t *testing.T) {
	note := filepath.Join(t.TempDir(), "pid")
	if os.Getenv("MOS_START_NOTE") != "" {
		startAndDie(t, os.Getenv("MOS_START_NOTE"))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStartDiesWithUs$")
	cmd.Env = append(os.Environ(), "MOS_START_NOTE="+note)
	if err := cmd.Run(); err == nil {
		t.Fatal("the parent was not killed")
	}
	data, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	var p process
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := poll(ctx, 10*time.Millisecond, func() (bool, error) { return !p.alive(), nil }); err != nil {
		t.Errorf("process %d outlives its parent: %v", p.PID, err)
	}
}

// TestGoneStaysGone: threads end one by one, and while they do, lists of them come
// short. Who then calls the process gone boots a second one on the same disks.
func TestGoneStaysGone(t *testing.T) {
	if os.Getenv("MOS_THREADS") != "" {
		for range 6 {
			go func() { runtime.LockOSThread(); _ = syscall.Pause() }()
		}
		_ = syscall.Pause()
	}
	for range 30 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestGoneStaysGone$")
		cmd.Env = append(os.Environ(), "MOS_THREADS=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		testx.Eventually(t, 20*time.Second, func() error {
			if n, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid)); err != nil || len(n) < 7 {
				return fmt.Errorf("%d threads, %w", len(n), err)
			}
			return nil
		})
		p, err := newProcess(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for p.alive() {
		}
		for range 1000 {
			if p.alive() {
				t.Fatal("alive again")
			}
		}
		_ = cmd.Wait() // it was killed
	}
}
