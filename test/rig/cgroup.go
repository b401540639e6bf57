package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroup is the part of the machine's cgroup trees that one host lives in. It
// is the root of what the host sees.
type cgroup struct {
	v1   []string // its folder in each hierarchy of version 1
	v2   string   // its folder in a pure version 2 tree, else ""
	tops []string // what to remove: the rig's folders
}

// newCgroup makes a cgroup in all hierarchies.
func newCgroup(name string) (*cgroup, error) {
	if _, err := os.Stat(cgroupRoot + "/cgroup.controllers"); err == nil {
		cg := &cgroup{v2: filepath.Join(cgroupRoot, name)}
		cg.tops = []string{cg.v2}
		return cg, os.Mkdir(cg.v2, 0o755)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	cg := new(cgroup)
	for line := range strings.Lines(string(own)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] == "" {
			continue // the version 2 tree beside version 1
		}
		// Below this process's own cgroup, so that limits set on it hold
		// for the rig too.
		parent := filepath.Join(cgroupRoot, strings.TrimPrefix(parts[1], "name="), parts[2])
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(err, cg.remove())
		}
		cg.v1, cg.tops = append(cg.v1, dir), append(cg.tops, dir)
		// A new cpuset is empty and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if b, err := os.ReadFile(filepath.Join(parent, file)); err == nil {
				if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
					return nil, errors.Join(err, cg.remove())
				}
			}
		}
	}
	return cg, nil
}

// born makes cmd start in the cgroup where version 2 allows that; done must be
// called after the start.
func (cg *cgroup) born(cmd *exec.Cmd) (done func(), err error) {
	if cg.v2 == "" {
		return func() {}, nil
	}
	dir := cg.v2
	if init := filepath.Join(dir, "init"); exists(init) {
		dir = init // processes live in leaves only
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	return func() { _ = f.Close() }, nil
}

// join returns argv with what moves a process into the cgroup before it
// becomes argv, in version 1, from inside the host.
func (cg *cgroup) join(argv []string) []string {
	if cg.v2 != "" {
		return argv
	}
	script := `for f in ` + cgroupRoot + `/*/cgroup.procs; do echo 0 >"$f"; done; exec "$@"`
	return append([]string{"/bin/sh", "-c", script, "sh"}, argv...)
}

// remove removes the cgroup with all below it. Its processes must be gone; the
// kernel gets some time to notice.
func (cg *cgroup) remove() error { return testx.Poll(5*time.Second, cg.removeOnce) }

// removeOnce removes deepest first.
func (cg *cgroup) removeOnce() error {
	var errs []error
	for _, top := range cg.tops {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove cgroup: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
