package e2evm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/managed"
	"github.com/mosdocker/mosdocker/test/vm"
)

// registry is Debian's, until the machine's next boot.
const registry = "127.0.0.1:5000"

const registryConfig = `cat >/root/registry.yml <<'END'
version: 0.1
storage: {filesystem: {rootdirectory: /root/registry}}
http: {addr: "` + registry + `"}
log: {level: error}
END
systemd-run --quiet --unit=registry docker-registry serve /root/registry.yml`

// pushes makes the plugins and pushes them under tags that differ in content.
func (s *system) pushes(l *managed.Life, tags ...string) {
	s.t.Helper()
	testx.Need(s.t, testx.Registry)
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		s.t.Fatal(err)
	}
	s.MustCopy(s.t, program, "/usr/local/bin/docker-registry")
	s.sh(registryConfig)
	plugins := s.t.TempDir()
	build := exec.CommandContext(s.t.Context(), "../../plugin-configs/build", plugins)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("plugin-configs/build: %v: %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(plugins, "mos-authz")); err != nil {
		s.t.Fatal(err)
	}
	s.MustCopy(s.t, plugins, "/root/plugins")
	s.MustCopy(s.t, "../../plugin-configs/push", "/opt/mos/plugin-configs/push")
	s.settle(time.Minute, "curl -sf http://"+registry+"/v2/")
	for _, tag := range tags {
		l.Must("for p in /root/plugins/*; do printf " + tag + " >$p/rootfs/etc/tag; done; /opt/mos/plugin-configs/push " + registry + " " + tag + " /root/plugins")
	}
	s.sh("rm -r /root/plugins")
}

// inPlugin is the line that runs a command inside mos-lvm's plugin.
func inPlugin(command string) string {
	return "runc --root /run/docker/runtime-runc/plugins.moby exec $(docker plugin inspect -f '{{.ID}}' mos-lvm) " + command
}

// onLVM says why the container web does not have a logical volume of ours at /data.
func (s *system) onLVM() error {
	out, errs, err := s.Run(s.t.Context(), `cat /sys/dev/block/$(docker exec web cat /proc/self/mountinfo | awk '$5 == "/data" {d = $3} END {print d}')/dm/name`)
	if err == nil && !strings.HasPrefix(out, "mosvg-") {
		err = fmt.Errorf("it is %q", out)
	}
	if err != nil {
		return fmt.Errorf("no logical volume: %w: %s", err, errs)
	}
	return nil
}

// TestManagedPluginsOnLVM is the life of both drivers as managed plugins on a host that
// has Docker, Open vSwitch and a disk, and none of our daemons: the volumes are thin.
func TestManagedPluginsOnLVM(t *testing.T) {
	long(t, "hosts")
	s := bring(t, vm.Config{})
	l := &managed.Life{
		Sh: func(line string) (string, error) {
			const limit = 10 * time.Minute // of an emulated machine on a busy host
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			out, errs, err := s.Run(ctx, line)
			if err != nil {
				err = fmt.Errorf("%w: %s", err, errs)
			}
			return strings.TrimSpace(out), err
		},
		Registry: registry, Mos: "/opt/mos/bin/docker-mos mos", Sees: s.onLVM, Linger: "5s", Limit: 4 * time.Minute, TB: t,
	}
	l.Step("push", func() { s.pushes(l, "one", "two") })
	l.Step("install", func() { l.Install("one") })
	l.Step("start", func() {
		l.Must(inPlugin("/mos-lvm init /dev/disk/by-id/virtio-pv0"))
		l.Start()
	})
	l.Step("volumes", func() {
		l.Must(l.Mos + " volume resize data 200m")
		s.want("docker exec web df -mP /data | awk 'END {print ($2 > 150)}'", "1")
		l.Must(l.Mos + " volume snapshot create data then && docker exec web sh -c 'echo new >/data/file && sync'")
		// By Docker's own command, since Docker counts at their removal also volumes that it did not make.
		s.want("docker volume create -d "+managed.Volume+" -o from=data@then copy >/dev/null && docker run --rm -v copy:/data mos-test:1 cat /data/file && docker exec web sh -c 'cat /data/file; echo kept >/data/file && sync'", "kept\nnew")
		l.Must("docker volume rm copy && " + l.Mos + " volume trash purge --force copy && " + l.Mos + " volume snapshot rm data@then")
	})
	l.Killed()
	l.Upgraded("two")
	for name, again := range map[string]func(testing.TB){"reboot": s.MustReboot, "power-cut": s.MustPowerCut} {
		l.Step(name, func() {
			again(t)
			l.Works()
		})
	}
	l.Gone()
	s.want("losetup -nl -O back-file; dmsetup ls | grep -v -e pool -e '^No devices' || true", "")
}
