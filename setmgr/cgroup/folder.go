package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// folders are cgroup parents as folders of the cgroup file system.
type folders struct {
	root    string
	version int
	record  string
}

func (f *folders) Set(_ context.Context, parent string, l plan.Limits) error {
	if err := f.write(parent, l); err != nil {
		return fmt.Errorf("cap %s: %w", parent, err)
	}
	return f.remember(parent, &l)
}

func (f *folders) write(parent string, l plan.Limits) error {
	if f.version == 2 {
		return f.write2(parent, l)
	}
	cpu, memory := filepath.Join(f.root, "cpu", parent), filepath.Join(f.root, "memory", parent)
	for _, dir := range []string{cpu, memory} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	if err := put(cpu, "cpu.cfs_period_us", plan.Period); err != nil {
		return err
	}
	return errors.Join(put(cpu, "cpu.cfs_quota_us", plan.Quota(l.CPU)), putMemory(memory, l.MEM))
}

// putMemory sets memory, and memory with swap, of which the second must never be
// the smaller one.
func putMemory(dir string, m spec.Bytes) error {
	const both = "memory.memsw.limit_in_bytes"
	n := int64(m)
	if m == 0 {
		n = -1
	}
	if _, err := os.Stat(filepath.Join(dir, both)); err != nil {
		return put(dir, "memory.limit_in_bytes", n) // a kernel that does not account for swap
	}
	have, err := number(filepath.Join(dir, "memory.limit_in_bytes"))
	if err != nil {
		return err
	}
	order := []string{"memory.limit_in_bytes", both}
	if n < 0 || n > have {
		order = []string{both, "memory.limit_in_bytes"}
	}
	for _, name := range order {
		if err := put(dir, name, n); err != nil {
			return err
		}
	}
	return nil
}

func (f *folders) write2(parent string, l plan.Limits) error {
	dir := f.root
	for part := range strings.SplitSeq(strings.Trim(parent, "/"), "/") {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +memory"), 0); err != nil {
			return err
		}
		dir = filepath.Join(dir, part)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	if err := fits(dir, l.MEM); err != nil {
		return err
	}
	quota, memory := "max", "max"
	if l.CPU > 0 {
		quota = strconv.FormatInt(plan.Quota(l.CPU), 10)
	}
	if l.MEM > 0 {
		memory = strconv.FormatUint(uint64(l.MEM), 10)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cpu.max"), []byte(quota+" "+strconv.Itoa(plan.Period)), 0),
		os.WriteFile(filepath.Join(dir, "memory.max"), []byte(memory), 0),
	)
}

// fits looks whether those in a cgroup of version 2 can live with so much memory. The
// kernel would take a limit below what is in use, and kill processes for it; what it
// caches of files it gives back.
func fits(dir string, m spec.Bytes) error {
	used, err := number(filepath.Join(dir, "memory.current"))
	if err != nil || m == 0 {
		return absent(err) // a new one
	}
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return absent(err)
	}
	for line := range strings.Lines(string(stat)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key == "active_file" || key == "inactive_file" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", key, dir, err)
			}
			used -= n
		}
	}
	if used > int64(m) {
		return fault.Conflict("its containers use %v of memory, which is more than %v: let them use less, or stop some first", spec.Bytes(used), m)
	}
	return nil
}

func put(dir, file string, n int64) error {
	err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(n, 10)), 0)
	switch {
	case errors.Is(err, syscall.EBUSY):
		return fault.Conflict("%s cannot be %d: more is in use: let the containers use less, or stop some first: %w", file, n, err)
	case errors.Is(err, syscall.EINVAL):
		return fault.Conflict("%s cannot be %d: a container in it is allowed more, or what it is in is allowed less: change that first: %w", file, n, err)
	}
	return err
}

func number(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	s := strings.TrimSpace(string(b))
	if s == "max" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil { // -1
		return strconv.ParseInt(s, 10, 64)
	}
	return int64(min(n, 1<<62)), nil
}

func (f *folders) Read(_ context.Context, parent string) (l plan.Limits, there bool, err error) {
	dirs, err := f.dirs(parent)
	if err != nil || len(dirs) == 0 {
		return l, false, err
	}
	l, err = f.limits(parent)
	return l, true, err
}

// dirs are the folders of a parent that there are.
func (f *folders) dirs(parent string) ([]string, error) {
	if f.version == 2 {
		return filepath.Glob(filepath.Join(f.root, parent))
	}
	return filepath.Glob(filepath.Join(f.root, "*", parent))
}

func (f *folders) limits(parent string) (l plan.Limits, err error) {
	cpu, memory := f.cpu1, filepath.Join(f.root, "memory", parent, "memory.limit_in_bytes")
	if f.version == 2 {
		cpu, memory = f.cpu2, filepath.Join(f.root, parent, "memory.max")
	}
	if l.CPU, err = cpu(parent); absent(err) != nil {
		return l, err
	}
	m, err := number(memory)
	const none = 1 << 60 // the kernel tells so of no limit
	if err == nil && m > 0 && m < none {
		l.MEM = spec.Bytes(m)
	}
	return l, absent(err)
}

// cpu1 and cpu2 read a quota by the version of cgroups.
func (f *folders) cpu1(parent string) (spec.Cores, error) {
	dir := filepath.Join(f.root, "cpu", parent)
	quota, err := number(filepath.Join(dir, "cpu.cfs_quota_us"))
	if err != nil || quota <= 0 {
		return 0, err
	}
	period, err := number(filepath.Join(dir, "cpu.cfs_period_us"))
	return spec.Cores(float64(quota) / float64(max(period, 1))), err
}

func (f *folders) cpu2(parent string) (spec.Cores, error) {
	b, err := os.ReadFile(filepath.Join(f.root, parent, "cpu.max"))
	if err != nil {
		return 0, err
	}
	quota, period, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if quota == "max" {
		return 0, nil
	}
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil {
		return 0, err
	}
	p, err := strconv.ParseFloat(period, 64)
	return spec.Cores(q / max(p, 1)), err
}

func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *folders) Drop(ctx context.Context, parent string) error {
	dirs, err := f.dirs(parent)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := removeDir(ctx, dir); err != nil {
			return err
		}
		_ = syscall.Rmdir(filepath.Dir(dir)) // the folder of all sets, with the last one
	}
	return f.remember(parent, nil)
}

// patience is how long the last process of a parent may be on its way out. After a part of
// it what is left in there is taken for that of containers whose runtime died before it
// cleared up.
const (
	patience = 3 * time.Second
	litter   = time.Second
)

// removeDir removes a cgroup.
func removeDir(ctx context.Context, dir string) error {
	for began, end := time.Now(), time.Now().Add(patience); ; {
		if time.Since(began) > litter {
			removeEmpty(dir)
		}
		err := syscall.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, syscall.EBUSY), time.Now().After(end):
			return fault.Conflict("cgroup %s cannot be removed: containers are in it: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// removeEmpty removes what is below a cgroup, as far as the kernel lets it: one that has a
// process stays.
func removeEmpty(dir string) {
	below, err := os.ReadDir(dir)
	if err != nil {
		return // it is gone
	}
	for _, e := range below {
		if e.IsDir() {
			child := filepath.Join(dir, e.Name())
			removeEmpty(child)
			_ = syscall.Rmdir(child)
		}
	}
}
