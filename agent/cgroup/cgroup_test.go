package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	idA = strings.Repeat("a1", 32)
	idB = strings.Repeat("b2", 32)
)

func TestTreesAreFoundInTheMountTable(t *testing.T) {
	pure := t.TempDir()
	if err := os.WriteFile(pure+"/cgroup.controllers", []byte("cpuset cpu io memory pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, mounts string
		want         Tree
		missing      bool
	}{
		{"version 2", "30 23 0:26 / " + pure + " rw,nosuid shared:4 - cgroup2 none rw,nsdelegate\n", Tree{V2: pure, Unified: true, V1: map[string]string{}}, false},
		{
			"hybrid", "32 31 0:29 / /cg/cpu,cpuacct rw - cgroup none rw,cpu,cpuacct\n35 31 0:32 / /cg/mem\\040ory rw - cgroup none rw,memory\n41 31 0:38 / /cg/unified rw - cgroup2 none rw\n",
			Tree{V2: "/cg/unified", V1: map[string]string{"cpu": "/cg/cpu,cpuacct", "cpuacct": "/cg/cpu,cpuacct", "memory": "/cg/mem ory"}},
			false,
		},
		{"a container's part of a tree is none", "35 31 0:32 /docker/x /cg/memory ro - cgroup none rw,memory\n", Tree{V1: map[string]string{}}, true},
		{"nothing", "1 0 0:1 / / rw - ext4 /dev/vda rw\nbroken\n", Tree{V1: map[string]string{}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Mounted(tt.mounts)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if errdefs.IsUnavailable(err) != tt.missing {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestContainersOfBothDriversAreFound(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{
		"docker/" + idA + "/nested/" + idB, // what a container makes inside is its own
		"mosset.slice/mosset-web.slice/docker-" + idB + ".scope",
		"system.slice/docker-" + strings.Repeat("z", 64) + ".scope",
		"system.slice/docker.service",
		"docker/" + idA[:12],
	} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	found, dirs, err := Tree{V1: map[string]string{"memory": root}}.Scan()
	if err != nil {
		t.Fatal(err)
	}
	want := []Found{{idA, "/docker/" + idA}, {idB, "/mosset.slice/mosset-web.slice/docker-" + idB + ".scope"}}
	if d := cmp.Diff(want, found); d != "" {
		t.Error(d)
	}
	for _, d := range dirs {
		if strings.Contains(d, idA) && !strings.HasSuffix(d, idA[:12]) {
			t.Errorf("a container's own folder is watched: %s", d)
		}
	}
	if _, _, err := (Tree{V2: root + "/none"}).Scan(); err == nil {
		t.Error("a tree that is not there has containers")
	}
}

func TestWatchSeesFoldersComeAndGo(t *testing.T) {
	root := t.TempDir()
	w, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if added, err := w.Follow([]string{root, root + "/gone"}); !added || err != nil {
		t.Fatalf("added %v, %v", added, err)
	}
	if added, _ := w.Follow([]string{root}); added {
		t.Error("a folder is new twice")
	}
	for _, change := range []func() error{
		func() error { return os.Mkdir(root+"/c", 0o755) },
		func() error { return os.Remove(root + "/c") },
	} {
		select {
		case <-w.C:
			t.Fatal("something changed before anything did")
		default:
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.C:
		case <-time.After(5 * time.Second):
			t.Fatal("no change was seen")
		}
	}
}
