package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestTopShowsWhatIsUsed in a terminal, in a script, and in a browser.
func TestTopShowsWhatIsUsed(t *testing.T) {
	testx.Need(t, testx.Browser)
	const address = "127.0.0.1:9250"
	k := keep(t, rig.Engine20, false, "-agent.interval=200ms", "-listen="+address)
	k.Set("up", "-q", webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t))
	k.D("run", "-d", "--name", "alone", "--network", "prod", "--stop-timeout", "0", rig.Image, "sleep", "100000")
	k.Set("exec", "-d", "web", "app", "sh", "-c", "while :; do :; done")

	var app api.Use
	testx.Eventually(t, 20*time.Second, func() error {
		out := k.Mos("top", "--no-stream", "--format", "json")
		seen := map[string]api.Use{}
		for line := range strings.Lines(out) {
			var u api.Use
			if err := json.Unmarshal([]byte(line), &u); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			seen[u.Scope+" "+u.Name] = u
		}
		for _, name := range []string{"set web", "container web.infra", "container web.log", "container alone"} {
			if _, there := seen[name]; !there {
				return fmt.Errorf("%s is not in\n%s", name, out)
			}
		}
		if app = seen["container web.app"]; app.CPUPercent < 30 || app.CPUPercent > 115 || app.MemoryLimit <= 0 || app.Set != "web" || app.Member != "app" {
			return fmt.Errorf("a busy loop is %+v", app)
		}
		if s := seen["set web"]; s.CPU < app.CPU/2 || s.CPULimit != 1 {
			return fmt.Errorf("its set is %+v", s)
		}
		return nil
	})
	t.Logf("a busy loop: %.2f cores, %.0f %% of its limit", app.CPU, app.CPUPercent)
	if out := k.Mos("top", "--format", "{{.Name}}", "--sort", "name", "web"); out != "web\n  app\n  cache\n  infra\n  log" {
		t.Errorf("a set with its containers is\n%s", out)
	}
	if _, err := k.TryMos("top", "nobody"); err == nil || !strings.Contains(err.Error(), "there is no set nobody that runs: there are web") {
		t.Errorf("a set that is not there: %v", err)
	}
	// Live, until somebody ends it, which is no fault.
	line := strings.Join(k.MosCommand("top", "--interval", "200ms"), " ")
	out, err := k.Exec(t.Context(), "timeout", "--preserve-status", "-s", "INT", "3", "script", "-qec", line, "/dev/null")
	if n := strings.Count(out, "\x1b[H"); n < 3 || !strings.Contains(out, "  app") {
		t.Errorf("on a terminal it was drawn %d times: %q, %v", n, out, err)
	}

	testx.Eventually(t, time.Minute, func() error {
		dom, err := k.Exec(t.Context(), "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(),
			"--virtual-time-budget=8000", "--dump-dom", "http://"+address+"/")
		if err != nil {
			return err
		}
		for _, want := range []string{`<tr class="set"><td>web</td><td class=" what">right</td>`, `<tr class="member"><td>app</td>`, `<tr class="container"><td>alone</td>`, "the Engine is well"} {
			if !strings.Contains(dom, want) {
				return fmt.Errorf("%s is not in\n%s", want, dom)
			}
		}
		return nil
	})
	k.Set("rm", "-f", "-v", "web")
}
