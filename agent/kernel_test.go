package agent

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// kernel is a folder in the cgroup trees of this machine that is taken for the
// whole of them, since others may run containers here, and an Engine's data root.
type kernel struct {
	t    testing.TB
	tree cgroup.Tree
	root string // data root
}

func newKernel(tb testing.TB) *kernel {
	tb.Helper()
	testx.Need(tb, testx.Root)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatal(err)
	}
	tree, err := cgroup.Mounted(string(mounts))
	if err != nil {
		tb.Fatal(err)
	}
	k := &kernel{t: tb, tree: tree, root: tb.TempDir()}
	top := "/mosagent-" + strconv.Itoa(os.Getpid())
	k.mkdir(top)
	whole := &kernel{t: tb, tree: cgroup.Tree{V2: tree.V2, Unified: tree.Unified, V1: maps.Clone(tree.V1)}}
	tb.Cleanup(func() { whole.remove(top) })
	for c := range tree.V1 {
		k.tree.V1[c] = tree.Dir(c, top)
	}
	if tree.V2 != "" {
		k.tree.V2 = filepath.Join(tree.V2, top)
	}
	return k
}

// dirs are the folders of a cgroup in all trees.
func (k *kernel) dirs(cg string) []string {
	if k.tree.Unified {
		return []string{k.tree.Dir("", cg)}
	}
	var out []string
	for _, c := range []string{"cpu", "cpuacct", "memory", "blkio", "pids", ""} {
		if d := k.tree.Dir(c, cg); d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

func (k *kernel) mkdir(cg string) {
	k.t.Helper()
	for _, d := range k.dirs(cg) {
		if err := os.MkdirAll(d, 0o755); err != nil {
			k.t.Fatal(err)
		}
		// What is below gets files only when each folder above says so.
		for up := k.tree.V2; k.tree.Unified && up != d; {
			_ = os.WriteFile(filepath.Join(up, "cgroup.subtree_control"), []byte("+cpu +memory +io +pids"), 0o600)
			rest, _ := filepath.Rel(up, d)
			first, _, _ := strings.Cut(rest, "/")
			up = filepath.Join(up, first)
		}
	}
}

func (k *kernel) remove(cg string) {
	k.t.Helper()
	for _, d := range k.dirs(cg) {
		err := testx.Poll(5*time.Second, func() error {
			var below []string
			_ = filepath.WalkDir(d, func(p string, e os.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					below = append(below, p)
				}
				return nil
			})
			var errs []error
			for _, b := range slices.Backward(below) {
				if err := os.Remove(b); err != nil && !errors.Is(err, os.ErrNotExist) {
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		})
		if err != nil {
			k.t.Error(err)
		}
	}
}

func id(n int) string { return fmt.Sprintf("%064x", n+1) }

// container makes the cgroup and the files of a container.
func (k *kernel) container(parent string, n int, name, labels string) string {
	k.t.Helper()
	dir := filepath.Join(k.root, "containers", id(n))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		k.t.Fatal(err)
	}
	for file, text := range map[string]string{
		"config.v2.json":  `{"Name":"/` + name + `","Config":{"Image":"img:1","Labels":` + labels + `}}`,
		"hostconfig.json": `{}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			k.t.Fatal(err)
		}
	}
	cg := filepath.Join("/", parent, id(n))
	k.mkdir(cg)
	return cg
}

// run runs a command in a cgroup until the test's end.
func (k *kernel) run(cg string, argv ...string) (kill func()) {
	k.t.Helper()
	var script strings.Builder
	for _, d := range k.dirs(cg) {
		fmt.Fprintf(&script, "echo $$ > %s/cgroup.procs || exit 9\n", d)
	}
	cmd := exec.Command("sh", append([]string{"-c", script.String() + `exec "$@"`, "sh"}, argv...)...)
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	k.t.Cleanup(kill)
	return kill
}

func (k *kernel) open() *Agent {
	k.t.Helper()
	cfg := Defaults()
	cfg.DockerRoot, cfg.DockerExec, cfg.HostName = k.root, k.root, "h1"
	cfg.Interval = config.Duration{Duration: 100 * time.Millisecond}
	cfg.SlowInterval = cfg.Interval
	a, err := open(cfg, k.tree, testx.Logger(k.t))
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			k.t.Error(err)
		}
	})
	return a
}

// start runs the agent until the test's end.
func (k *kernel) start(a *Agent) {
	var work sync.WaitGroup
	ctx := k.t.Context()
	work.Go(func() { a.Run(ctx) })
	k.t.Cleanup(work.Wait)
}

// point is a copy of an object's point, nil if it is not measured.
func point(a *Agent, scope metric.Scope, name string) (p *metric.Point) {
	a.View(func(s *metric.Sample) {
		for _, q := range s.Points {
			if q.Object.Scope == scope && q.Object.Name == name {
				p = &metric.Point{Object: q.Object, Series: slices.Clone(q.Series)}
			}
		}
	})
	return p
}

// age has all containers be as old as wants a second look.
func age(a *Agent) {
	for _, t := range a.targets {
		if !t.fresh.IsZero() {
			t.fresh = t.fresh.Add(-again)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}
