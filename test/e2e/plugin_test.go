package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/managed"
	"github.com/mosdocker/mosdocker/test/rig"
)

// plugins installs the drivers, and starts two containers on both.
func plugins(t *testing.T, cfg rig.Config, tags ...string) (*lab.Host, *managed.Life) {
	t.Helper()
	testx.Need(t, testx.Registry)
	h := lab.NewManaged(t, cfg, tags...)
	l := &managed.Life{
		Sh:       func(line string) (string, error) { return h.Exec(t.Context(), "sh", "-c", line) },
		Registry: lab.Registry, Mos: strings.Join(h.MosCommand(), " "), Linger: "1s", Limit: time.Minute, TB: t,
		Sees: func() error { return h.Sees("web", "/data", "data") },
	}
	l.Install(tags[0])
	l.Start()
	return h, l
}

// gone ends the plugins' lives; no loop device is left either.
func gone(t *testing.T, h *lab.Host, l *managed.Life) {
	t.Helper()
	l.Gone()
	if loops, err := h.Loops(); err != nil || len(loops) > 0 {
		t.Errorf("loop devices are left: %v %v", loops, err)
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestManagedPlugins is the life of both drivers as managed plugins from a registry.
func TestManagedPlugins(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			h, l := plugins(t, rig.Config{Engine: engine, TSO: true, Outside: true}, "one", "two")
			if out, err := h.Exec(t.Context(), "netcheck", "send", "tcp", h.IPv4()+":8080", "1024"); err != nil {
				t.Errorf("the published port: %s %v", out, err)
			}
			l.Step("tools", func() {
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
			l.Step("set", func() {
				file := lab.File(t, `{"Name": "shop", "CPU": 1, "MEM": "128m", "Network": {"Name": "red"}, "Volume": {"Name": "shopdata", "Size": "32m", "Path": "/data"},
					"Containers": [{"Index": 0, "Name": "app", "Image": "mos-test:1", "Options": {"CPU": 60, "MEM": 60, "Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}, "Stop": {"Grace": "0s"}}}]}`)
				h.Set("up", file)
				h.Set("up", file) // which finds nothing to do
				h.Set("rm", "-f", "-v", "shop")
				h.Mos("volume", "trash", "purge", "--force", "shopdata")
			})
			l.Killed()
			l.Upgraded("two")
			for name, end := range map[string]func(string) error{"dockerd-killed": h.Kill9, "dockerd-stopped": h.Stop} {
				l.Step(name, func() {
					if err := errors.Join(end(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
						t.Fatal(err)
					}
					l.Works()
				})
			}
			l.Step("power-cut", func() {
				if err := h.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.Works()
			})
			gone(t, h, l)
		})
	}
}

// TestManagedPluginsWithLiveRestore: containers go on while dockerd and the plugins'
// daemons are away.
func TestManagedPluginsWithLiveRestore(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			h, l := plugins(t, rig.Config{Engine: engine, LiveRestore: true}, "one")
			for name, end := range map[string]func(string) error{"dockerd-killed": h.Kill9, "dockerd-stopped": h.Stop} {
				l.Step(name, func() {
					l.Same(func() {
						if err := errors.Join(end(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
							t.Fatal(err)
						}
					})
				})
			}
			gone(t, h, l)
		})
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
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewManaged(t, rig.Config{Engine: engine}, "one")
			mkdir(t, h.Path("/var/log/mos"))
			if err := os.WriteFile(h.Path("/etc/mos/policy.toml"), []byte(guardPolicy), 0o600); err != nil {
				t.Fatal(err)
			}
			h.Install("mos-authz", "one", "MOS_AUTHZ_LISTEN=")
			h.D("create", "--name", "guarded", rig.Image, "true")
			reload(t, h, `{"authorization-plugins": ["mos-authz:latest"]}`)
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
				h.MustExec(t, "pkill", "-9", "-x", "mos-authz")
				denied()
			}
			h.D("ps")
			h.MustExec(t, "pkill", "-9", "-x", "keep")
			denied()
			if err := errors.Join(h.Stop(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
				t.Fatal(err)
			}
			denied()
			h.D("plugin", "disable", "-f", "mos-authz") // the trap
			h.D("rename", "guarded", "free")
			reload(t, h, `{}`)
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
