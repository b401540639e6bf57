package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	volumeapi "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/test/rig"
)

// Registry is the address of the registry of a lab of managed plugins.
const Registry = "127.0.0.1:5000"

// NewManaged makes a lab of one host that has none of our daemons, but a registry
// with our managed plugins, under the given tags. The tags differ in content.
func NewManaged(tb testing.TB, cfg rig.Config, tags ...string) *Host {
	tb.Helper()
	cfg.OVS = true
	r := rig.New(tb, cfg)
	h := &Host{Host: r.Host(1), tb: tb}
	h.API, h.Volumes = api.New(admin(h.Host, Mosbridge)), volumeapi.New(admin(h.Host, Lvm))
	dir := tb.TempDir()
	registry := `version: 0.1
storage: {filesystem: {rootdirectory: ` + dir + `/registry}, delete: {enabled: true}}
http: {addr: "` + Registry + `"}
log: {level: error}
`
	conf := File(tb, registry)
	ready := func() error {
		return h.Do(func() error {
			c, err := net.DialTimeout("tcp", Registry, time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
	if err := h.StartDaemon(rig.Daemon{Name: "docker-registry", Argv: []string{"docker-registry", "serve", conf}, Ready: ready}); err != nil {
		tb.Fatal(err)
	}
	plugins := managed(tb)
	for _, tag := range tags {
		for _, p := range []string{Mosbridge, Lvm, "mos-authz"} {
			if err := os.WriteFile(filepath.Join(plugins, p, "rootfs/etc/tag"), []byte(tag), 0o600); err != nil {
				tb.Fatal(err)
			}
		}
		h.MustExec(tb, scriptPath(tb, "push"), Registry, tag, plugins)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			h.record()
		}
	})
	return h
}

// Install installs a managed plugin from the lab's registry, under its own name and
// with settings such as MOS_LVM_LINGER=1s.
func (h *Host) Install(plugin, tag string, settings ...string) {
	h.tb.Helper()
	h.D(append([]string{"plugin", "install", "--grant-all-permissions", "--alias", plugin, Registry + "/" + plugin + ":" + tag}, settings...)...)
}

// managed builds the plugins, once a test binary.
func managed(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(filepath.Dir(Program(tb, Mosbridge)), "plugins")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	script(tb, "build", dir)
	fitCapabilities(tb, filepath.Join(dir, Lvm, "config.json"))
	return dir
}

func scriptPath(tb testing.TB, name string) string {
	tb.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(string(bytes.TrimSpace(out)), "plugin-configs", name)
}

func script(tb testing.TB, name string, args ...string) {
	tb.Helper()
	cmd := exec.Command(scriptPath(tb, name), args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("plugin-configs/%s: %v: %s", name, err, out)
	}
}

// fitCapabilities takes away what this machine's root does not have itself, and so
// cannot give: growth of mounted ext4 wants CAP_SYS_RESOURCE.
func fitCapabilities(tb testing.TB, file string) {
	tb.Helper()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData // the kernel writes both halves
	err := unix.Capget(&head, &has[0])
	text, rerr := os.ReadFile(file)
	if err = errors.Join(err, rerr); err != nil {
		tb.Fatal(err)
	}
	if has[0].Permitted&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		tb.Fatal(err)
	}
	linux, _ := config["linux"].(map[string]any)
	caps, _ := linux["capabilities"].([]any)
	if linux["capabilities"] = slices.DeleteFunc(caps, func(c any) bool { return c == "CAP_SYS_RESOURCE" }); len(caps) == 0 {
		tb.Fatalf("%s has no capabilities", file)
	}
	if text, err = json.Marshal(config); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatal(err)
	}
}
