package lvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Pool is a thin pool to make of a group's free space.
type Pool struct {
	VG, Name     string
	Size         int64 // bytes for data
	MetadataSize int64 // bytes; 0 lets lvm choose, which is too little for many snapshots
	ChunkSize    int64 // bytes, a multiple of 64 KiB; 0 lets lvm choose
	Tags         []string
	// Extents of devices that the pool may take, such as "/dev/sdb:0-999"; nil
	// leaves the choice to lvm, which fills one device after the other.
	Extents []string
}

// CreatePool makes a pool that zeroes each chunk before its first use, errs
// at once when it is full, and that nobody but the caller watches.
// LVM takes as much as the metadata once more, as a spare for repairs.
func (c *Client) CreatePool(ctx context.Context, p Pool) error {
	if err := errors.Join(checkLV(p.VG, p.Name), checkSize("pool "+p.Name, p.Size), checkTags(p.Tags...)); err != nil {
		return err
	}
	if p.MetadataSize < 0 || p.ChunkSize < 0 {
		return fault.Invalid("pool %s: negative size", p.Name)
	}
	_, err := c.change(ctx, "create thin pool "+p.VG+"/"+p.Name, c.poolArgs(p))
	return err
}

// ExtendPool grows a pool's data to size bytes, with the rules of
// [Client.Extend]. The pool and all its volumes stand still for the moment.
func (c *Client) ExtendPool(ctx context.Context, vg, pool string, size int64) error {
	return c.Extend(ctx, vg, pool, size)
}

// ExtendPoolMetadata grows a pool's metadata to size bytes, with the rules of
// [Client.Extend].
func (c *Client) ExtendPoolMetadata(ctx context.Context, vg, pool string, size int64) error {
	if err := errors.Join(checkLV(vg, pool), checkSize("metadata of pool "+pool, size)); err != nil {
		return err
	}
	r, err := c.Report(ctx)
	if err != nil {
		return err
	}
	p, there := r.LV(vg, pool)
	doing := fmt.Sprintf("extend the metadata of pool %s/%s to %d bytes", vg, pool, size)
	switch {
	case !there:
		return fault.NotFound("%s: there is no such pool", doing)
	case p.Type != ThinPool:
		return fault.Invalid("%s: it is a %s volume", doing, p.Type)
	case size == p.MetadataSize:
		return nil
	case size < p.MetadataSize:
		return fault.Invalid("%s: it has %d", doing, p.MetadataSize)
	}
	return c.extend(ctx, vg, pool, "--poolmetadatasize="+sizeArg(size), doing)
}

// RemovePool removes a pool that has no volumes. An absent one is no error.
func (c *Client) RemovePool(ctx context.Context, vg, pool string) error {
	if err := checkLV(vg, pool); err != nil {
		return err
	}
	doing := "remove thin pool " + vg + "/" + pool
	_, err := c.change(ctx, doing, c.removePoolArgs(vg, pool))
	if err = withoutAbsent(doing, err); err != nil {
		return err
	}
	r, err := c.Report(ctx)
	if err != nil {
		return err
	}
	if _, there := r.LV(vg, pool); there {
		return fault.Conflict("%s: it has volumes: remove these first", doing)
	}
	return nil
}
