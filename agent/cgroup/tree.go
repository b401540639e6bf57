package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Tree is the cgroup hierarchies of a host by their mount points.
type Tree struct {
	V2 string // "" where version 2 is not mounted
	// Unified says that the controllers are version 2's. Else a tree of version 2
	// beside those of version 1 gives pressure and little more.
	Unified bool
	V1      map[string]string // by controller
}

// references are the controllers of version 1 whose tree is scanned: the first
// that is mounted. Docker makes a container's folder in all of them.
func references() []string { return []string{"memory", "cpu", "cpuacct", "pids", "blkio"} }

// Mounted finds the hierarchies in the text of /proc/PID/mountinfo. A host without
// any is an [errdefs.ErrUnavailable].
func Mounted(mountinfo string) (Tree, error) {
	t := Tree{V1: map[string]string{}}
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		mount, super := strings.Fields(left), strings.Fields(right)
		// Mounts of a part of a tree are what containers got.
		if !ok || len(mount) < 5 || len(super) < 3 || mount[3] != "/" {
			continue
		}
		point := unescape(mount[4])
		switch super[0] {
		case "cgroup2":
			if t.V2 == "" {
				t.V2 = point
			}
		case "cgroup":
			for o := range strings.SplitSeq(super[2], ",") {
				if _, taken := t.V1[o]; !taken && o != "rw" && o != "ro" {
					t.V1[o] = point
				}
			}
		}
	}
	if t.V2 != "" {
		b, err := os.ReadFile(path.Join(t.V2, "cgroup.controllers"))
		t.Unified = err == nil && slices.Contains(strings.Fields(string(b)), "memory")
	}
	if t.reference() == "" {
		return t, fmt.Errorf("no cgroup tree is mounted that holds containers: mount cgroup2 on /sys/fs/cgroup: %w", errdefs.ErrUnavailable)
	}
	return t, nil
}

// unescape turns the octal escapes of mountinfo into the characters they mean.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func (t Tree) reference() string {
	if !t.Unified {
		for _, c := range references() {
			if p := t.V1[c]; p != "" {
				return p
			}
		}
	}
	return t.V2
}

// Dir is the folder of a cgroup in the tree of a controller, or "" without that
// tree. The controller "" is version 2 where version 1 has the controllers.
func (t Tree) Dir(controller, cgroup string) string {
	root := t.V2
	if !t.Unified && controller != "" {
		root = t.V1[controller]
	}
	if root == "" {
		return ""
	}
	return path.Join(root, cgroup)
}

// Found is a container's cgroup.
type Found struct {
	ID   string // 64 hex digits
	Path string // from the root of the tree: /docker/…
}

// Limits of a scan, far above what hosts have: a tree that is made to be deep
// costs a look, not the host.
const (
	maxDepth = 12
	maxDirs  = 20_000
)

// Scan finds all containers, and the folders in which further ones could appear,
// as paths of the file system. Folders that vanish meanwhile are left out.
func (t Tree) Scan() (found []Found, dirs []string, err error) {
	root := t.reference()
	type at struct {
		path  string
		depth int
	}
	todo := []at{{"/", 0}}
	for len(todo) > 0 && len(dirs) < maxDirs {
		here := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		entries, err := os.ReadDir(path.Join(root, here.path))
		switch {
		case err == nil:
		case here.depth == 0:
			return nil, nil, fmt.Errorf("look for containers: %w", err)
		case errors.Is(err, os.ErrPermission):
			return nil, nil, fmt.Errorf("look for containers: %w: run as root", err)
		default:
			continue // it is gone
		}
		dirs = append(dirs, path.Join(root, here.path))
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			p := path.Join(here.path, e.Name())
			if id, ok := ID(e.Name()); ok {
				found = append(found, Found{ID: id, Path: p})
			} else if here.depth < maxDepth {
				todo = append(todo, at{p, here.depth + 1})
			}
		}
	}
	slices.SortFunc(found, func(a, b Found) int { return strings.Compare(a.Path, b.Path) })
	return found, dirs, nil
}

const idLen = 64

// ID is the container's id in the name of its cgroup's folder.
func ID(dir string) (id string, ok bool) {
	id = strings.TrimSuffix(strings.TrimPrefix(dir, "docker-"), ".scope")
	if len(id) != idLen || dir != id && dir != "docker-"+id+".scope" {
		return "", false
	}
	return id, strings.Trim(id, "0123456789abcdef") == ""
}
