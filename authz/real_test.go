package authz_test

import (
	"bufio"
	"bytes"
	"context"
	md5sum "crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Remove()
	os.Exit(code)
}

// policyText makes tenant a of everybody who comes by the Engine's own socket, and
// of uid 0 and group 2000 at the guarded one, where group 3000 is tenant b and uid
// 4000 an operator.
const policyText = `version = 1
[[who]]
name = "ops"
uid = [4000]
profile = "operator"
[[who]]
name = "a"
local = true
uid = [0]
gid = [2000]
profile = "tenant"
[[who]]
name = "b"
gid = [3000]
profile = "tenant"
[[who]]
name = "ci"
gid = [5000]
profile = "ci"
`

// host is what has an Engine: one of a rig's, or the machine itself.
type host interface {
	Docker(args ...string) (string, error)
	MustDocker(tb testing.TB, args ...string) string
	Socket() string
	Path(path string) string // of its file, as seen from here
}

// bench is an Engine with mos-authz beside it, which it asks when guarded.
type bench struct {
	host
	rig    *rig.Host // the same, or nil
	admin  *api.Client
	major  int      // of the Engine's version
	enter  []string // what a command begins with to run there
	mos    string   // docker-mos there
	reload func() error
}

// brief says that an Engine is tried in what is its own only: docker is the same.
func (b *bench) brief() bool { return b.major > 26 || !b.whole() }

// whole says that what takes minutes in the VM is tried: not there, but by test/night authz.
func (b *bench) whole() bool { return b.rig != nil || os.Getenv("MOS_FULL") != "" }

// TestEngines is all that needs an Engine, on one of each kind: it takes longer to
// start one than to try it.
func TestEngines(t *testing.T) {
	for _, e := range rig.Engines() {
		t.Run(string(e), func(t *testing.T) {
			r := rig.New(t, rig.Config{Engine: e})
			b := start(t, r.Host(1), map[rig.Engine]int{rig.Engine20: 20, rig.EngineNew: 29}[e])
			t.Run("AttacksFail", func(t *testing.T) { attacksFail(t, b) })
			t.Run("OrdinaryLifeOfATenant", func(t *testing.T) { ordinaryLife(t, b) })
			if b.major >= 29 {
				t.Run("NoGRPCPassesTheGuardedSocket", func(t *testing.T) { noGRPC(t, b) })
			}
			t.Run("OthersAreNotReachedByTheirNames", func(t *testing.T) { namesHold(t, b) })
			t.Run("SetsOfATenant", func(t *testing.T) { setsOfATenant(t, b) })
			t.Run("SharesHold", func(t *testing.T) { sharesHold(t, b) })
			if b.major >= 29 {
				return
			}
			t.Run("PolicyChangesWhileItIsInForce", func(t *testing.T) { policyChanges(t, b) })
		})
	}
}

func start(tb testing.TB, h *rig.Host, major int) *bench {
	tb.Helper()
	b := &bench{
		host: h, rig: h, major: major, admin: api.New(filepath.Join(filepath.Dir(h.Socket()), "mos", "mos-authz.sock")),
		enter:  []string{"nsenter", "--target", strconv.Itoa(h.Holder()), "--mount", "--net", "--pid"},
		reload: func() error { return h.Signal(rig.Dockerd, syscall.SIGHUP) }, mos: lab.Program(tb, "docker-mos"),
	}
	b.write(tb, "/etc/mos/policy.toml", policyText)
	argv := []string{lab.Program(tb, "mos-authz"), "-log.level=debug", "-interval=100ms"}
	err := h.StartDaemon(rig.Daemon{Name: "mos-authz", Argv: argv, Ready: func() error {
		_, err := b.admin.Status(context.Background())
		return err
	}})
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(b.guardedSocket(), 0o666); err != nil { // the host has no group mos
		tb.Fatal(err)
	}
	return b
}

func (b *bench) guardedSocket() string {
	return filepath.Join(filepath.Dir(b.Socket()), "mos", "docker.sock")
}

func (b *bench) write(tb testing.TB, path, text string) {
	tb.Helper()
	p := b.Path(path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// guard makes the Engine ask the plugin, or not any more.
func (b *bench) guard(tb testing.TB, on bool) {
	tb.Helper()
	plugins := []string{}
	if on {
		plugins = append(plugins, "mos-authz")
	}
	text, _ := json.Marshal(map[string]any{"authorization-plugins": plugins})
	b.write(tb, "/etc/docker/daemon.json", string(text))
	if err := b.reload(); err != nil {
		tb.Fatal(err)
	}
	testx.Eventually(tb, time.Minute, func() error {
		code, body := b.raw(tb, b.Socket(), get("/plugins"))
		if guarded := code == http.StatusForbidden; guarded != on {
			return fmt.Errorf("guarded is %v: %d %s", guarded, code, body)
		}
		return nil
	})
}

func get(uri string) string { return "GET " + uri + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func post(uri, contentType, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", uri, contentType, len(body), body)
}

// raw sends bytes to a socket and reads one answer.
func (b *bench) raw(tb testing.TB, socket, text string) (int, string) {
	tb.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.WriteString(c, text) }() // which is answered before it is all read, when refused
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body)
}

// as runs docker at the guarded socket as a user and a group.
func (b *bench) as(tb testing.TB, uid, gid int, stdin string, args ...string) (string, error) {
	tb.Helper()
	return b.with(tb, "DOCKER_BUILDKIT=0", uid, gid, stdin, args...)
}

// with is as with an entry of the environment.
func (b *bench) with(tb testing.TB, env string, uid, gid int, stdin string, args ...string) (string, error) {
	tb.Helper()
	return b.run(env, uid, gid, stdin, append([]string{"env", "DOCKER_CONFIG=/tmp/docker-" + strconv.Itoa(uid), "docker", "-H", "unix:///run/mos/docker.sock"}, args...)...)
}

// run runs a command there with an entry of the environment.
func (b *bench) run(env string, uid, gid int, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	argv := slices.Concat(b.enter, []string{
		"setpriv", fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", gid), "--clear-groups",
		"env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "TMPDIR=/tmp", env,
	})
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), err
}

// a, b are tenants; must fails the test.
func (b *bench) a(tb testing.TB, args ...string) string {
	tb.Helper()
	return b.aWith(tb, "", args...)
}

func (b *bench) aWith(tb testing.TB, stdin string, args ...string) string {
	tb.Helper()
	out, err := b.as(tb, 1000, 2000, stdin, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// refused runs docker, which must fail with want in its words.
func (b *bench) refused(tb testing.TB, uid, gid int, want string, args ...string) {
	tb.Helper()
	out, err := b.as(tb, uid, gid, "", args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		tb.Errorf("docker %s as %d:%d: got %q, %v; want a refusal with %q", strings.Join(args, " "), uid, gid, out, err, want)
	}
}

func md5(s string) string {
	sum := md5sum.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}
