package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// away starts a process with a mount namespace of its own, that of another or a copy of it.
func away(t *testing.T, enter ...string) (pid string) {
	t.Helper()
	args := append(enter, "sh", "-c", "echo && exec sleep 1000")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return strconv.Itoa(cmd.Process.Pid)
}

// TestTheHostSeesThePluginsMounts also after it took them off.
func TestTheHostSeesThePluginsMounts(t *testing.T) {
	testx.Need(t, testx.Root)
	dir := t.TempDir()
	host := away(t, "unshare", "-m", "--propagation", "private")
	in := func(pid, line string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "nsenter", "-m", "-t", pid, "sh", "-ec", "cd "+dir+"; "+line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	in(host, "mount -t tmpfs none . && cd "+dir+" && mkdir at && mount --bind \"$PWD/at\" at && mount --make-shared at")
	plugin := away(t, "nsenter", "-m", "-t", host, "unshare", "-m", "--propagation", "unchanged")
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	runs := func(what string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "nsenter", "-m", "-t", plugin, "/proc/self/fd/3", what, filepath.Join(dir, "at"), host)
		cmd.ExtraFiles = []*os.File{self}
		return cmd
	}
	shares := func() string {
		t.Helper()
		out, err := runs("share").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	in(plugin, "mkdir at/one && mount -t tmpfs one at/one && touch at/one/here")
	in(host, "ls at/one/here")
	if out := shares(); out != "false" {
		t.Errorf("while the host sees all, it was mounted there again: %s", out)
	}
	for range 2 {
		in(host, "umount -l at")
		in(plugin, "mkdir -p at/two && mount -t tmpfs two at/two && touch at/two/here")
		in(host, "! mountpoint -q at/two") // or nothing is tried here
		if out := shares(); out != "true" {
			t.Errorf("nothing was done for a host that sees nothing: %s", out)
		}
		in(host, "ls at/two/here && umount at/two")
		in(plugin, "! ls at/two/here 2>&1 && mount -t tmpfs three at/two")
		in(host, "findmnt -n -o SOURCE at/two | grep three")
	}
	keeps := runs("share-on")
	if err := keeps.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = keeps.Process.Kill(), keeps.Wait() })
	for n := range 10 {
		in(host, "umount -l at")
		testx.Eventually(t, 20*time.Second, func() error {
			if err := exec.CommandContext(t.Context(), "nsenter", "-m", "-t", host, "mountpoint", "-q", filepath.Join(dir, "at")).Run(); err != nil {
				return fmt.Errorf("what was taken off for the %d. time is not there again", n+1)
			}
			return nil
		})
	}
}

func TestWhereAPathIsElsewhere(t *testing.T) {
	own := mounts.Mount{Dev: mounts.Dev{Major: 8, Minor: 1}, Root: "/lib/docker/plugins/1/propagated-mount"}
	theirs := []mounts.Mount{
		{Dev: mounts.Dev{Major: 8, Minor: 2}, Root: "/", Point: "/"},
		{Dev: own.Dev, Root: "/", Point: "/var"},
		{Dev: own.Dev, Root: "/lib/docker", Point: "/data/docker"},
		{Dev: own.Dev, Root: "/lib/dock", Point: "/other"},
	}
	for n, want := range []string{"", "", "/var/lib/docker/plugins/1/propagated-mount", "/data/docker/plugins/1/propagated-mount", "/data/docker/plugins/1/propagated-mount"} {
		if got, err := whereIs(own, theirs[:n]); got != want || (err != nil) != (want == "") {
			t.Errorf("of %d mounts: %q, %v, want %q", n, got, err, want)
		}
	}
}
