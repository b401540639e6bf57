package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) pool() *cobra.Command {
	l := &list[lvm.Pool]{
		id: func(x lvm.Pool) string { return x.Name }, named: true,
		empty:   "there is no pool",
		columns: poolColumns(),
		filters: []filter[lvm.Pool]{
			byName(func(x lvm.Pool) string { return x.Name }),
			{"state", func(x lvm.Pool, v string) bool { return x.State == v }},
			{"type", func(x lvm.Pool, v string) bool { return slices.Contains(x.Types, v) }},
			{"vg", func(x lvm.Pool, v string) bool { return x.VG == v }},
		},
	}
	var cmd *cobra.Command
	cmd = listCommand(v.daemon, l, "pool", "List where volumes get their space, and how full that is", func(c *lvm.Client, ctx context.Context) ([]lvm.Pool, error) {
		ps, err := c.Pools(ctx)
		for _, p := range ps {
			if p.Error != "" {
				remark(cmd.ErrOrStderr(), "pool %s: %s", p.Name, p.Error)
			}
			if len(p.Paused) > 0 {
				remark(cmd.ErrOrStderr(), "pool %s: paused before it is full: %s", p.Name, users(p.Paused))
			}
		}
		return ps, err
	})
	cmd.Long = strings.Replace(cmd.Long, "\n\n", "\n\nOVERCOMMIT is the sum of the volumes' sizes divided by the pool's, and the most that it may become. "+
		"States are ok, warn, refuse (no new volumes, growth or snapshots) and pause (containers that write are paused).\n\n", 1)
	return cmd
}

func poolColumns() []column[lvm.Pool] {
	type p = lvm.Pool
	ratio := func(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
	overcommit := func(x p) string {
		if x.Ratio == 0 { // what is promised here is there
			return "-"
		}
		return ratio(x.Overcom) + " of " + ratio(x.Ratio)
	}
	meta := func(x p) string {
		if x.VG == "" {
			return "-"
		}
		return share(x.Meta)
	}
	return []column[p]{
		{name: "Name", header: "NAME", whole: true, value: func(x p) string { return x.Name }},
		{name: "Types", header: "TYPES", value: func(x p) string { return dash(strings.Join(x.Types, ", ")) }},
		{name: "Size", header: "SIZE", value: func(x p) string { return binary(x.Size) }},
		{name: "Used", header: "USED", value: func(x p) string { return binary(x.Used) }},
		{name: "Data", header: "DATA%", value: func(x p) string { return share(x.Data) }},
		{name: "Meta", header: "META%", value: meta},
		{name: "Overcommit", header: "OVERCOMMIT", value: overcommit},
		{name: "State", header: "STATE", value: func(x p) string { return x.State }},
		{name: "Volumes", header: "VOLUMES", value: func(x p) string { return strconv.Itoa(x.Volumes) }},
		{name: "VG", header: "VG", extra: true, value: func(x p) string { return dash(x.VG) }},
		{name: "VGFree", header: "VG FREE", extra: true, value: func(x p) string { return binary(x.VGFree) }},
		{name: "Virtual", header: "VIRTUAL", extra: true, value: func(x p) string { return binary(x.Virtual) }},
		{name: "Limit", header: "LIMIT", extra: true, value: func(x p) string { return binary(x.Limit) }},
		{name: "Spare", header: "SPARE", extra: true, value: func(x p) string { return binary(x.Spare) }},
		{name: "Trash", header: "TRASH", extra: true, value: func(x p) string { return binary(x.Trash) }},
		{name: "Snapshots", header: "SNAPSHOTS", extra: true, value: func(x p) string { return strconv.FormatBool(x.Snapshots) }},
		{name: "Default", header: "DEFAULT", extra: true, value: func(x p) string { return strconv.FormatBool(x.Default) }},
		{name: "Paused", header: "PAUSED", extra: true, value: func(x p) string { return users(x.Paused) }},
		{name: "Error", header: "ERROR", extra: true, value: func(x p) string { return dash(x.Error) }},
	}
}
