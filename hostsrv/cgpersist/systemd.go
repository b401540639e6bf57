package cgpersist

import (
	"context"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	dbus "github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// systemd sets properties of units that hold containers.
type systemd struct{}

// openSystemd is nil where systemd does not run.
func openSystemd() *systemd {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil
	}
	return &systemd{}
}

// busLimit is how long systemd may take.
const busLimit = 5 * time.Second

// set gives a unit the property of an atom, until the host starts again: records make
// it anew then.
func (s *systemd) set(ctx context.Context, unit string, a setting.Atom, value string) error {
	v, err := property(a, value)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, busLimit)
	defer cancel()
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fault.Unavailable("systemd cannot be asked to set %s of %s: %w", a.Property, unit, err)
	}
	defer conn.Close()
	if err := conn.SetUnitPropertiesContext(ctx, unit, true, dbus.Property{Name: a.Property, Value: v}); err != nil {
		return fault.Conflict("systemd does not set %s of %s: %w", a.Property, unit, err)
	}
	return nil
}

// property is a value as systemd takes it.
func property(a setting.Atom, value string) (godbus.Variant, error) {
	switch {
	case a.Property == "AllowedCPUs" || a.Property == "AllowedMemoryNodes":
		mask := []byte{} // of all
		if value != "" {
			list, err := setting.List(value)
			if err != nil {
				return godbus.Variant{}, err
			}
			for _, n := range list {
				for len(mask) <= n/8 {
					mask = append(mask, 0)
				}
				mask[n/8] |= 1 << (n % 8)
			}
		}
		return godbus.MakeVariant(mask), nil
	case a.Setting == "cpu.idle":
		const idle, usual = 0, 100 // CGROUP_WEIGHT_IDLE and CGROUP_WEIGHT_DEFAULT
		if value == "1" {
			return godbus.MakeVariant(uint64(idle)), nil
		}
		return godbus.MakeVariant(uint64(usual)), nil
	case value == setting.Max:
		return godbus.MakeVariant(uint64(math.MaxUint64)), nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return godbus.Variant{}, fmt.Errorf("%s for %s: %w", value, a.Property, err)
	}
	return godbus.MakeVariant(n), nil
}

// unit is that of a container's cgroup, or of the parent of one, "" where the Engine
// drives cgroups by itself.
func unit(container string) (scope, slice string) {
	scope = path.Base(container)
	if !strings.HasSuffix(scope, ".scope") {
		return "", ""
	}
	return scope, path.Base(path.Dir(container))
}
