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
	followThrough(t, h)

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

// followThrough has a service's log followed while a set comes, one container is replaced and
// mos-scheduler is killed and starts again: each line is told once, and it ends with the service.
func followThrough(t *testing.T, h *lab.Host) {
	t.Helper()
	count := filepath.Join(t.TempDir(), "count.json")
	text := fmt.Sprintf(`{"name": "count", "spec": {"replicas": 1, "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"},
  "Containers": [{"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, "Command": ["sh", "-c", "id=$(cat /proc/sys/kernel/random/uuid); for n in $(seq 9999); do echo $id $n; sleep 0.2; done"]}}]}}}`, rig.Image)
	if err := os.WriteFile(count, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Set("service", "create", "-f", count)
	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	done := make(chan error, 1)
	argv := h.SetCommand("service", "logs", "--follow", "count")
	go func() {
		_, err := h.Exec(t.Context(), append([]string{"sh", "-c", `log=$1; shift; exec "$@" >$log 2>$log.errors`, "sh", log}, argv...)...)
		done <- err
	}()
	told := func(set string, most int) {
		t.Helper()
		seen := 0
		testx.Eventually(t, 60*time.Second, func() error {
			data, err := os.ReadFile(log)
			now := strings.Count(string(data), set+".app | ")
			if seen == 0 {
				seen = now + 1
			}
			if err == nil && now < seen+most {
				errs, _ := os.ReadFile(log + ".errors") // only to tell
				err = fmt.Errorf("%d lines of %s, want %d; errors %q", now, set, seen+most, errs)
			}
			return err
		})
	}
	told("count-1", 5)
	h.Set("service", "scale", "count=2")
	told("count-2", 5)
	h.MustDocker(t, "rm", "-f", "count-1.app")
	told("count-1", 5)
	if err := errors.Join(h.Kill9(lab.Scheduler), h.Start(lab.Scheduler)); err != nil {
		t.Fatal(err)
	}
	told("count-1", 20)
	told("count-2", 20)
	h.Set("service", "rm", "count")
	if err := <-done; err != nil {
		t.Errorf("it ended with: %v", err)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for line := range strings.Lines(string(data)) {
		var set, id string
		var n int
		if _, err := fmt.Sscanf(line, "%s | %s %d", &set, &id, &n); err != nil || n != last[id]+1 {
			t.Errorf("after line %d of %s there is %q: %v", last[id], id, line, err)
		}
		last[id] = n
	}
	if len(last) != 3 {
		t.Errorf("%d containers wrote, want 3", len(last))
	}
}
