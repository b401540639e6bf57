package robust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestEngineIsKilledWhileItStarts: the Engine is killed between the creation of a container's
// process and its own note that the container runs. One before version 23 refuses every start
// of that container from then on, since containerd has a task of it; mosd ends that.
func TestEngineIsKilledWhileItStarts(t *testing.T) {
	dir := t.TempDir()
	slow, waits, runtime := filepath.Join(dir, "slow"), filepath.Join(dir, "waits"), filepath.Join(dir, "runtime")
	must(t, os.WriteFile(slow, nil, 0o600))
	must(t, os.WriteFile(runtime, fmt.Appendf(nil, `#!/bin/sh
case " $* " in *" start "*) touch %s; while [ -e %s ]; do sleep 0.1; done ;; esac
exec runc "$@"
`, waits, slow), 0o755))
	h := lab.NewSets(t, rig.Config{LiveRestore: true, DockerdArgs: []string{"--add-runtime=slow=" + runtime, "--default-runtime=slow"}}).Hosts[0]
	h.Network("prod", "--subnet", "10.9.0.0/24")
	must(t, h.StartDaemon(rig.Daemon{Name: lab.Mosd, Argv: []string{lab.Program(t, lab.Mosd)}, Ready: func() error {
		_, err := api.New(h.Path("/run/mos/mosd.sock")).Status(t.Context())
		return err
	}}))
	t.Cleanup(func() { // else it heals what is cleaned up
		if err := h.Stop(lab.Mosd); err != nil {
			t.Error(err)
		}
	})
	set := filepath.Join(dir, "web.json")
	must(t, os.WriteFile(set, fmt.Appendf(nil, `{"Name": "web", "Network": {"Name": "prod"}, "Containers": [
  {"Name": "app", "Image": %q, "Options": {"Command": ["netcheck", "serve", ":7000"], "Stop": {"Grace": "0s"}}}]}`, rig.Image), 0o600))
	up := make(chan error)
	go func() { _, err := h.TrySet("up", set); up <- err }()
	testx.Eventually(t, time.Minute, func() error { _, err := os.Stat(waits); return err })
	must(t, h.Kill9(rig.Dockerd))
	must(t, os.Remove(slow))
	if err := <-up; err == nil {
		t.Error("docker set up succeeded without an Engine")
	}
	must(t, h.Start(rig.Dockerd))
	testx.Eventually(t, time.Minute, func() error {
		out, err := h.Docker("ps", "-a", "--format", "{{.Names}} {{.State}}")
		if err == nil && (!strings.Contains(out, "web.infra running") || !strings.Contains(out, "web.app running")) {
			err = errors.New(out)
		}
		return err
	})
	h.Talks("web.app", h.IP("web.infra", "prod"))
	h.Set("rm", "-f", "web")
}
