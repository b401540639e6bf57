package vm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/vm/machine"
)

const (
	// bootLimit is ten times what a boot takes on an idle host of two cores.
	bootLimit = 6 * time.Minute
	// runLimit ends a command of a test that hangs.
	runLimit = 5 * time.Minute
)

// Config says what a machine is made of; the zero value is a good machine.
type Config = machine.Config

// VM is a machine that lives as long as a test. Its methods without a
// testing.TB are those of [machine.Machine].
type VM struct {
	*machine.Machine
}

// Start boots a machine for the test, which is skipped where there is no QEMU.
// The machine and all it is made of are gone after the test; its console and
// journal are kept among the artifacts when the test fails.
func Start(t testing.TB, config Config) *VM {
	t.Helper()
	testx.Need(t, testx.VM)
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit+10*time.Minute) // the image may have to be built
	defer cancel()
	image, err := machine.BuildImage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := machine.Create(ctx, filepath.Join(t.TempDir(), "vm"), image, config)
	if err != nil {
		t.Fatal(err)
	}
	artifacts := testx.Artifacts(t)
	v := &VM{Machine: m}
	t.Cleanup(func() { v.end(t, artifacts) })
	begin := time.Now()
	if err := m.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("VM is up after %s: process %d, ssh port %d", time.Since(begin).Round(time.Second), m.PID(), m.Port())
	return v
}

func (v *VM) end(t testing.TB, artifacts string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	if t.Failed() {
		v.keepLogs(ctx, t, artifacts)
	}
	if err := v.Remove(ctx); err != nil {
		t.Error(err)
	}
}

// keepLogs writes to dir what tells why a test failed; a machine that hangs
// gives its console only.
func (v *VM) keepLogs(ctx context.Context, t testing.TB, dir string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	logs := map[string]string{"console.log": v.Console()}
	for name, line := range map[string]string{
		"journal.log": "journalctl --no-pager -o short-precise",
		"state.log":   "docker ps -a; docker network ls; docker volume ls; ovs-vsctl show; ip -d addr; lvs -a; systemctl --failed; mount",
	} {
		if !v.Running() {
			break
		}
		out, errs, err := v.Run(ctx, line)
		if err != nil {
			t.Logf("keep %s: %v", name, err)
		}
		logs[name] = out + errs
	}
	for name, text := range logs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Log(err)
		}
	}
}

// MustRun runs a shell line as root, and returns its standard output without
// the white space around it. It fails the test when the line fails, or takes
// longer than five minutes.
func (v *VM) MustRun(t testing.TB, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	out, _, err := v.Run(ctx, line)
	if err != nil {
		t.Fatalf("%v; its output: %s", err, out)
	}
	return strings.TrimSpace(out)
}

// MustCopy copies a file or folder of the host into the machine, see
// [machine.Machine.Copy].
func (v *VM) MustCopy(t testing.TB, local, remote string) {
	t.Helper()
	if err := v.Copy(t.Context(), local, remote); err != nil {
		t.Fatal(err)
	}
}

// MustPowerCut cuts the machine's power and boots it again from the same disks.
// Of the root file system only what README.md lists is on a disk.
func (v *VM) MustPowerCut(t testing.TB) {
	t.Helper()
	v.again(t, v.PowerCut)
}

// MustReboot lets the machine shut down in good order and start again.
func (v *VM) MustReboot(t testing.TB) {
	t.Helper()
	v.again(t, v.Reboot)
}

func (v *VM) again(t testing.TB, how func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	if err := how(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestImage returns the name of a Docker image with busybox, which it makes of a
// file in the machine when Docker has none.
func (v *VM) TestImage(t testing.TB) string {
	t.Helper()
	v.MustRun(t, "docker image inspect mos-test:1 >/dev/null 2>&1 || /usr/lib/mos/import-test-image")
	return "mos-test:1"
}

// ImportImage makes a Docker image of a tar of a root file system on the host.
func (v *VM) ImportImage(t testing.TB, tar, name string) {
	t.Helper()
	v.MustCopy(t, tar, "/tmp/image.tar")
	v.MustRun(t, "docker import -c 'CMD [\"sh\"]' /tmp/image.tar "+machine.Quote(name)+" && rm /tmp/image.tar")
}

// NewLink returns a cable for cards of several machines, which is gone after
// the test:
//
//	link := vm.NewLink(t)
//	a := vm.Start(t, vm.Config{NICs: []machine.NIC{link.NIC()}})
//	b := vm.Start(t, vm.Config{NICs: []machine.NIC{link.NIC()}})
func NewLink(t testing.TB) *machine.Link {
	t.Helper()
	link, err := machine.NewLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
	return link
}
