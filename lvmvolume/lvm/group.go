package lvm

import (
	"context"
	"errors"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// DefaultMetadataSize is the size of the metadata area on each device of a
// group: lvm's own default is full at about 1,270 volumes, and cannot grow.
const DefaultMetadataSize = 64 << 20

// Group is a volume group to make.
type Group struct {
	Name         string
	Devices      []string // paths below /dev
	MetadataSize int64    // bytes; 0 is [DefaultMetadataSize]
	Tags         []string
	// Wipe lets lvm wipe signatures of file systems and the like from the
	// devices; without it a device with one is FailedPrecondition.
	Wipe bool
}

// CreateVG makes a group of devices, which come into the devices file. The host
// will not activate its volumes by itself.
func (c *Client) CreateVG(ctx context.Context, g Group) error {
	if g.MetadataSize == 0 {
		g.MetadataSize = DefaultMetadataSize
	}
	if err := errors.Join(ValidVGName(g.Name), checkSize("metadata area of "+g.Name, g.MetadataSize), checkTags(g.Tags...)); err != nil {
		return err
	}
	if len(g.Devices) == 0 {
		return fault.Invalid("create volume group %s: no device is named", g.Name)
	}
	return c.withDevices(ctx, g.Devices, func(devices []string) error {
		g.Devices = devices
		_, err := c.change(ctx, "create volume group "+g.Name+" on "+strings.Join(devices, ", "), c.createVGArgs(g))
		return err
	})
}

// ExtendVG adds devices to a group. The devices get metadata areas of the
// default size. It never wipes.
func (c *Client) ExtendVG(ctx context.Context, vg string, devices ...string) error {
	if err := ValidVGName(vg); err != nil || len(devices) == 0 {
		return err
	}
	return c.withDevices(ctx, devices, func(devices []string) error {
		argv := c.command("vgextend", "--metadatasize="+sizeArg(DefaultMetadataSize), vg)
		_, err := c.change(ctx, "extend volume group "+vg+" by "+strings.Join(devices, ", "), append(argv, devices...))
		return err
	})
}

// RemoveVG removes a group that has no volumes, takes LVM's labels from its
// devices and these from the devices file. An absent group is no error; one with
// volumes is FailedPrecondition.
func (c *Client) RemoveVG(ctx context.Context, vg string) error {
	if err := ValidVGName(vg); err != nil {
		return err
	}
	r, err := c.Report(ctx)
	if err != nil {
		return err
	}
	doing := "remove volume group " + vg
	// Without --yes lvm asks before it removes volumes, and an empty input
	// answers no.
	_, err = c.change(ctx, doing, c.command("vgremove", vg))
	if err = withoutAbsent(doing, err); err != nil {
		return err
	}
	var devices []string
	for _, p := range r.PVs {
		if p.VG == vg && !p.Missing {
			devices = append(devices, p.Device)
		}
	}
	if len(devices) == 0 {
		return nil
	}
	if _, err := c.change(ctx, doing, append(c.command("pvremove"), devices...)); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return c.RemoveDevices(ctx, devices...)
}

// RetagVG takes the tags del from a group and puts the tags add on it, by one
// commit. Tags that are there or gone already are no error.
func (c *Client) RetagVG(ctx context.Context, vg string, add, del []string) error {
	if err := errors.Join(ValidVGName(vg), checkTags(add...), checkTags(del...)); err != nil {
		return err
	}
	if len(add)+len(del) == 0 {
		return nil
	}
	argv := append(c.command("vgchange", tagArgs("--deltag=", del)...), tagArgs("--addtag=", add)...)
	_, err := c.change(ctx, "retag volume group "+vg, append(argv, vg))
	return err
}

// DiscardVG removes a group with all that is in it, whole or not, and then does
// what [Client.RemoveVG] does. It is for a group whose making was cut off.
func (c *Client) DiscardVG(ctx context.Context, vg string) error {
	if err := ValidVGName(vg); err != nil {
		return err
	}
	doing := "discard volume group " + vg
	r, err := c.Report(ctx)
	if err != nil {
		return err
	}
	// The group itself goes last, by RemoveVG, which knows its devices.
	var lvs []string
	for _, lv := range r.LVs {
		if lv.VG == vg {
			lvs = append(lvs, vg+"/"+lv.Name)
		}
	}
	if len(lvs) > 0 {
		_, err := c.change(ctx, doing, append(c.command("lvremove", "--yes", "--force", "--force"), lvs...))
		if err = withoutAbsent(doing, err); err != nil {
			return err
		}
	}
	return c.RemoveVG(ctx, vg)
}

// LostVG is the group of a device that is marked as one of a group, of which nothing can be
// read: a vgcreate that is cut off between the mark and the group leaves that. LVM takes no
// label from such a device.
const LostVG = "[unknown]"

// RemovePVs takes LVM's labels from devices that are in no group, as a cut
// vgcreate leaves them, and these from the devices file.
func (c *Client) RemovePVs(ctx context.Context, devices ...string) error {
	devices, err := resolve(devices)
	if err != nil || len(devices) == 0 {
		return err
	}
	doing := "take LVM's label from " + strings.Join(devices, ", ")
	if _, err := c.change(ctx, doing, append(c.command("pvremove"), devices...)); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return c.RemoveDevices(ctx, devices...)
}
