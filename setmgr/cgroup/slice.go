package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// bus is what slices need of systemd.
type bus interface {
	SetUnitPropertiesContext(ctx context.Context, name string, runtime bool, properties ...systemd.Property) error
	GetUnitTypePropertyContext(ctx context.Context, unit, unitType, name string) (*systemd.Property, error)
	StopUnitContext(ctx context.Context, name, mode string, ch chan<- string) (int, error)
	ReloadContext(ctx context.Context) error
	Close()
}

func connectSystemd(ctx context.Context) (bus, error) {
	return systemd.NewSystemdConnectionContext(ctx)
}

// slices are cgroup parents as slices of systemd. Their properties are drop-ins
// that last, and are there when a container puts the slice to use.
type slices struct {
	connect func(context.Context) (bus, error)
	dir     string // of the drop-ins
	root    string // of the cgroup file system
}

func (s *slices) with(ctx context.Context, f func(bus) error) error {
	b, err := s.connect(ctx)
	if err != nil {
		return fault.Unavailable("systemd cannot be asked: %w", err)
	}
	defer b.Close()
	return f(b)
}

func (s *slices) Set(ctx context.Context, parent string, l plan.Limits) error {
	cpu, memory := uint64(math.MaxUint64), uint64(math.MaxUint64)
	if l.CPU > 0 {
		cpu = uint64(float64(l.CPU)*1e6 + 0.5)
	}
	if l.MEM > 0 {
		memory = uint64(l.MEM)
	}
	return s.with(ctx, func(b bus) error {
		err := b.SetUnitPropertiesContext(
			ctx, parent, false,
			systemd.Property{Name: "CPUQuotaPerSecUSec", Value: dbus.MakeVariant(cpu)},
			systemd.Property{Name: "MemoryMax", Value: dbus.MakeVariant(memory)},
		)
		if err != nil {
			return fmt.Errorf("cap %s: %w", parent, err)
		}
		return nil
	})
}

func (s *slices) Read(ctx context.Context, parent string) (l plan.Limits, there bool, err error) {
	err = s.with(ctx, func(b bus) error {
		value := func(name string) (uint64, error) {
			p, err := b.GetUnitTypePropertyContext(ctx, parent, "Slice", name)
			if err != nil {
				return 0, fmt.Errorf("read %s of %s: %w", name, parent, err)
			}
			n, _ := p.Value.Value().(uint64)
			if n == math.MaxUint64 {
				n = 0
			}
			return n, nil
		}
		cpu, err := value("CPUQuotaPerSecUSec")
		if err != nil {
			return err
		}
		memory, err := value("MemoryMax")
		l = plan.Limits{CPU: spec.Cores(float64(cpu) / 1e6), MEM: spec.Bytes(memory)}
		return err
	})
	_, serr := os.Stat(filepath.Join(s.dir, parent+".d"))
	return l, l != (plan.Limits{}) || serr == nil, err
}

// Drop looks first whether somebody is in the slice: systemd stops a slice with all
// that is in it.
func (s *slices) Drop(ctx context.Context, parent string) error {
	if strings.Contains(parent, "/") || !strings.HasSuffix(parent, ".slice") {
		return fault.Invalid("%q is no slice", parent)
	}
	return s.with(ctx, func(b bus) error {
		if err := s.leave(ctx, b, parent); err != nil {
			return err
		}
		done := make(chan string, 1)
		if _, err := b.StopUnitContext(ctx, parent, "replace", done); err == nil {
			select {
			case <-done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return errors.Join(os.RemoveAll(filepath.Join(s.dir, parent+".d")), b.ReloadContext(ctx))
	})
}

// leave waits until no process is in a slice; the last one may be on its way out.
func (s *slices) leave(ctx context.Context, b bus, parent string) error {
	p, err := b.GetUnitTypePropertyContext(ctx, parent, "Slice", "ControlGroup")
	if err != nil {
		return fmt.Errorf("read ControlGroup of %s: %w", parent, err)
	}
	group, _ := p.Value.Value().(string)
	if group == "" {
		return nil // nobody ever was
	}
	for end := time.Now().Add(patience); ; {
		where, err := s.process(group)
		switch {
		case err != nil:
			return err
		case where == "":
			return nil
		case time.Now().After(end):
			return fault.Conflict("slice %s cannot be removed: processes are in it (%s): stop their containers first", parent, where)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// process is a cgroup below group that has a process, "" without one. systemd keeps
// its tree in that of version 2, or beside the controllers of version 1.
func (s *slices) process(group string) (where string, err error) {
	for _, tree := range []string{"", "systemd", "unified"} {
		err := filepath.WalkDir(filepath.Join(s.root, tree, group), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return absent(err)
			}
			procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if len(procs) > 0 {
				where = path
				return fs.SkipAll
			}
			if errors.Is(err, syscall.ENODEV) { // it went away meanwhile
				return nil
			}
			return absent(err)
		})
		if where != "" || err != nil {
			return where, err
		}
	}
	return "", nil
}
