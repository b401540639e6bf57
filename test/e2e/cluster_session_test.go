package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestSessionsOfAService: logs, commands and processes of a service's sets come over
// mos-scheduler and mosd; codes are those of the commands, and one whose user goes ends.
func TestSessionsOfAService(t *testing.T) {
	h := lab.NewSets(t, rig.Config{Engine: rig.EngineNew}).Hosts[0]
	h.Network("prod", "--subnet", "10.9.0.0/24")
	h.Cluster()
	h.Set("service", "create", "-f", serviceFile(t, "1"))
	runs(t, h, 3, "1")

	if out := h.Set("service", "exec", "web-1", "app", "netcheck", "get", "http://127.0.0.1:7000/"); out == "" {
		t.Error("a command of a set wrote nothing")
	}
	if out := h.Set("service", "exec", "-t", "web-2", "netcheck", "get", "http://127.0.0.1:7000/"); out == "" {
		t.Error("a command with a terminal wrote nothing")
	}
	_, err := h.TrySet("service", "exec", "web-1", "netcheck", "nonsense")
	if code, ok := errors.AsType[*exec.ExitError](err); !ok || code.ExitCode() != 2 {
		t.Errorf("a command that ends with 2: %v", err)
	}
	if _, err := h.TrySet("service", "exec", "web-1", "infra", "true"); err == nil {
		t.Error("the infra container was entered")
	}
	if out := h.Set("service", "top", "web-3", "app"); !strings.Contains(out, "netcheck serve :7000") {
		t.Errorf("processes: %s", out)
	}
	// Two sets whose container says something and ends, over and over.
	talk := filepath.Join(t.TempDir(), "talk.json")
	text := fmt.Sprintf(`{"name": "talk", "spec": {"replicas": 2, "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"},
  "Containers": [{"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Command": ["netcheck", "get", "http://%s:7000/"]}}]}}}`, rig.Image, h.IP("web-2.infra", "prod"))
	if err := os.WriteFile(talk, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Set("service", "create", "-d", "-f", talk)
	testx.Eventually(t, 60*time.Second, func() error {
		out, err := h.TrySet("service", "logs", "talk")
		if err == nil && (!strings.Contains(out, "talk-1.app | ") || !strings.Contains(out, "talk-2.app | ")) {
			err = fmt.Errorf("logs: %q", out)
		}
		return err
	})
	// Who follows hears on after the container has ended, and after another has taken its place.
	follow := `log=$(mktemp); "$@" >$log 2>&1 & pid=$!
		more() { was=$(wc -l <$log); for n in $(seq 1500); do test $(wc -l <$log) -ge $((was+$1)) && return; kill -0 $pid || return; sleep 0.1; done; }
		more 2; docker rm -f talk-1.app >$log.said; more 1
		kill -0 $pid && echo goes on; kill -TERM $pid; wait $pid; echo "code $?"; cat $log; rm -f $log $log.said`
	out, err := h.Exec(t.Context(), append([]string{"sh", "-c", follow, "sh"}, h.SetCommand("service", "logs", "--follow", "--tail", "0", "talk-1")...)...)
	if lines := strings.Count(out, "ok web-2"); err != nil || !strings.HasPrefix(out, "goes on\ncode 143\n") || lines < 2+1 {
		t.Errorf("over restarts and a replacement the log says %v %q", err, out)
	}
	h.Set("service", "rm", "talk")

	// One who goes takes the command along: it runs no longer in the container.
	argv := h.SetCommand("service", "exec", "web-1", "app", "netcheck", "serve", ":7999")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := h.Exec(ctx, argv...); done <- err }()
	serves := func() bool {
		out, err := h.TrySet("service", "top", "web-1", "app")
		return err == nil && strings.Contains(out, ":7999")
	}
	testx.Eventually(t, 30*time.Second, func() error {
		if !serves() {
			return errors.New("the command does not run yet")
		}
		return nil
	})
	cancel()
	<-done
	testx.Eventually(t, 30*time.Second, func() error {
		if serves() {
			return errors.New("the command runs still")
		}
		return nil
	})
	h.Set("service", "rm", "web")
	runs(t, h, 0, "")
}
