package main

import (
	"context"
	"slices"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func volumeNames(ctx context.Context, c *lvm.Client) []string {
	vs, _ := c.Volumes(ctx) // nothing to offer
	var out []string
	for _, v := range vs {
		out = append(out, v.Name)
	}
	return out
}

func snapshotRefs(ctx context.Context, c *lvm.Client) []string {
	ss, _ := c.Snapshots(ctx) // nothing to offer
	var out []string
	for _, s := range ss {
		out = append(out, snapshotRef(s))
	}
	return out
}

// trashedNames offers ids, too, where several volumes had one name.
func trashedNames(ctx context.Context, c *lvm.Client) []string {
	vs, _ := c.Trash(ctx) // nothing to offer
	var out []string
	for _, v := range vs {
		out = append(out, v.Name)
		if slices.ContainsFunc(vs, func(o lvm.Volume) bool { return o.Name == v.Name && o.ID != v.ID }) {
			out = append(out, v.ID)
		}
	}
	return out
}

func volumeGroups(ctx context.Context, c *lvm.Client) []string {
	ps, _ := c.Pools(ctx) // nothing to offer
	var out []string
	for _, p := range ps {
		if p.VG != "" {
			out = append(out, p.VG)
		}
	}
	return out
}
