package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// serviceFile is a service of small sets.
func serviceFile(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.json")
	text := fmt.Sprintf(`{"name": "web", "spec": {"replicas": 3, "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"},
  "Containers": [{"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Env": {"VERSION": %q}, "Command": ["netcheck", "serve", ":7000"],
    "Ready": {"TCP": 7000}, "Stop": {"Grace": "0s"}}}]}}}`, rig.Image, version)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOneHostIsACluster: with mos-scheduler and mosd on one host and nothing configured, a
// service runs, is scaled up and down, and updated one set at a time; no container minds
// that both daemons are away.
func TestOneHostIsACluster(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewSets(t, rig.Config{Engine: engine}).Hosts[0]
			h.Network("prod", "--subnet", "10.9.0.0/24")
			h.Cluster()
			h.Set("service", "create", "-f", serviceFile(t, "1"))
			runs(t, h, 3, "1")
			h.Talks("web-1.app", h.IP("web-2.infra", "prod"))
			tellsUse(t, h)
			h.Set("service", "scale", "web=6")
			runs(t, h, 6, "1")
			h.Set("service", "scale", "web=3")
			runs(t, h, 3, "1")

			infra := h.D("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "web-1.infra", "web-2.infra", "web-3.infra")
			h.Set("service", "update", "-f", serviceFile(t, "2"), "web")
			runs(t, h, 3, "2")
			if now := h.D("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "web-1.infra", "web-2.infra", "web-3.infra"); now != infra {
				t.Errorf("the sets were not updated in place:\n%s\n%s", infra, now)
			}
			if out := h.Set("service", "rollout", "status", "web"); !strings.Contains(out, "3 of 3 sets updated") {
				t.Errorf("the rollout: %s", out)
			}

			before := h.D("ps", "-q", "--no-trunc")
			for _, name := range []string{"mosd", "mos-scheduler"} {
				if err := h.Kill9(name); err != nil {
					t.Fatal(err)
				}
			}
			h.Talks("web-1.app", h.IP("web-3.infra", "prod"))
			for _, name := range []string{"mos-scheduler", "mosd"} {
				if err := h.Start(name); err != nil {
					t.Fatal(err)
				}
			}
			h.Set("service", "scale", "web=2")
			runs(t, h, 2, "2")
			for id := range strings.FieldsSeq(h.D("ps", "-q", "--no-trunc")) {
				if !strings.Contains(before, id) {
					t.Errorf("container %s is new after the daemons were killed", id)
				}
			}
			h.Set("service", "rm", "web")
			runs(t, h, 0, "")
			h.Set("host", "drain", "h1")
		})
	}
}

// tellsUse has a set take all the processor time that it was given, a tenth of a core, and waits
// until the cluster says so, and that another takes little.
func tellsUse(t *testing.T, h *lab.Host) {
	t.Helper()
	h.D("exec", "-d", "web-1.app", "sh", "-c", "echo $$ >/busy; while :; do :; done")
	said := map[string]string{}
	figures := func(args ...string) (cpu, memory float64, err error) {
		out, err := h.TrySet(append(args, "--format", "json")...)
		var m struct {
			Use *struct {
				CPU    float64 `json:"cpu"`
				Memory float64 `json:"memory"`
			} `json:"use"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &m)
		}
		if err == nil && m.Use == nil {
			err = errors.New("nothing is known")
		}
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", out, err)
		}
		said[strings.Join(args, " ")] = out
		return m.Use.CPU, m.Use.Memory, nil
	}
	testx.Eventually(t, 60*time.Second, func() error {
		busy, memory, err := figures("service", "stats", "web", "--filter", "name=web-1")
		idle, _, ierr := figures("service", "stats", "web", "--filter", "name=web-2")
		host, hostMemory, herr := figures("host", "top", "h1")
		if err = errors.Join(err, ierr, herr); err != nil {
			return err
		}
		// The container may take 80 % of its set's tenth of a core, and 80 % of 32 MiB.
		if busy < 60 || busy > 110 || idle > 30 || memory < 1<<18 || memory > 32<<20 || host < busy || hostMemory < memory {
			return fmt.Errorf("web-1 takes %v thousandths of a core and %v bytes, web-2 %v, the host %v and %v", busy, memory, idle, host, hostMemory)
		}
		return nil
	})
	for of, is := range said {
		t.Logf("%s: %s", of, strings.TrimSpace(is))
	}
	if out := h.Set("service", "stats", "--no-stream"); !strings.Contains(out, "/ 32MiB") {
		t.Errorf("what is used: %s", out)
	}
	h.D("exec", "web-1.app", "sh", "-c", "kill $(cat /busy)")
}

// runs waits until so many sets of the service run on the host, all of a version, and
// nothing of others is left.
func runs(t *testing.T, h *lab.Host, sets int, version string) {
	t.Helper()
	testx.Eventually(t, 60*time.Second, func() error {
		out, err := h.TrySet("ls", "--format", "{{.Name}} {{.State}}")
		if got := strings.Count(out+"\n", " running\n"); err == nil && (got != sets || len(strings.Fields(out)) != 2*sets) {
			err = fmt.Errorf("%d sets of %d run: %q", got, sets, out)
		}
		ids, psErr := h.Exec(t.Context(), "docker", "ps", "-q", "-f", "name=.app")
		if err = errors.Join(err, psErr); err != nil || sets == 0 {
			return err
		}
		env, err := h.Exec(t.Context(), append([]string{"docker", "inspect", "-f", "{{.Config.Env}}"}, strings.Fields(ids)...)...)
		if got := strings.Count(env, "VERSION="+version); err == nil && got != sets {
			err = fmt.Errorf("%d of %d containers are of version %s: %s", got, sets, version, env)
		}
		return err
	})
}
