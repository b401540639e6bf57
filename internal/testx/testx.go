// Package testx holds what tests of all parts share: the gates that say what a
// test needs of the machine, golden files, waiting, and a logger.
package testx

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Needs names something a test needs of the machine it runs on.
type Needs string

// What a test can need.
const (
	Root   Needs = "root"   // user id 0
	OVS    Needs = "ovs"    // the Open vSwitch daemons are installed
	Docker Needs = "docker" // dockerd is installed
	Newest Needs = "newest" // the pinned newest engine is in the cache
	NFT    Needs = "nft"    // nftables works in a namespace of our own
	VM     Needs = "vm"     // QEMU and the VM image are there
)

// Need skips the test when the machine lacks one of what; in a ring that
// names it in MOS_TEST_MUST (comma-separated) the test fails instead, so that
// no ring loses tests silently.
func Need(t testing.TB, what ...Needs) {
	t.Helper()
	must := strings.Split(os.Getenv("MOS_TEST_MUST"), ",")
	for _, n := range what {
		err := lacks(n)
		switch {
		case err == nil:
		case slices.Contains(must, string(n)):
			t.Fatalf("this ring must have %s: %v", n, err)
		default:
			t.Skipf("needs %s: %v", n, err)
		}
	}
}

func lacks(n Needs) error {
	if n != VM && n != Newest && os.Geteuid() != 0 {
		return errors.New("not root")
	}
	switch n {
	case Root:
		return nil
	case OVS:
		return programs("ovs-vswitchd", "ovsdb-server", "ovs-ofctl")
	case Docker:
		return programs("dockerd", "docker", "containerd")
	case NFT:
		return programs("nft", "iptables")
	case Newest:
		return files(filepath.Join(Cache(), "engine", "dockerd"), filepath.Join(Cache(), "engine", "runc"))
	case VM:
		return errors.Join(programs("qemu-system-x86_64", "ssh"), files(filepath.Join(Cache(), "vm", "ready")))
	}
	return fmt.Errorf("unknown need %q", n)
}

func programs(names ...string) error {
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			return err
		}
	}
	return nil
}

func files(paths ...string) error {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return err
		}
	}
	return nil
}

// Cache is the directory outside the repository where engines and images that
// took long to make are kept: $MOS_CACHE, or mosdocker in the user's cache.
func Cache() string {
	if d := os.Getenv("MOS_CACHE"); d != "" {
		return d
	}
	d, err := os.UserCacheDir()
	if err != nil {
		d = os.TempDir()
	}
	return filepath.Join(d, "mosdocker")
}

var update = flag.Bool("update", false, "rewrite golden files")

// Golden compares got with testdata/name and, with -update, rewrites it.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

// Eventually calls check until it returns nil, and fails the test with its
// last error when that does not happen within limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("not within %v: %v", limit, err)
}

// Logger writes to the test's log, debug lines too.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
