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
	// bootLimit is twenty times what a boot takes on an idle host of two cores; a
	// host with a load of ten was seen to need a third of it.
	bootLimit = 10 * time.Minute
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
func Start(tb testing.TB, config Config) *VM {
	tb.Helper()
	testx.Need(tb, testx.VM)
	ctx, cancel := context.WithTimeout(tb.Context(), bootLimit+10*time.Minute) // the image may have to be built
	defer cancel()
	image, err := machine.BuildImage(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := machine.Create(ctx, filepath.Join(tb.TempDir(), "vm"), image, config)
	if err != nil {
		tb.Fatal(err)
	}
	artifacts := testx.Artifacts(tb)
	v := &VM{Machine: m}
	tb.Cleanup(func() { v.end(tb, artifacts) })
	begin := time.Now()
	if err := m.Boot(ctx); err != nil {
		tb.Fatal(err)
	}
	tb.Logf("VM is up after %s: process %d, ssh port %d", time.Since(begin).Round(time.Second), m.PID(), m.Port())
	return v
}

func (v *VM) end(tb testing.TB, artifacts string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 2*time.Minute)
	defer cancel()
	if tb.Failed() {
		v.keepLogs(ctx, tb, artifacts)
	}
	if err := v.Remove(ctx); err != nil {
		tb.Error(err)
	}
}

// keepLogs writes to dir what tells why a test failed; a machine that hangs
// gives its console only.
func (v *VM) keepLogs(ctx context.Context, tb testing.TB, dir string) {
	tb.Helper()
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
			tb.Logf("keep %s: %v", name, err)
		}
		logs[name] = out + errs
	}
	for name, text := range logs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Log(err)
		}
	}
}

// MustRun runs a shell line as root, and returns its standard output without
// the white space around it. It fails the test when the line fails, or takes
// longer than five minutes.
func (v *VM) MustRun(tb testing.TB, line string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), runLimit)
	defer cancel()
	out, _, err := v.Run(ctx, line)
	if err != nil {
		tb.Fatalf("%v; its output: %s", err, out)
	}
	return strings.TrimSpace(out)
}

// MustCopy copies a file or folder of the host into the machine, see
// [machine.Machine.Copy].
func (v *VM) MustCopy(tb testing.TB, local, remote string) {
	tb.Helper()
	if err := v.Copy(tb.Context(), local, remote); err != nil {
		tb.Fatal(err)
	}
}

// MustPowerCut cuts the machine's power and boots it again from the same disks.
// Of the root file system only what README.md lists is on a disk.
func (v *VM) MustPowerCut(tb testing.TB) {
	tb.Helper()
	v.again(tb, v.PowerCut)
}

// MustReboot lets the machine shut down in good order and start again.
func (v *VM) MustReboot(tb testing.TB) {
	tb.Helper()
	v.again(tb, v.Reboot)
}

func (v *VM) again(tb testing.TB, how func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), bootLimit)
	defer cancel()
	if err := how(ctx); err != nil {
		tb.Fatal(err)
	}
}

// TestImage returns the name of a Docker image with busybox, which it makes of a
// file in the machine when Docker has none.
func (v *VM) TestImage(tb testing.TB) string {
	tb.Helper()
	v.MustRun(tb, "docker image inspect mos-test:1 >/dev/null 2>&1 || /usr/lib/mos/import-test-image")
	return "mos-test:1"
}

// ImportImage makes a Docker image of a tar of a root file system on the host.
func (v *VM) ImportImage(tb testing.TB, tar, name string) {
	tb.Helper()
	v.MustCopy(tb, tar, "/tmp/image.tar")
	v.MustRun(tb, "docker import -c 'CMD [\"sh\"]' /tmp/image.tar "+machine.Quote(name)+" && rm /tmp/image.tar")
}

// NewLink returns a cable for cards of several machines, which is gone after
// the test:
//
//	link := vm.NewLink(t)
//	a := vm.Start(t, vm.Config{NICs: []machine.NIC{link.NIC()}})
//	b := vm.Start(t, vm.Config{NICs: []machine.NIC{link.NIC()}})
func NewLink(tb testing.TB) *machine.Link {
	tb.Helper()
	link, err := machine.NewLink(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := link.Close(); err != nil {
			tb.Error(err)
		}
	})
	return link
}
