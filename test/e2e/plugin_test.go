package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

const (
	netPlugin    = "mosbridge:latest"
	volumePlugin = "mos-lvm:latest"
)

// managed is a host whose drivers are managed plugins.
type managed struct {
	*lab.Host
	t *testing.T
}

// plugins installs the drivers with short times, and starts two containers on both.
func plugins(t *testing.T, cfg rig.Config, tags ...string) *managed {
	t.Helper()
	testx.Need(t, testx.Registry)
	h := &managed{lab.NewManaged(t, cfg, tags...), t}
	mkdir(t, h.Path("/var/lib/mos"))
	h.Install(lab.Mosbridge, tags[0], "MOS_MOSBRIDGE_GRACE=2s", "MOS_MOSBRIDGE_INTERVAL=2s", "MOS_MOSBRIDGE_LOG_LEVEL=debug")
	h.Install(lab.Lvm, tags[0], "MOS_LVM_LINGER=1s", "MOS_LVM_INTERVAL=2s", "MOS_LVM_LOG_LEVEL=debug")
	h.D("network", "create", "-d", netPlugin, "--ipam-driver", netPlugin, "--subnet", "10.9.0.0/24", "red")
	h.D("volume", "create", "-d", volumePlugin, "-o", "size=64m", "data")
	h.Serve("web", "red", "--ip", "10.9.0.21", "-p", "8080:7000", "-v", "data:/data", "--restart", "always")
	h.Serve("cli", "red", "--restart", "always")
	h.D("exec", "web", "sh", "-c", "echo kept >/data/file && sync")
	h.works()
	return h
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// works fails the test unless the containers talk and the volume is there.
func (h *managed) works() {
	h.t.Helper()
	testx.Eventually(h.t, 60*time.Second, func() error {
		for _, c := range []string{"web", "cli"} {
			if s, err := h.Docker("inspect", "-f", "{{.State.Running}}", c); err != nil || strings.TrimSpace(s) != "true" {
				return fmt.Errorf("%s runs: %s %w", c, s, err)
			}
		}
		return h.Reach("cli", "10.9.0.21")
	})
	if out := h.D("exec", "web", "cat", "/data/file"); out != "kept" {
		h.t.Errorf("the volume has %q", out)
	}
	if err := h.Sees("web", "/data", "data"); err != nil {
		h.t.Error(err)
	}
	h.enabled()
}

// enabled fails the test unless both plugins are, with all their networks and volumes.
func (h *managed) enabled() {
	h.t.Helper()
	if out := h.D("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}"); !strings.Contains(out, netPlugin+" true") || !strings.Contains(out, volumePlugin+" true") {
		h.t.Errorf("the plugins are %q", out)
	}
	if out := h.D("volume", "ls", "--format", "{{.Driver}} {{.Name}}"); out != volumePlugin+" data" {
		h.t.Errorf("the volumes are %q", out)
	}
}

// same fails the test if the containers were started again by what f does.
func (h *managed) same(f func()) {
	h.t.Helper()
	started := func() string { return h.D("inspect", "-f", "{{.State.StartedAt}}", "web", "cli") }
	before := started()
	f()
	h.works()
	if after := started(); after != before {
		h.t.Errorf("containers were started again: %s, %s", before, after)
	}
}

// step is a part of a life: what fails in it ends the test.
func (h *managed) step(name string, f func()) {
	h.t.Helper()
	start := time.Now()
	f()
	h.t.Logf("%s: %v", name, time.Since(start).Round(10*time.Millisecond))
}

// kill kills processes of a name by SIGKILL, in this host only.
func (h *managed) kill(name string) {
	h.t.Helper()
	h.MustExec(h.t, "pkill", "-9", "-x", name)
}

// TestManagedPlugins is the life of both drivers as managed plugins from a registry.
func TestManagedPlugins(t *testing.T) {
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			h := plugins(t, rig.Config{Engine: engine, TSO: true, Outside: true}, "one", "two")
			if out := h.D("plugin", "inspect", "-f", "{{.Settings.Env}}", volumePlugin); !strings.Contains(out, "MOS_LVM_LINGER=1s") {
				t.Errorf("the settings are %s", out)
			}
			h.outside(t)
			h.step("tools", func() {
				if out := h.Mos("net", "ps"); !strings.Contains(out, "10.9.0.21") {
					t.Errorf("docker mos net ps says %q", out)
				}
				if out := h.Mos("volume", "ls"); !strings.Contains(out, "web") {
					t.Errorf("docker mos volume ls says %q", out)
				}
				h.D("volume", "create", "-d", lab.Lvm, "-o", "size=300m", "-o", "fs=xfs", "extra")
				h.D("run", "-d", "--name", "grow", "-v", "extra:/data", rig.Image, "sleep", "1000")
				h.Mos("volume", "resize", "extra", "400m")
				if out := h.D("exec", "grow", "df", "-m", "/data"); !strings.Contains(out, " 336 ") {
					t.Errorf("after its growth the volume is %s", out)
				}
				h.D("rm", "-f", "grow")
				h.D("volume", "rm", "extra")
				h.Mos("volume", "trash", "purge", "--force", "extra")
			})
			h.step("set", func() {
				file := lab.File(t, `{"Name": "shop", "CPU": 1, "MEM": "128m", "Network": {"Name": "red"}, "Volume": {"Name": "shopdata", "Size": "32m", "Path": "/data"},
					"Containers": [{"Index": 0, "Name": "app", "Image": "mos-test:1", "Options": {"CPU": 60, "MEM": 60, "Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}, "Stop": {"Grace": "0s"}}}]}`)
				h.Set("up", file)
				h.Set("up", file) // which finds nothing to do
				h.Set("rm", "-f", "-v", "shop")
				h.Mos("volume", "trash", "purge", "--force", "shopdata")
			})
			h.step("daemons-killed", func() {
				h.same(func() { // twice at once, by which Docker disables a plugin that ends
					for range 2 {
						h.kill(lab.Mosbridge)
						h.kill(lab.Lvm)
						time.Sleep(250 * time.Millisecond)
					}
				})
			})
			h.step("plugins-killed", func() { h.same(func() { h.kill("keep"); time.Sleep(time.Second) }) })
			h.step("in-use", func() {
				for _, p := range []string{lab.Mosbridge, lab.Lvm} {
					h.Refused("in use", "plugin", "disable", p)
					h.Refused("must be disabled", "plugin", "upgrade", "--skip-remote-check", "--grant-all-permissions", p, lab.Registry+"/"+p+":two")
				}
				h.Refused("active plugin", "plugin", "set", lab.Lvm, "MOS_LVM_LINGER=2s")
			})
			h.step("upgrade", func() { h.upgrade(t) })
			for name, end := range map[string]func(string) error{"dockerd-killed": h.Kill9, "dockerd-stopped": h.Stop} {
				h.step(name, func() {
					if err := errors.Join(end(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
						t.Fatal(err)
					}
					h.works()
				})
			}
			h.step("power-cut", func() {
				if err := h.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				h.works()
			})
			h.gone(t)
		})
	}
}

// TestManagedPluginsWithLiveRestore: containers go on while dockerd and the plugins'
// daemons are away.
func TestManagedPluginsWithLiveRestore(t *testing.T) {
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			h := plugins(t, rig.Config{Engine: engine, LiveRestore: true}, "one")
			for name, end := range map[string]func(string) error{"dockerd-killed": h.Kill9, "dockerd-stopped": h.Stop} {
				h.step(name, func() {
					h.same(func() {
						if err := errors.Join(end(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
							t.Fatal(err)
						}
					})
				})
			}
			h.gone(t)
		})
	}
}

// outside reaches the published port.
func (h *managed) outside(t *testing.T) {
	t.Helper()
	if out, err := h.Exec(t.Context(), "netcheck", "send", "tcp", h.IPv4()+":8080", "1024"); err != nil {
		t.Errorf("the published port: %s %v", out, err)
	}
}

// upgrade changes both plugins for another version while a container runs: by force,
// since they are in use.
func (h *managed) upgrade(t *testing.T) {
	h.same(func() {
		for _, p := range []string{lab.Mosbridge, lab.Lvm} {
			h.D("plugin", "disable", "-f", p)
			h.D("plugin", "upgrade", "--skip-remote-check", "--grant-all-permissions", p, lab.Registry+"/"+p+":two")
			h.D("plugin", "set", p, "MOS_"+map[string]string{lab.Mosbridge: "MOSBRIDGE", lab.Lvm: "LVM"}[p]+"_LOG_LEVEL=info")
			h.D("plugin", "enable", p)
		}
	})
	for _, p := range []string{lab.Mosbridge, lab.Lvm} {
		tags, err := filepath.Glob(h.Path("/var/lib/docker/plugins") + "/*/rootfs/etc/tag")
		if err != nil || len(tags) != 2 {
			t.Fatalf("%s: %v %v", p, tags, err)
		}
		for _, tag := range tags {
			if b, err := os.ReadFile(tag); err != nil || string(b) != "two" {
				t.Errorf("%s has version %s after the upgrade: %v", tag, b, err)
			}
		}
	}
}

// gone takes all away by the docker command, and looks what is left.
func (h *managed) gone(t *testing.T) {
	h.D("rm", "-f", "web", "cli")
	h.D("network", "rm", "red")
	h.D("volume", "rm", "data")
	h.Mos("volume", "trash", "purge", "--force", "data")
	h.Clean()
	for _, p := range []string{lab.Mosbridge, lab.Lvm} {
		h.D("plugin", "disable", p)
		h.D("plugin", "rm", p)
	}
	if out := h.D("plugin", "ls", "-q"); out != "" {
		t.Errorf("plugins are left: %s", out)
	}
	if loops, err := h.Loops(); err != nil || len(loops) > 0 {
		t.Errorf("loop devices are left: %v %v", loops, err)
	}
	if images := h.Images(); len(images) > 0 {
		t.Errorf("images are left: %v", images)
	}
	if out := h.MustExec(t, "ovs-vsctl", "--no-wait", "list-br"); strings.TrimSpace(out) != "" {
		t.Errorf("bridges are left: %s", out)
	}
	if out := h.MustExec(t, "nft", "list", "tables"); strings.Contains(out, "mosbridge") {
		t.Errorf("rules are left: %s", out)
	}
	for _, dir := range []string{"/run/docker/plugins", "/var/lib/docker/plugins"} {
		entries, err := os.ReadDir(h.Path(dir))
		for _, e := range entries {
			if len(e.Name()) == 64 { // the id of a plugin
				t.Errorf("%s/%s is left", dir, e.Name())
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestManagedPluginWithoutItsFolder is refused with the folder's name, and comes up
// once that is there. One whose setting is wrong does not.
func TestManagedPluginWithoutItsFolder(t *testing.T) {
	testx.Need(t, testx.Registry)
	h := lab.NewManaged(t, rig.Config{}, "one")
	for _, p := range []string{lab.Mosbridge, lab.Lvm} {
		install := []string{"plugin", "install", "--grant-all-permissions", "--alias", p, lab.Registry + "/" + p + ":one"}
		h.Refused("/var/lib/none", append(install, "state.source=/var/lib/none")...)
		mkdir(t, h.Path("/var/lib/none"))
		h.D("plugin", "enable", p)
		h.D("plugin", "disable", p)
		h.D("plugin", "set", p, "MOS_"+map[string]string{lab.Mosbridge: "MOSBRIDGE_DATAPATH", lab.Lvm: "LVM_TYPE"}[p]+"=none")
		h.Refused("dial unix", "plugin", "enable", p)
		h.D("plugin", "rm", p)
		if err := os.RemoveAll(h.Path("/var/lib/none")); err != nil {
			t.Fatal(err)
		}
	}
}

const guardPolicy = `version = 1
[[who]]
name = "all"
local = true
profile = "all"
[profile.all]
based = "operator"
[profile.all.limits]
privileged = false
[[profile.all.rule]]
deny = ["container.rename"]
`

// TestManagedAuthorization guards an Engine through the deaths of its daemon, and
// shows the trap of this form: who may disable it has switched it off.
func TestManagedAuthorization(t *testing.T) {
	testx.Need(t, testx.Registry)
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			h := managed{lab.NewManaged(t, rig.Config{Engine: engine}, "one"), t}
			mkdir(t, h.Path("/var/log/mos"))
			if err := os.WriteFile(h.Path("/etc/mos/policy.toml"), []byte(guardPolicy), 0o600); err != nil {
				t.Fatal(err)
			}
			h.Install("mos-authz", "one", "MOS_AUTHZ_LISTEN=")
			h.D("create", "--name", "guarded", rig.Image, "true")
			reload(t, h.Host, `{"authorization-plugins": ["mos-authz:latest"]}`)
			denied := func() {
				t.Helper()
				h.Refused("authorization denied by plugin mos-authz", "rename", "guarded", "free")
			}
			testx.Eventually(t, 20*time.Second, func() error {
				if _, err := h.Docker("rename", "guarded", "guarded"); err == nil || !strings.Contains(err.Error(), "authorization denied") {
					return fmt.Errorf("the plugin is not asked yet: %w", err)
				}
				return nil
			})
			for range 2 {
				h.kill("mos-authz")
				denied()
			}
			h.D("ps")
			h.kill("keep")
			denied()
			if err := errors.Join(h.Stop(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
				t.Fatal(err)
			}
			denied()
			h.D("plugin", "disable", "-f", "mos-authz") // the trap
			h.D("rename", "guarded", "free")
			reload(t, h.Host, `{}`)
			h.D("rm", "-f", "free")
			h.D("plugin", "rm", "mos-authz")
		})
	}
}

// reload gives dockerd a configuration.
func reload(t *testing.T, h *lab.Host, config string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(h.Path("/etc/docker/daemon.json"), []byte(config), 0o600), h.Signal(rig.Dockerd, syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
}
