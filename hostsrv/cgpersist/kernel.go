package cgpersist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// kernel reads and writes files of cgroups.
type kernel struct {
	tree    cgroup.Tree
	systemd *systemd // nil where that does not run
}

func (k kernel) version() int {
	if k.tree.Unified {
		return 2
	}
	return 1
}

func (k kernel) atoms(name, value string) ([]setting.Atom, error) {
	return setting.Atoms(k.version(), name, value, number)
}

// number is the MAJOR:MINOR of a device.
func number(device string) (string, error) {
	if !strings.HasPrefix(device, "/") {
		return device, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return "", fmt.Errorf("device %s: %w", device, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", fmt.Errorf("%s is no block device", device)
	}
	return numbers(st.Rdev), nil
}

func numbers(dev uint64) string {
	return strconv.FormatUint(uint64(unix.Major(dev)), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(dev)), 10)
}

// errNoGroup says that the cgroup is not there, or not yet.
var errNoGroup = errors.New("its cgroup is not there")

// path is that of the file of an atom. That a host does not have it is of class
// NotImplemented.
func (k kernel) path(group string, a setting.Atom) (string, error) {
	dir := k.tree.Dir(a.Controller, group)
	if dir == "" {
		return "", fault.Later("%s: this host has no controller %s: it is not mounted", a.Setting, a.Controller)
	}
	p := path.Join(dir, a.File)
	if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	if _, err := os.Stat(dir); err != nil {
		return "", errNoGroup
	}
	if k.version() == 2 {
		on, err := os.ReadFile(path.Join(path.Dir(dir), "cgroup.subtree_control"))
		if err == nil && !strings.Contains(" "+strings.TrimSpace(string(on))+" ", " "+a.Controller+" ") {
			return "", fault.Later("%s: controller %s is not on in the cgroup around it, %s: write +%s to its cgroup.subtree_control", a.Setting, a.Controller, path.Dir(group), a.Controller)
		}
	}
	return "", fault.Later("%s: this kernel has no %s", a.Setting, a.File)
}

// get is the value of an atom.
func (k kernel) get(group string, a setting.Atom) (string, error) {
	p, err := k.path(group, a)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(p)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return "", errNoGroup
	case errors.Is(err, syscall.EOPNOTSUPP):
		return "", fault.Later("%s: this kernel has %s, but cannot do it", a.Setting, a.File)
	}
	return a.In(string(b)), err
}

// put makes the value of an atom so, and returns what is read then.
func (k kernel) put(ctx context.Context, group, unit string, a setting.Atom, value string) (string, error) {
	p, err := k.path(group, a)
	if err != nil {
		return "", err
	}
	if unit != "" && a.Property != "" && k.systemd != nil {
		if err := k.systemd.set(ctx, unit, a, value); err != nil {
			return "", err
		}
	}
	// Also beside a property: systemd writes later, when it comes to it.
	text := a.Text(value)
	if text == "" {
		text = "\n" // of a list that is to be empty: nothing would be no write
	}
	err = os.WriteFile(p, []byte(text), 0)
	if value == "" && errors.Is(err, syscall.ENOSPC) {
		// A cpuset that has processes is not made empty again: it gets all that is
		// around it, which is the same.
		var all []byte
		if all, err = os.ReadFile(path.Join(path.Dir(path.Dir(p)), a.File+".effective")); err == nil {
			err = os.WriteFile(p, all, 0)
		}
	}
	if err != nil {
		return "", refused(a, value, err)
	}
	got, err := k.get(group, a)
	if reason, invalid := strings.CutPrefix(got, value+" invalid"); err == nil && invalid { // of a partition
		return got, fault.Conflict("%s cannot be %s: the kernel says%s", a.Setting, value, reason)
	}
	return got, err
}

// refused says why the kernel did not take a value.
func refused(a setting.Atom, value string, err error) error {
	said := fmt.Sprintf("%s cannot be %s", a.Setting, a.Text(value))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV) && a.Line == "":
		return errNoGroup
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return fault.Conflict("%s: there is no such device, or it is a partition: name the whole disk: %w", said, err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE):
		return fault.Conflict("%s: the kernel does not take that beside the other limits of its cgroup or of the one around it: %w", said, err)
	case errors.Is(err, syscall.EBUSY):
		return fault.Conflict("%s: more is in use: %w", said, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS):
		return fault.Conflict("%s: mosd may not write there: does it run in a container? %w", said, err)
	case errors.Is(err, syscall.EOPNOTSUPP):
		return fault.Later("%s: this kernel, or the scheduler of the device, cannot do that: %w", said, err)
	}
	return fmt.Errorf("%s: %w", said, err)
}

// inode is that of a cgroup's folder, 0 when it is not there.
func (k kernel) inode(group string) uint64 {
	controllers := []string{"memory", "cpu", "cpuacct", "pids", "blkio"} // a container is in all that are mounted
	for _, c := range controllers {
		dir := k.tree.Dir(c, group)
		if dir == "" {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			return 0
		}
		return st.Ino
	}
	return 0
}

// fits refuses values above the limits of a cgroup that is there, and of those around it.
func (k kernel) fits(t Target, group, name, value string) error {
	s, err := setting.Find(name)
	if err != nil || s.Bound == setting.Unbound {
		return err
	}
	if s.Bound == setting.ByCPUs {
		return k.fitsCPUs(t, group, name, value)
	}
	if s.Bound == setting.ByQuota {
		return k.fitsQuota(t, group, name, value)
	}
	at := group
	if s.Bound == setting.BySame {
		at = path.Dir(group)
	}
	for ; at != "/" && at != "."; at = path.Dir(at) {
		limit, what := k.limit(at, s)
		if limit != "" && value != setting.Max && setting.Above(value, limit) {
			return fault.Conflict("%s of %s cannot be %s: %s of cgroup %s is %s: give less, or raise that first", name, t, value, what, at, limit)
		}
	}
	return nil
}

// limit is what bounds a setting at one cgroup, "" for nothing.
func (k kernel) limit(at string, s setting.Setting) (limit, what string) {
	controller, _, _ := strings.Cut(s.Name, ".")
	what = s.Name
	if s.Bound == setting.ByMemory {
		what = "memory.max"
	}
	file := what
	if k.version() == 1 {
		file = s.V1
		if s.Bound == setting.ByMemory {
			file = "memory.limit_in_bytes"
		}
	}
	b, err := os.ReadFile(path.Join(k.tree.Dir(controller, at), file))
	if err != nil {
		return "", what
	}
	return strings.TrimSpace(string(b)), what
}

func (k kernel) fitsQuota(t Target, group, name, value string) error {
	dir := k.tree.Dir("cpu", group)
	var quota string
	if k.version() == 1 {
		b, err := os.ReadFile(path.Join(dir, "cpu.cfs_quota_us"))
		if err != nil {
			return nil //nolint:nilerr // it is not running: its start will tell
		}
		quota = strings.TrimSpace(string(b))
	} else {
		b, err := os.ReadFile(path.Join(dir, "cpu.max"))
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		quota, _, _ = strings.Cut(string(b), " ")
	}
	limitIt := "docker update --cpus"
	if t.Set() != "" {
		limitIt = "docker set resize --cpus"
	}
	switch {
	case value == "0":
		return nil
	case quota == setting.Max || quota == "-1":
		return fault.Conflict("%s of %s means nothing without a limit of its CPU: %s first", name, t, limitIt)
	case setting.Above(value, quota):
		return fault.Conflict("%s of %s cannot be %s: it is at most its quota of %s microseconds: give less, or %s first", name, t, value, quota, limitIt)
	}
	return nil
}

func (k kernel) fitsCPUs(t Target, group, name, value string) error {
	file := strings.TrimSuffix(name, ".exclusive")
	effective := file + ".effective"
	if k.version() == 1 {
		effective = file
	}
	b, err := os.ReadFile(path.Join(k.tree.Dir("cpuset", path.Dir(group)), effective))
	if err != nil {
		return nil //nolint:nilerr // it is not running: its start will tell
	}
	have, err := setting.List(strings.TrimSpace(string(b)))
	if err != nil {
		return nil //nolint:nilerr // it has none: what is around it is not made yet
	}
	want, err := setting.List(value)
	if err != nil {
		return err
	}
	for _, n := range want {
		if !contains(have, n) {
			return fault.Conflict("%s of %s cannot be %s: the cgroup around it has %s", name, t, value, strings.TrimSpace(string(b)))
		}
	}
	return nil
}
