package names

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr"
)

// oneSet is an Engine with one container, of which it tells one pid after the other, the last
// one for good.
type oneSet struct{ pids []int }

func (o *oneSet) PID(context.Context, string) (int, error) {
	pid := o.pids[0]
	if len(o.pids) > 1 {
		o.pids = o.pids[1:]
	}
	return pid, nil
}

func (*oneSet) Events(ctx context.Context, _ func(), _ func(setmgr.Happened)) error {
	<-ctx.Done()
	return ctx.Err()
}

// moving is a process with a network of its own, and with another after next.
func moving(t *testing.T) (pid int, next func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c",
		`ip link set lo up; read x; exec unshare -n sh -c "ip link set lo up; exec sleep 1000"`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	is := func() string {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return ns
	}
	leaves := func(was string) {
		t.Helper()
		testx.Eventually(t, 10*time.Second, func() error {
			if is() == was {
				return errors.New("it has the network that it had")
			}
			if !up(cmd.Process.Pid) {
				return errors.New("its loopback is not up")
			}
			return nil
		})
	}
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	leaves(host)
	return cmd.Process.Pid, func() {
		was := is()
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		leaves(was)
	}
}

// up says whether the loopback of a process is, by its local routes.
func up(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/fib_trie", pid))
	return err == nil && strings.Contains(string(data), "127.0.0.1")
}

// answered says whether somebody listens for names in the network of a process.
func answered(t *testing.T, pid int) bool {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(data), "0C00007F:0035")
}

func names(t *testing.T) *Server {
	t.Helper()
	s, err := Open("mos.internal", t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.wanted["web-1"] = true
	t.Cleanup(func() { s.end(context.Background()) })
	return s
}

// TestAPidThatIsUsedAgain: a set whose infra container was started anew, with the pid that it
// had, is answered in the network that it has now.
func TestAPidThatIsUsedAgain(t *testing.T) {
	testx.Need(t, testx.Root)
	pid, next := moving(t)
	s, e := names(t), &oneSet{[]int{pid}}
	s.lookAt(t.Context(), e, "web-1")
	if !answered(t, pid) {
		t.Fatalf("nobody answers at first: %v", s.failed)
	}
	next()
	s.lookAt(t.Context(), e, "web-1")
	if !answered(t, pid) {
		t.Errorf("nobody answers in the network that it has now: %v", s.failed)
	}
}

// TestAPidOfAnother: the container ends while its network is looked for, so the pid may be
// of anybody by then. Nobody else's network is entered.
func TestAPidOfAnother(t *testing.T) {
	testx.Need(t, testx.Root)
	pid, _ := moving(t)
	for name, then := range map[string]int{"ended": 0, "started": os.Getpid()} {
		s := names(t)
		s.lookAt(t.Context(), &oneSet{[]int{pid, then}}, "web-1")
		if answered(t, pid) || len(s.served) > 0 {
			t.Errorf("%s: the network of a stranger has our sockets", name)
		}
	}
}
