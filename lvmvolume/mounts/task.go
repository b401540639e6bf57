package mounts

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// task is a thread of a process; dir is its folder below /proc.
type task struct {
	pid   int
	dir   string
	space uint64 // its mount namespace
}

// tasks returns one task at least for each mount namespace, those of older
// processes first. A thread may have left its process's namespace, as dockerd's
// do while they copy files in and out of a container. denied are the processes at
// which we may not look.
func tasks(ctx context.Context, proc string) (ts []task, denied []int, err error) {
	names, err := dirNames(proc)
	if err != nil {
		return nil, nil, fmt.Errorf("list the processes: %w", err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, nil, fmt.Errorf("list the processes: %w", err)
		}
		t := task{pid: pid, dir: name}
		if err := t.read(proc); err != nil {
			if !gone(err) {
				denied = append(denied, pid)
			}
			continue
		}
		ts = append(ts, t)
		ts = append(ts, strayThreads(proc, t)...)
	}
	slices.SortStableFunc(ts, func(a, b task) int { return cmp.Compare(a.pid, b.pid) })
	return ts, denied, nil
}

// strayThreads returns the threads of a process that are in other mount
// namespaces than its first one.
func strayThreads(proc string, first task) []task {
	dir := filepath.Join(first.dir, "task")
	// Its links count its threads, and two; that spares most processes a list.
	const single = 3
	var st unix.Stat_t
	if unix.Stat(filepath.Join(proc, dir), &st) != nil || st.Nlink <= single {
		return nil
	}
	names, err := dirNames(filepath.Join(proc, dir))
	if err != nil {
		return nil
	}
	var ts []task
	for _, name := range names {
		t := task{pid: first.pid, dir: filepath.Join(dir, name)}
		if name != first.dir && t.read(proc) == nil && t.space != first.space {
			ts = append(ts, t)
		}
	}
	return ts
}

// read fills in the namespace.
func (t *task) read(proc string) error {
	l, err := os.Readlink(filepath.Join(proc, t.dir, "ns/mnt"))
	if err != nil {
		return err
	}
	number, _ := strings.CutPrefix(l, "mnt:[")
	t.space, err = strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return err
}

func dirNames(path string) ([]string, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	return d.Readdirnames(-1)
}
