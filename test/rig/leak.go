package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// cgroupList is the file in a host's folder that lists its cgroups.
const cgroupList = "cgroups"

// state is what a host has that can leak: how often each thing is there.
type state map[string]int

// Baseline makes what the host has at this moment the state that
// [Host.LeakCheck] compares with. [New] does it when the host is up; call it
// again when further daemons have made what they keep, such as a bridge.
func (h *Host) Baseline() error {
	s, err := h.state()
	if err == nil {
		h.base = s
	}
	return err
}

// Leaks compares the host's links, named network namespaces, mounts, processes
// and cgroups with the baseline and returns what is there beyond it.
func (h *Host) Leaks() error {
	s, err := h.state()
	if err != nil {
		return err
	}
	var errs []error
	for _, thing := range slices.Sorted(maps.Keys(s)) {
		if more := s[thing] - h.base[thing]; more > 0 {
			errs = append(errs, fmt.Errorf("%s: left over: %s (%d more than before)", h.Name, thing, more))
		}
	}
	return errors.Join(errs...)
}

// LeakCheck is [Host.Leaks] for the end of a test: what is just being taken
// away has five seconds to go.
func (h *Host) LeakCheck() error { return testx.Poll(5*time.Second, h.Leaks) }

func (h *Host) state() (state, error) {
	s := state{}
	root := h.space.proc("root")
	// Docker's own network namespaces show as mounts; it keeps their files for
	// a minute longer.
	for kind, dir := range map[string]string{"link": "sys/class/net", "netns": "run/netns"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			s[kind+" "+e.Name()]++
		}
	}
	mounts, err := os.ReadFile(h.space.proc("mountinfo"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			s["mount "+fields[4]]++
		}
	}
	comms, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*/comm"))
	if err != nil {
		return nil, err
	}
	for _, comm := range comms {
		// A process that ended since is no leak.
		if b, err := os.ReadFile(comm); err == nil && !zombie(comm) {
			s["process "+strings.TrimSpace(string(b))]++
		}
	}
	for _, top := range h.cg.tops {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			// dockerd keeps the parent of its containers' cgroups.
			if err == nil && d.IsDir() && path != top && path != filepath.Join(top, "docker") {
				s["cgroup "+path]++
			}
			return nil
		})
	}
	return s, nil
}

// zombie reports whether the process is only a number that somebody may still
// ask for.
func zombie(comm string) bool {
	stat, err := os.ReadFile(filepath.Join(filepath.Dir(comm), "stat"))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

// left returns what the machine itself has of a rig whose nodes are closed.
func (r *Rig) left() error {
	if r.dir == "" {
		return nil
	}
	name := filepath.Base(r.dir)
	var errs []error
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	errs = append(errs, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/"+name+"/") {
			errs = append(errs, fmt.Errorf("left over: mount %s", strings.TrimSpace(line)))
		}
	}
	cgroups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	errs = append(errs, err)
	for _, file := range cgroups {
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), "/"+name+"-") {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			errs = append(errs, fmt.Errorf("left over: process %s %q", filepath.Dir(file), strings.ReplaceAll(string(cmdline), "\x00", " ")))
		}
	}
	return errors.Join(errs...)
}

// sweep removes the files and cgroups of rigs whose process was killed. Their
// own processes ended with it.
func sweep(base string) {
	locks, _ := filepath.Glob(filepath.Join(base, "mosrig-*", "lock"))
	for _, path := range locks {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			dir := filepath.Dir(path)
			lists, _ := filepath.Glob(filepath.Join(dir, "*", cgroupList))
			gone := true
			for _, list := range lists {
				if b, err := os.ReadFile(list); err == nil {
					gone = (&cgroup{tops: strings.Fields(string(b))}).remove() == nil && gone
				}
			}
			if gone { // else the next one needs the list again
				_ = os.RemoveAll(dir)
			}
		}
		_ = f.Close()
	}
}
