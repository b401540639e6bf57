package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

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

func (s *slices) Drop(ctx context.Context, parent string) error {
	if strings.Contains(parent, "/") {
		return fault.Invalid("%q is no slice", parent)
	}
	return s.with(ctx, func(b bus) error {
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
