package cgpersist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/docker"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is real cgroups, with files of an Engine beside them.
type host struct {
	*Keeper

	t    *testing.T
	cfg  Config
	tree cgroup.Tree
	root string // cgroup that all are in
	mu   sync.Mutex
	told []string
}

func newHost(t *testing.T) *host {
	t.Helper()
	testx.Need(t, testx.Root)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, root: fmt.Sprintf("/mostest%d", os.Getpid())}
	if h.tree, err = cgroup.Mounted(string(mounts)); err != nil {
		t.Fatal(err)
	}
	h.cfg = Config{
		Records: filepath.Join(t.TempDir(), "records"), State: filepath.Join(t.TempDir(), "held"), Engine: docker.Dirs{Root: t.TempDir()},
		Note: func(_ context.Context, _, text string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.told = append(h.told, text)
		},
	}
	t.Cleanup(func() {
		if h.Keeper != nil {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, tree := range h.trees() {
			_ = os.Remove(filepath.Join(tree, h.root))
		}
	})
	h.open()
	return h
}

func (h *host) trees() []string {
	if h.tree.Unified {
		return []string{h.tree.V2}
	}
	var out []string
	for _, p := range h.tree.V1 {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// open begins a daemon, after the end of the one before.
func (h *host) open() {
	h.t.Helper()
	if h.Keeper != nil {
		if err := h.Close(); err != nil {
			h.t.Fatal(err)
		}
		h.Keeper = nil
	}
	k, err := open(h.cfg, h.tree, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	h.Keeper = k
}

func id(n int) string { return fmt.Sprintf("%064x", n+1) }

// container makes the files and the cgroup of one.
func (h *host) container(n int, name string) {
	h.t.Helper()
	h.labelled(n, name, "{}")
}

func (h *host) labelled(n int, name, labels string) {
	h.t.Helper()
	dir := filepath.Join(h.cfg.Engine.Root, "containers", id(n))
	err := errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(dir+"/config.v2.json", fmt.Appendf(nil, `{"Name":"/%s","State":{"Running":true},"Config":{"Labels":%s}}`, name, labels), 0o600),
		os.WriteFile(dir+"/hostconfig.json", []byte(`{"NetworkMode":"none"}`), 0o600),
	)
	if err != nil {
		h.t.Fatal(err)
	}
	h.group(n)
}

// group makes the cgroup of a container, until the test ends.
func (h *host) group(n int) {
	h.t.Helper()
	for _, tree := range h.trees() {
		if err := os.MkdirAll(filepath.Join(tree, h.root), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if h.tree.Unified {
			for _, dir := range []string{"", h.root} {
				if err := os.WriteFile(filepath.Join(tree, dir, "cgroup.subtree_control"), []byte("+cpu +memory +pids +io +cpuset"), 0); err != nil {
					h.t.Fatal(err)
				}
			}
		}
		if err := os.Mkdir(filepath.Join(tree, h.root, id(n)), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	h.t.Cleanup(func() { h.drop(n) })
}

func (h *host) drop(n int) {
	for _, tree := range h.trees() {
		_ = os.Remove(filepath.Join(tree, h.root, id(n)))
	}
}

// weight is the file of cpu.weight, in which weights are counted so.
func (h *host) weight(n int) string {
	if h.tree.Unified {
		return path.Join(h.tree.V2, h.root, id(n), "cpu.weight")
	}
	return path.Join(h.tree.V1["cpu"], h.root, id(n), "cpu.shares")
}

func (h *host) weighs(n, want int) error {
	b, err := os.ReadFile(h.weight(n))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(b)); got != h.as(want) {
		return fmt.Errorf("the weight is %s, want %s", got, h.as(want))
	}
	return nil
}

// as is a weight as the host's version has it.
func (h *host) as(weight int) string {
	if h.tree.Unified {
		return strconv.Itoa(weight)
	}
	return strconv.Itoa((weight*1024 + 50) / 100)
}

func (h *host) set(target, name, value string) {
	h.t.Helper()
	if _, err := h.Set(h.t.Context(), target, map[string]string{name: value}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestLifeOfASetting: it is set, changed by others and mended, changed, handed to a new
// daemon, and taken away.
func TestLifeOfASetting(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	h.set("web", "cpu.weight", "200")
	h.must(h.weighs(0, 200))
	h.must(os.WriteFile(h.weight(0), []byte(h.as(50)), 0))
	rows, err := h.List(t.Context(), "web")
	h.must(err)
	h.must(h.weighs(0, 200))
	if len(rows) != 1 || rows[0].Repairs != 1 || rows[0].State != api.CgroupHeld || rows[0].Repaired.IsZero() || rows[0].Kernel != h.as(200) {
		t.Errorf("got %+v", rows)
	}
	var metrics strings.Builder
	h.must(h.WriteMetrics(&metrics))
	for _, want := range []string{`mos_cgroup_repairs_total{target="web",setting="cpu.weight"} 1`, `mos_cgroup_settings{state="held"} 1`} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("no %s in\n%s", want, &metrics)
		}
	}
	if want := []string{"cpu.weight of container web was changed by somebody, and is 200 again"}; !slices.Equal(h.told, want) {
		t.Errorf("told %q", h.told)
	}
	h.set(id(0)[:64], "cpu.weight", "300") // by its id
	h.must(h.weighs(0, 300))

	// A daemon that is away sees a change at its start, and knows what was before.
	h.must(os.WriteFile(h.weight(0), []byte(h.as(60)), 0))
	h.open()
	rows, err = h.List(t.Context(), "")
	h.must(err)
	h.must(h.weighs(0, 300))
	if len(rows) != 1 || rows[0].Repairs != 1 {
		t.Errorf("got %+v", rows)
	}
	_, err = h.Unset(t.Context(), "web", []string{"cpu.weight"})
	h.must(err)
	h.must(h.weighs(0, 60))
	if files, _ := os.ReadDir(h.cfg.Records); len(files) != 0 {
		t.Errorf("records are left: %v", files)
	}
}

// What others changed since it was written is theirs, also when a setting goes.
func TestUnsetLeavesWhatOthersWroteSince(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	h.set("web", "cpu.weight", "200")
	h.must(h.records.save("web", nil)) // the record goes, and a daemon comes
	h.must(os.WriteFile(h.weight(0), []byte(h.as(70)), 0))
	h.open()
	_, err := h.List(t.Context(), "")
	h.must(err)
	h.must(h.weighs(0, 70))
}

// TestRunSeesWhatHappens: cgroups that come, files that are written to, without a look
// by hand.
func TestRunSeesWhatHappens(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { h.Run(ctx) })
	defer work.Wait()
	defer cancel()
	h.set("web", "cpu.weight", "200")
	soon := func(what string) {
		t.Helper()
		begin := time.Now()
		testx.Eventually(t, time.Second, func() error { return h.weighs(0, 200) })
		t.Logf("%s: mended after %v", what, time.Since(begin).Round(time.Millisecond))
	}
	for range 3 {
		h.must(os.WriteFile(h.weight(0), []byte(h.as(50)), 0))
		soon("a write")
	}
	h.drop(0)
	h.group(0)
	soon("a cgroup made again")
	rows, err := h.List(t.Context(), "")
	h.must(err)
	if rows[0].Repairs != 3 {
		t.Errorf("%d repairs, want 3: a new cgroup needs none", rows[0].Repairs)
	}
	h.drop(0)
	testx.Eventually(t, time.Second, func() error {
		rows, err := h.List(t.Context(), "")
		if err == nil && rows[0].State != api.CgroupWaiting {
			err = fmt.Errorf("it is %s", rows[0].State)
		}
		return err
	})
}

// What a set's file gives a member holds, unless it is given another value by hand.
func TestSettingsOfASetsFile(t *testing.T) {
	h := newHost(t)
	h.labelled(0, "web.app", `{"mos.set":"web","mos.role":"member","mos.member":"app","mos.spec":"{\"Name\":\"app\",\"Image\":\"x\",\"Options\":{\"Cgroup\":{\"cpu.weight\":\"200\"}}}"}`)
	source := func(want string) {
		t.Helper()
		rows, err := h.List(t.Context(), "web.app")
		h.must(err)
		if len(rows) != 1 || rows[0].Source != want || rows[0].State != api.CgroupHeld {
			t.Errorf("got %+v, want it from %s", rows, want)
		}
	}
	source(api.CgroupBySpec)
	h.must(h.weighs(0, 200))
	h.set("web.app", "cpu.weight", "300")
	source(api.CgroupByRecord)
	h.must(h.weighs(0, 300))
	if _, err := h.Set(t.Context(), "web.app", map[string]string{"cpu.idle": "1"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a clash with the file: %v", err)
	}
	_, err := h.Unset(t.Context(), "web.app", []string{"cpu.weight"})
	h.must(err)
	source(api.CgroupBySpec)
	h.must(h.weighs(0, 200))
}

// What the kernel refuses takes the whole call back.
func TestNothingIsHalfInForce(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	h.set("web", "cpu.weight", "150")
	for _, bad := range []map[string]string{
		{"cpu.weight": "200", "io.max": "0:77 wbps=1m"}, // the kernel knows no such device
		{"cpu.weight": "200", "cpu.max.burst": "1000"},  // there is no quota
		{"cpu.weight": "200", "pids.max": "none"},
		{"cpu.idle": "1"},
	} {
		rows, err := h.Set(t.Context(), "web", bad)
		if err == nil {
			t.Errorf("%v: got %v", bad, rows)
		}
		h.must(h.weighs(0, 150))
		if got := fmt.Sprint(h.want["web"]); got != "map[cpu.weight:150]" {
			t.Errorf("%v: the record is %s", bad, got)
		}
	}
	h.open()
	if got := fmt.Sprint(h.want); got != "map[container web:map[cpu.weight:150]]" {
		t.Errorf("the records are %s", got)
	}
}

func TestValuesAboveALimitAreRefused(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	pids := path.Join(h.tree.Dir("pids", h.root), "pids.max")
	h.must(os.WriteFile(pids, []byte("50"), 0))
	_, err := h.Set(t.Context(), "web", map[string]string{"pids.max": "51"})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "pids.max of cgroup "+h.root+" is 50") {
		t.Errorf("got %v", err)
	}
	h.set("web", "pids.max", "50")
	_, err = h.Set(t.Context(), "web", map[string]string{"cpuset.cpus": "8000"})
	if !errdefs.IsFailedPrecondition(err) && !strings.Contains(fmt.Sprint(err), "the cgroup around it has") {
		t.Errorf("got %v", err)
	}
}

// Records that cannot be read are told, and the others kept.
func TestBrokenRecordsAreNamed(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	h.set("web", "cpu.weight", "200")
	h.must(h.weighs(0, 200))
	for name, text := range map[string]string{
		"container-cut.json":     `{"version":1,"tar`,
		"container-old.json":     `{"version":9,"target":"old"}`,
		"container-x.json":       `{"version":1,"target":"y"}`,
		"set-up.json":            `{"version":1,"target":"set/up","settings":{"cpu.wieght":"1"}}`,
		"container-web.json.new": `half`,
		"container-deep.json":    `{"version":1,"target":"../../etc"}`,
	} {
		h.must(os.WriteFile(filepath.Join(h.cfg.Records, name), []byte(text), 0o600))
	}
	h.open()
	rows, err := h.List(t.Context(), "")
	h.must(err)
	var faulty []string
	for _, r := range rows {
		if r.State == api.CgroupFaulty {
			faulty = append(faulty, r.Target)
			if !strings.Contains(r.Detail, "mend or remove it") {
				t.Errorf("%s: %s", r.Target, r.Detail)
			}
		}
	}
	slices.Sort(faulty)
	if want := []string{"container-cut.json", "container-deep.json", "container-old.json", "container-x.json", "set-up.json"}; !slices.Equal(faulty, want) {
		t.Errorf("faulty are %q", faulty)
	}
	h.must(os.WriteFile(h.weight(0), []byte(h.as(50)), 0))
	_, err = h.List(t.Context(), "")
	h.must(err)
	h.must(h.weighs(0, 200))
	// Without what was before, an unset leaves what is.
	h.must(os.WriteFile(h.cfg.State, []byte("{"), 0o600))
	h.open()
	_, err = h.Unset(t.Context(), "web", nil)
	h.must(err)
	h.must(h.weighs(0, 200))
}

func TestCallsOverHTTP(t *testing.T) {
	h := newHost(t)
	h.container(0, "web")
	mux := http.NewServeMux()
	h.Register(mux)
	call := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		b, _ := io.ReadAll(w.Body)
		return w.Code, string(b)
	}
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/v1/cgroup/set", `{"target":"web","settings":{"cpu.weight":"200"}}`, 200, `"state":"held"`},
		{"POST", "/v1/cgroup/set", `{"target":"web","settings":{}}`, 400, "there is nothing to set"},
		{"POST", "/v1/cgroup/set", `{"target":"web","set":{}}`, 400, "not understood"},
		{"POST", "/v1/cgroup/set", ``, 400, "not understood"},
		{"POST", "/v1/cgroup/set", `{"target":"wep","settings":{"cpu.weight":"1"}}`, 404, "did you mean web?"},
		{"GET", "/v1/cgroup?target=web", "", 200, `"setting":"cpu.weight"`},
		{"GET", "/v1/cgroup?target=w/b", "", 400, "neither the name"},
		{"POST", "/v1/cgroup/unset", `{"target":"web","settings":["pids.max"]}`, 404, "it has cpu.weight"},
		{"POST", "/v1/cgroup/unset", `{"target":"web"}`, 200, `[]`},
		{"POST", "/v1/cgroup/unset", `{"target":"web"}`, 404, "no settings of its own"},
	} {
		code, body := call(tt.method, tt.path, tt.body)
		if code != tt.code || !strings.Contains(body, tt.want) || !json.Valid([]byte(body)) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", tt.method, tt.path, tt.body, code, body, tt.code, tt.want)
		}
	}
	h.must(h.weighs(0, 100))
}
