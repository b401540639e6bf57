package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestADeclaredSetHasItsOldContainerBack: by swap the old container is kept until the new
// one is ready, through kill -9 of mosd and of dockerd, and serves again when it does not get so.
func TestADeclaredSetHasItsOldContainerBack(t *testing.T) {
	if os.Getenv("MOS_FULL") == "" {
		t.Skip("half a minute, and package hostsrv has it step by step: test/night engines runs it")
	}
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			dir := t.TempDir()
			k := keep(t, engine, false, "-sets.declared="+dir)
			declare := func(version int, ready string) {
				t.Helper()
				text := fmt.Sprintf(`{"Name": "one", "CPU": 0.2, "MEM": "64m", "Network": {"Name": "prod"}, "Containers": [{"Name": "app", "Image": %q, "Options": {
  "Env": {"VERSION": "%d"}, "Ready": {"Exec": %s, "Deadline": "8s"}, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}`, rig.Image, version, ready)
				next := filepath.Join(dir, "next")
				if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, filepath.Join(dir, "one.json"))); err != nil {
					t.Fatal(err)
				}
			}
			is := func(want string, apps ...string) {
				t.Helper()
				testx.Eventually(t, 60*time.Second, func() error {
					got, err := k.TryMos("host", "status", "--format", "{{.Set}} {{.State}} {{.Detail}}")
					have, derr := k.Docker("ps", "-a", "--filter", "label=mos.member=app", "--format", "{{.Names}} {{.State}}")
					if err := errors.Join(err, derr); err != nil && !strings.Contains(got, want) {
						return fmt.Errorf("mosd says %q: %w", got, err)
					}
					for _, app := range apps {
						if !strings.Contains(got, want) || !strings.Contains(have, app) || strings.Count(have, "\n")+1 != len(apps) {
							return fmt.Errorf("mosd says %q, want %q, with containers %q, want %q", got, want, have, apps)
						}
					}
					return nil
				})
			}
			declare(1, `["true"]`)
			is("one right", "one.app running")
			old := k.D("inspect", "-f", "{{.Id}}", "one.app")
			declare(2, `["false"]`)
			is("one waiting", "one.app exited", "one.app.r2 running")
			if err := errors.Join(k.Kill9("mosd"), k.Start("mosd")); err != nil {
				t.Fatal(err)
			}
			is("one failing container one.app.r2: it is not ready after 8s", "one.app running")
			if now := k.D("inspect", "-f", "{{.Id}}", "one.app"); now != old {
				t.Errorf("app was %s and is %s", old, now)
			}
			declare(3, `["test", "-e", "/ok"]`)
			is("one waiting", "one.app exited", "one.app.r2 running")
			if err := errors.Join(k.Kill9(rig.Dockerd), k.Start(rig.Dockerd)); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 30*time.Second, func() error {
				_, err := k.Docker("exec", "one.app.r2", "touch", "/ok")
				return err
			})
			is("one right", "one.app running")
			if env := k.D("inspect", "-f", "{{.Config.Env}}", "one.app"); !strings.Contains(env, "VERSION=3") {
				t.Errorf("app is %s", env)
			}
			k.Set("rm", "-f", "one")
		})
	}
}
