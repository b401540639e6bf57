package lvm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Linear is a volume to make of a group's free space.
type Linear struct {
	VG, Name string
	Size     int64 // bytes, rounded up to whole extents
	Tags     []string
	Stripes  int // over how many devices; 0 and 1 are one
}

// CreateLinear makes a volume, active unless the client has no kernel, with the
// first sectors zeroed and known signatures wiped. What was on the space before
// is else readable.
func (c *Client) CreateLinear(ctx context.Context, v Linear) error {
	if err := errors.Join(checkLV(v.VG, v.Name), checkSize("volume "+v.Name, v.Size), checkTags(v.Tags...)); err != nil {
		return err
	}
	_, err := c.change(ctx, "create volume "+v.VG+"/"+v.Name, c.linearArgs(v))
	return err
}

// Thin is a volume to make in a thin pool.
type Thin struct {
	VG, Pool, Name string
	Size           int64 // bytes, rounded up to whole extents
	Tags           []string
}

// CreateThin makes a volume, active, that reads as zeros.
func (c *Client) CreateThin(ctx context.Context, v Thin) error {
	if err := errors.Join(checkLV(v.VG, v.Pool, v.Name), checkSize("volume "+v.Name, v.Size), checkTags(v.Tags...)); err != nil {
		return err
	}
	_, err := c.change(ctx, "create volume "+v.VG+"/"+v.Name+" in pool "+v.Pool, c.thinArgs(v))
	return err
}

// Snapshot is a writable copy to make of a thin volume, in the same pool.
type Snapshot struct {
	VG, Origin, Name string
	Tags             []string
	Active           bool // else [Client.Activate] does it later
}

// CreateSnapshot makes a snapshot. A mounted origin is held still for the
// moment, so that its file system is whole in the copy. An origin that is no
// thin volume is InvalidArgument.
func (c *Client) CreateSnapshot(ctx context.Context, v Snapshot) error {
	if err := errors.Join(checkLV(v.VG, v.Origin, v.Name), checkTags(v.Tags...)); err != nil {
		return err
	}
	_, err := c.change(ctx, "snapshot "+v.VG+"/"+v.Origin+" as "+v.Name, c.snapshotArgs(v))
	return err
}

// Extend grows a volume, or a pool's data, to size bytes, rounded up to whole
// extents. That size already is no error; a smaller one is InvalidArgument.
func (c *Client) Extend(ctx context.Context, vg, lv string, size int64) error {
	if err := errors.Join(checkLV(vg, lv), checkSize("volume "+lv, size)); err != nil {
		return err
	}
	return c.extend(ctx, vg, lv, "--size="+sizeArg(size), fmt.Sprintf("extend %s/%s to %d bytes", vg, lv, size))
}

func (c *Client) extend(ctx context.Context, vg, lv, size, doing string) error {
	_, err := c.change(ctx, doing, c.command("lvextend", "--yes", size, vg+"/"+lv))
	var e *xexec.Error
	// 2.03.16 says the first, 2.03.31 the second.
	if errors.As(err, &e) && regexp.MustCompile("matches existing size|No size change").MatchString(e.Stderr) {
		return nil
	}
	return err
}

// Retag takes the tags del from the volumes and puts the tags add on them, by
// one command and one commit for each volume. A tag in both lists is
// InvalidArgument. When one of the volumes is absent the others are done and
// the error is NotFound.
func (c *Client) Retag(ctx context.Context, vg string, lvs, add, del []string) error {
	if len(lvs) == 0 || len(add)+len(del) == 0 {
		return nil
	}
	if err := errors.Join(checkLV(vg, lvs...), checkTags(add...), checkTags(del...)); err != nil {
		return err
	}
	for _, t := range add {
		if slices.Contains(del, t) {
			return fault.Invalid("retag %s: tag %q is to be put on and taken away", subject(vg, lvs), t)
		}
	}
	_, err := c.change(ctx, "retag "+subject(vg, lvs), c.retagArgs(vg, lvs, add, del))
	return err
}

// Rename gives a volume another name, also while it is in use. When there is
// no volume of the old name but one of the new name, that is no error.
func (c *Client) Rename(ctx context.Context, vg, lv, to string) error {
	if err := checkLV(vg, lv, to); err != nil {
		return err
	}
	if lv == to {
		return nil
	}
	_, err := c.change(ctx, "rename "+vg+"/"+lv+" to "+to, c.command("lvrename", vg, lv, to))
	if !errdefs.IsNotFound(err) {
		return err
	}
	r, rerr := c.Report(ctx)
	if _, there := r.LV(vg, to); rerr == nil && there {
		return nil
	}
	return err
}

// Activate makes the volumes' devices. Active ones are no error.
func (c *Client) Activate(ctx context.Context, vg string, lvs ...string) error {
	return c.each(ctx, "activate", vg, lvs, "--activate=y", "--ignoreactivationskip")
}

// Deactivate takes the volumes' devices away. Inactive ones are no error; one
// that is in use is FailedPrecondition, and the others are done.
func (c *Client) Deactivate(ctx context.Context, vg string, lvs ...string) error {
	return c.each(ctx, "deactivate", vg, lvs, "--activate=n")
}

// Refresh loads the tables of active volumes again. It resumes a device that a
// killed command left suspended.
func (c *Client) Refresh(ctx context.Context, vg string, lvs ...string) error {
	return c.each(ctx, "refresh", vg, lvs, "--refresh")
}

func (c *Client) each(ctx context.Context, verb, vg string, lvs []string, args ...string) error {
	if len(lvs) == 0 {
		return nil
	}
	if err := checkLV(vg, lvs...); err != nil {
		return err
	}
	_, err := c.change(ctx, verb+" "+subject(vg, lvs), append(c.command("lvchange", args...), paths(vg, lvs)...))
	return err
}

// Remove removes the volumes, active or not, in one batch. Absent ones are no
// error. One in use is FailedPrecondition, and so is a pool, which
// [Client.RemovePool] is for; the others are removed all the same.
func (c *Client) Remove(ctx context.Context, vg string, lvs ...string) error {
	if err := checkLV(vg, lvs...); err != nil {
		return err
	}
	var held error
	rest := slices.Clone(lvs)
	for len(rest) > 0 {
		doing := "remove " + subject(vg, rest)
		out, err := c.change(ctx, doing, c.removeArgs(vg, rest))
		if err == nil && strings.Count(string(out), "successfully removed") >= len(rest) {
			return held
		}
		err = withoutAbsent(doing, err)
		// lvm stops at a volume in use. The others get a batch without it.
		busy := inUse(err, vg, rest)
		if err == nil {
			err = c.leftover(ctx, vg, rest)
		}
		if len(busy) == 0 {
			return errors.Join(held, err)
		}
		held = errors.Join(held, err)
		rest = slices.DeleteFunc(rest, func(lv string) bool { return slices.Contains(busy, lv) })
	}
	return held
}

// inUse returns those of the volumes that an error of lvm names as in use.
func inUse(err error, vg string, lvs []string) []string {
	var e *xexec.Error
	if !errors.As(err, &e) {
		return nil
	}
	var busy []string
	for _, m := range regexp.MustCompile(`(?m)Logical volume (\S+) (?:contains a filesystem in use|in use|is used by)`).FindAllStringSubmatch(e.Stderr, -1) {
		if lv, ours := strings.CutPrefix(m[1], vg+"/"); ours && slices.Contains(lvs, lv) {
			busy = append(busy, lv)
		}
	}
	return busy
}

// leftover looks for what a removal without an error left in place: the pools,
// which the selection spares without a word.
func (c *Client) leftover(ctx context.Context, vg string, lvs []string) error {
	r, err := c.Report(ctx)
	if err != nil {
		return err
	}
	for _, lv := range lvs {
		v, there := r.LV(vg, lv)
		switch {
		case there && v.Type == ThinPool:
			err = errors.Join(err, fault.Conflict("remove %s/%s: it is a thin pool: remove it as a pool", vg, lv))
		case there:
			err = errors.Join(err, fault.Of(errdefs.ErrInternal, "remove %s/%s: lvm left it in place and did not say why", vg, lv))
		}
	}
	return err
}

// withoutAbsent takes an error away that says no more than that things to
// remove, or their group, are gone.
func withoutAbsent(doing string, err error) error {
	var e *xexec.Error
	if !errors.As(err, &e) || e.Code < 0 {
		return err
	}
	absent := regexp.MustCompile(`(?i)^\s*(failed to find logical volume|volume group ".*" not found|cannot process volume group)`)
	var rest []string
	lines := told(e.Stderr)
	for _, l := range lines {
		if !absent.MatchString(l) {
			rest = append(rest, l)
		}
	}
	switch {
	case len(lines) == 0, len(rest) == len(lines):
		return err
	case len(rest) == 0:
		return nil
	}
	return mapError(doing, &xexec.Error{Argv: e.Argv, Code: e.Code, Stderr: strings.Join(rest, "\n"), Err: e.Err})
}

// subject names volumes in a sentence, at most three.
func subject(vg string, lvs []string) string {
	const most = 3
	if len(lvs) <= most {
		return strings.Join(paths(vg, lvs), ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(paths(vg, lvs[:most]), ", "), len(lvs)-most)
}
