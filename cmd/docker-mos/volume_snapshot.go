package main

import (
	"context"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) snapshot() *cobra.Command {
	cmd := group("snapshot", "Snapshots of volumes: the state of a volume at one time")
	cmd.AddCommand(v.takeSnapshot(), v.lsSnapshots(), v.rmSnapshots())
	return cmd
}

func (v volume) takeSnapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create [OPTIONS] VOLUME [NAME]",
		Short:   "Take a snapshot of a volume, also while it is in use",
		Long:    "A name is chosen when none is given; VOLUME@NAME is printed. docker mos volume clone makes a volume of a snapshot, docker mos volume export a file.",
		Example: "docker mos volume snapshot create data monday",
		Args:    between(1, "VOLUME", "[NAME]"), ValidArgsFunction: v.names(1, volumeNames),
	}
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := lvm.SnapshotRequest{Volume: args[0]}
		if len(args) > 1 {
			r.Name = args[1]
		}
		return ch.run(cmd, args[:1], func(ctx context.Context, c *lvm.Client, _ string) (lvm.Plan, string, error) {
			r.DryRun = ch.dry
			p, err := c.Snapshot(ctx, r)
			if p.Snapshot != nil {
				return p, snapshotRef(*p.Snapshot), err
			}
			return p, r.Volume + "@" + r.Name, lost(err, volumesListed)
		})
	}
	return cmd
}

func (v volume) lsSnapshots() *cobra.Command {
	type s = lvm.Snapshot
	l := &list[s]{
		id: snapshotRef, named: true,
		columns: []column[s]{
			{name: "Ref", header: "SNAPSHOT", whole: true, value: snapshotRef},
			{name: "Size", header: "SIZE", value: func(x s) string { return binary(x.Size) }},
			{name: "Allocated", header: "ALLOCATED", value: func(x s) string { return binary(x.Allocated) }},
			{name: "Created", header: "CREATED", value: func(x s) string { return ago(x.Created) }},
			{name: "Volume", header: "VOLUME", extra: true, whole: true, value: func(x s) string { return x.Volume }},
			{name: "Name", header: "NAME", extra: true, whole: true, value: func(x s) string { return x.Name }},
			{name: "ID", header: "ID", extra: true, value: func(x s) string { return x.ID }},
		},
		filters: []filter[s]{
			{"id", func(x s, v string) bool { return sameRef(v, "", x.ID) }},
			byName(func(x s) string { return x.Name }),
			{"volume", func(x s, v string) bool { return x.Volume == v }},
		},
	}
	var of string
	cmd := listCommand(v.daemon, l, "ls", "List snapshots, of all volumes or of one", func(c *lvm.Client, ctx context.Context) ([]s, error) {
		if of == "" {
			return c.Snapshots(ctx)
		}
		vol, err := c.Volume(ctx, of)
		return vol.Snapshots, lost(err, volumesListed)
	})
	cmd.Use, cmd.Args, cmd.ValidArgsFunction = "ls [OPTIONS] [VOLUME]", between(0, "[VOLUME]"), v.names(1, volumeNames)
	list := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			of = args[0]
		}
		return list(cmd, args)
	}
	return cmd
}

func (v volume) rmSnapshots() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] VOLUME@NAME [VOLUME@NAME...]",
		Short: "Remove snapshots for good: the recycle bin keeps volumes only",
		Args:  exactly("VOLUME@NAME..."), ValidArgsFunction: v.names(0, snapshotRefs),
	}
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, ref := range args {
			if _, _, ok := cutSnapshot(ref); !ok {
				return usage("%s is not of the form VOLUME@NAME", ref)
			}
		}
		return ch.run(cmd, args, func(ctx context.Context, c *lvm.Client, ref string) (lvm.Plan, string, error) {
			of, name, _ := cutSnapshot(ref)
			p, err := c.RemoveSnapshot(ctx, lvm.SnapshotRequest{Volume: of, Name: name, DryRun: ch.dry})
			return p, ref, lost(err, snapshotsListed)
		})
	}
	return cmd
}
