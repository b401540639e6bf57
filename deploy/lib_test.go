package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lib runs a script that has what lib defines, with a folder of pid files of its own.
func lib(t *testing.T, run, script string, args ...string) (string, error) {
	t.Helper()
	if _, err := os.ReadFile("lib"); err != nil { // a kept result of this test is of this lib
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", append([]string{"-c", ". ./lib; run=" + run + "; " + script, "lib"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// program starts a process whose program is at dir/bin/name.
func program(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	data, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bin", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAZombieDoesNotRun: a daemon that was killed stays listed until its parent has
// asked for it, and up is to start another.
func TestAZombieDoesNotRun(t *testing.T) {
	c := program(t, t.TempDir(), "mos-lvm", "0")
	defer func() { _ = c.Wait() }()
	pid := strconv.Itoa(c.Process.Pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile("/proc/" + pid + "/stat"); err != nil || strings.Contains(string(b), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
	if out, err := lib(t, t.TempDir(), `runs "$1"`, pid); err == nil {
		t.Errorf("a zombie is taken for running %s", out)
	}
	if out, err := lib(t, t.TempDir(), `runs "$1"`, strconv.Itoa(os.Getpid())); err != nil {
		t.Errorf("a process that runs is not seen: %v %s", err, out)
	}
}

// TestDaemonsOfAnotherCopyAreNamed instead of being taken for those of this one.
func TestDaemonsOfAnotherCopyAreNamed(t *testing.T) {
	run, other := t.TempDir(), t.TempDir()
	c := program(t, other, "mos-lvm", "100")
	defer func() { _ = c.Wait() }()
	defer func() { _ = c.Process.Kill() }()
	if err := os.WriteFile(filepath.Join(run, "mos-lvm.pid"), []byte(strconv.Itoa(c.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		root string
		well bool
	}{{other, true}, {"/elsewhere", false}} {
		out, err := lib(t, run, `root=$1; mine mosbridge mos-lvm`, tt.root)
		if (err == nil) != tt.well || !tt.well && !strings.Contains(out, other+"/bin/mos-lvm") {
			t.Errorf("from %s: %v, %s", tt.root, err, out)
		}
	}
}

// TestMembersOfTheGroupReachTheGuardedSocket although somebody shut its folder before.
func TestMembersOfTheGroupReachTheGuardedSocket(t *testing.T) {
	run := t.TempDir()
	if err := os.Chmod(run, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := lib(t, run, `enterable "$run"`); err != nil {
		t.Fatal(err, out)
	}
	if fi, err := os.Stat(run); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("got %v, %v", fi.Mode(), err)
	}
	if up, err := os.ReadFile("up"); err != nil || !strings.Contains(string(up), "enterable \"$run\"") {
		t.Errorf("up does not open it: %v", err)
	}
}
