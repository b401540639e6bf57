package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// vol is short for columns.
type vol = lvm.Volume

func (v volume) ls() *cobra.Command {
	l := &list[vol]{
		id: func(x vol) string { return x.Name }, named: true,
		columns: append([]column[vol]{
			{name: "Name", header: "NAME", whole: true, value: func(x vol) string { return x.Name }},
			{name: "Type", header: "TYPE", value: func(x vol) string { return x.Type }},
			{name: "Size", header: "SIZE", value: func(x vol) string { return binary(x.Size) }},
			{name: "Used", header: "USED", value: func(x vol) string { return used(x, usedBytes) }},
			{name: "UsedPercent", header: "USE%", value: func(x vol) string { return used(x, usedShare) }},
			{name: "State", header: "STATE", value: volumeState},
			{name: "Users", header: "USERS", value: func(x vol) string { return users(x.Users) }},
		}, volumeExtras()...),
		filters: volumeFilters(),
	}
	var cmd *cobra.Command
	cmd = listCommand(v.daemon, l, "ls", "List volumes", func(c *lvm.Client, ctx context.Context) ([]vol, error) {
		vs, err := c.Volumes(ctx)
		for _, x := range vs {
			if x.Fault != "" {
				remark(cmd.ErrOrStderr(), "volume %s: %s", x.Name, x.Fault)
			}
		}
		return vs, err
	})
	return cmd
}

// volumeState is the state of a volume, in a word.
func volumeState(v vol) string {
	if v.Fault != "" {
		return "faulty"
	}
	return v.State
}

// volumeExtras are columns that no table of volumes has unless it is asked for.
func volumeExtras() []column[vol] {
	limit := func(n uint64, word func(uint64) string) string {
		if n == 0 {
			return "-"
		}
		return word(n)
	}
	return []column[vol]{
		{name: "ID", header: "ID", extra: true, value: func(x vol) string { return x.ID }},
		{name: "FS", header: "FS", extra: true, value: func(x vol) string { return x.FS }},
		{name: "VG", header: "VG", extra: true, value: func(x vol) string { return dash(x.VG) }},
		{name: "LV", header: "LV", extra: true, value: func(x vol) string { return dash(x.LV) }},
		{name: "Image", header: "IMAGE", extra: true, value: func(x vol) string { return dash(x.Image) }},
		{name: "Allocated", header: "ALLOCATED", extra: true, value: func(x vol) string { return binary(x.Allocated) }},
		{name: "Free", header: "FREE", extra: true, value: func(x vol) string { return used(x, freeBytes) }},
		{name: "Inodes", header: "INODES", extra: true, value: func(x vol) string { return used(x, allInodes) }},
		{name: "Mountpoint", header: "MOUNTPOINT", extra: true, value: func(x vol) string { return dash(x.Mountpoint) }},
		{name: "MountOpts", header: "MOUNT OPTIONS", extra: true, value: func(x vol) string { return dash(x.MountOpts) }},
		{name: "Owner", header: "OWNER", extra: true, value: func(x vol) string { return strconv.Itoa(x.UID) + ":" + strconv.Itoa(x.GID) }},
		{name: "Mode", header: "MODE", extra: true, value: func(x vol) string { return x.Mode }},
		{name: "IOPS", header: "IOPS", extra: true, value: func(x vol) string {
			return limit(x.IOPS, func(n uint64) string { return strconv.FormatUint(n, 10) })
		}},
		{name: "BPS", header: "BPS", extra: true, value: func(x vol) string { return limit(x.BPS, func(n uint64) string { return binary(n) + "/s" }) }},
		{name: "From", header: "FROM", extra: true, whole: true, value: func(x vol) string { return dash(x.From) }},
		{name: "Snapshots", header: "SNAPSHOTS", extra: true, value: func(x vol) string { return strconv.Itoa(len(x.Snapshots)) }},
		{name: "Fault", header: "FAULT", extra: true, value: func(x vol) string { return dash(x.Fault) }},
		{name: "Created", header: "CREATED", extra: true, value: func(x vol) string { return ago(x.Created) }},
	}
}

func volumeFilters() []filter[vol] {
	return []filter[vol]{
		{"container", func(x vol, v string) bool {
			return slices.ContainsFunc(x.Users, func(u lvm.User) bool { return sameRef(v, u.Name, u.Container) })
		}},
		{"fs", func(x vol, v string) bool { return x.FS == v }},
		{"id", func(x vol, v string) bool { return sameRef(v, "", x.ID) }},
		{"mounted", func(x vol, v string) bool { return strconv.FormatBool(x.Mountpoint != "") == v }},
		byName(func(x vol) string { return x.Name }),
		{"state", func(x vol, v string) bool { return volumeState(x) == v }},
		{"type", func(x vol, v string) bool { return x.Type == v }},
		{"vg", func(x vol, v string) bool { return x.VG == v }},
	}
}

func (v volume) usage() *cobra.Command {
	l := &list[vol]{
		id: func(x vol) string { return x.Name }, named: true,
		columns: []column[vol]{
			{name: "Name", header: "NAME", whole: true, value: func(x vol) string { return x.Name }},
			{name: "Size", header: "SIZE", value: func(x vol) string { return binary(x.Size) }},
			{name: "Used", header: "USED", value: func(x vol) string { return used(x, usedBytes) }},
			{name: "Free", header: "FREE", value: func(x vol) string { return used(x, freeBytes) }},
			{name: "UsedPercent", header: "USE%", value: func(x vol) string { return used(x, usedShare) }},
			{name: "Inodes", header: "INODES", value: func(x vol) string { return used(x, allInodes) }},
			{name: "InodesPercent", header: "IUSE%", value: func(x vol) string {
				return used(x, func(u lvm.Usage) string { return dfPercent(u.InodesUsed, u.Inodes) })
			}},
			{name: "Allocated", header: "ALLOCATED", value: func(x vol) string { return binary(x.Allocated) }},
			{name: "InodesUsed", header: "IUSED", extra: true, value: func(x vol) string {
				return used(x, func(u lvm.Usage) string { return strconv.FormatUint(u.InodesUsed, 10) })
			}},
			{name: "At", header: "SEEN", extra: true, value: func(x vol) string { return used(x, func(u lvm.Usage) string { return ago(u.At) }) }},
		},
		filters: volumeFilters(),
	}
	cmd := listCommand(v.daemon, l, "usage", "List volumes by how full they are, the fullest first", func(c *lvm.Client, ctx context.Context) ([]vol, error) {
		vs, err := c.Volumes(ctx)
		slices.SortStableFunc(vs, func(x, y vol) int { return cmp.Compare(fullness(y), fullness(x)) })
		return vs, err
	})
	cmd.Long = strings.Replace(cmd.Long, "\n\n", "\n\nUSE% and IUSE% are those of df and df -i: 100% is where containers can write no more. "+
		"A volume that is not mounted has those of when it was last, and none when that was before mos-lvm started.\n\n", 1)
	return cmd
}

// fullness orders volumes by what they lack first, bytes or inodes. A volume
// that was never seen mounted is empty, for all that is known.
func fullness(v vol) float64 {
	if v.Usage == nil {
		return -1
	}
	part := func(used, all uint64) float64 { return float64(used) / float64(max(all, 1)) }
	return max(part(v.Usage.Used, v.Usage.Used+v.Usage.Free), part(v.Usage.InodesUsed, v.Usage.Inodes))
}

func usedBytes(u lvm.Usage) string { return binary(u.Used) }
func freeBytes(u lvm.Usage) string { return binary(u.Free) }
func usedShare(u lvm.Usage) string { return dfPercent(u.Used, u.Used+u.Free) }
func allInodes(u lvm.Usage) string { return strconv.FormatUint(u.Inodes, 10) }

// dfPercent is a part of a whole as df has it: a part that is begun counts. The
// whole of a file system is what users have and can have, without what is kept
// for root, so that it is at 100% when they can write no more.
func dfPercent(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return strconv.FormatUint((part*100+whole-1)/whole, 10) + "%"
}
