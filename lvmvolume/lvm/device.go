package lvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Device is an entry of the devices file.
type Device struct {
	Path   string // where it is, or was last; empty when it is not there
	IDType string // what it is known by: sys_wwid, sys_serial, loop_file, …
	IDName string
	PVID   string // empty when it is no PV
}

// AddDevices puts devices into the devices file, which lets LVM see them and
// the groups on them. Those that are in it are no error.
func (c *Client) AddDevices(ctx context.Context, devices ...string) error {
	devices, err := resolve(devices)
	if err != nil {
		return err
	}
	for _, d := range devices {
		// Without --yes lvm would ask where it knows a device by no identity.
		if _, err := c.change(ctx, "add device "+d+" to the devices file", c.command("lvmdevices", "--yes", "--adddev="+d)); err != nil {
			return err
		}
	}
	return c.syncDevices()
}

// syncDevices makes the devices file last. Without its disks in the file a group
// would be waited for after a cut.
func (c *Client) syncDevices() error {
	for _, path := range []string{c.devicesPath(), filepath.Dir(c.devicesPath())} {
		f, err := os.Open(path)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a fake has no file
			return fileError(path, err)
		}
	}
	return nil
}

// resolve checks paths and follows their links: lvm lists devices by their
// kernel's names.
func resolve(devices []string) ([]string, error) {
	var paths []string
	for _, d := range devices {
		if err := validDevice(d); err != nil {
			return nil, err
		}
		if p, err := filepath.EvalSymlinks(d); err == nil && validDevice(p) == nil {
			d = p
		}
		paths = append(paths, d)
	}
	return paths, nil
}

// withDevices calls do while devices are in the devices file. When it fails,
// those that were not in it before are taken out again.
func (c *Client) withDevices(ctx context.Context, devices []string, do func(devices []string) error) error {
	devices, err := resolve(devices)
	if err != nil {
		return err
	}
	listed, err := c.ListDevices(ctx)
	if err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(devices), func(d string) bool {
		return slices.ContainsFunc(listed, func(l Device) bool { return l.Path == d })
	})
	if err = c.AddDevices(ctx, devices...); err == nil {
		err = do(devices)
	}
	if err != nil {
		return errors.Join(err, c.RemoveDevices(context.WithoutCancel(ctx), fresh...))
	}
	return nil
}

// RemoveDevices takes devices out of the devices file and leaves what is on
// them. Those that are not in it are no error.
func (c *Client) RemoveDevices(ctx context.Context, devices ...string) error {
	devices, err := resolve(devices)
	if err != nil {
		return err
	}
	for _, d := range devices {
		_, err := c.change(ctx, "take device "+d+" out of the devices file", c.command("lvmdevices", "--yes", "--deldev="+d))
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// ListDevices returns the entries of the devices file.
func (c *Client) ListDevices(ctx context.Context) ([]Device, error) {
	out, err := c.read(ctx, "list the devices file", c.command("lvmdevices"))
	if err != nil {
		return nil, err
	}
	return parseDevices(string(out)), nil
}

// parseDevices reads lines like "Device /dev/vdc IDTYPE=sys_serial IDNAME=pv0
// DEVNAME=/dev/vdc PVID=…". A name may hold spaces, as paths do.
func parseDevices(out string) []Device {
	var devices []Device
	for line := range strings.Lines(out) {
		path, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "Device "), " IDTYPE=")
		if !ok {
			continue
		}
		d := Device{Path: path}
		d.IDType, rest, _ = strings.Cut(rest, " IDNAME=")
		d.IDName, rest, _ = strings.Cut(rest, " DEVNAME=")
		if _, id, ok := strings.Cut(rest, " PVID="); ok {
			d.PVID, _, _ = strings.Cut(id, " ")
		}
		if d.Path == "none" {
			d.Path = ""
		}
		if d.PVID == "none" || d.PVID == "." {
			d.PVID = ""
		}
		devices = append(devices, d)
	}
	return devices
}

// DeviceMapper says whether the kernel has a device mapper, by opening its
// control device. Without it only a client with NoKernel works.
func DeviceMapper() error {
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return fault.Conflict("the kernel has no device mapper (%w)", err)
	}
	return f.Close()
}

func cmdOf(argv []string) xexec.Cmd { return xexec.Cmd{Argv: argv} }
