package main

import (
	"context"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) inspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] VOLUME[@SNAPSHOT] [VOLUME[@SNAPSHOT]...]",
		Short:             "Show all that is known of volumes and snapshots",
		Long:              "Show all that is known of volumes and snapshots, as JSON.\n\nNames, ids and beginnings of ids are understood. Sizes are in bytes.",
		Args:              exactly("VOLUME[@SNAPSHOT]..."),
		ValidArgsFunction: v.names(0, volumeNames, snapshotRefs),
	}
	formatFlag(cmd, &format, "", `"json", or a Go template such as {{.Mountpoint}}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := inspector(format)
		if err != nil {
			return err
		}
		return v.within(cmd, func(ctx context.Context, c *lvm.Client) error {
			return inspectEach(cmd.OutOrStdout(), write, args, func(ref string) ([]any, error) {
				found, err := volumeOrSnapshot(ctx, c, ref)
				if err != nil {
					return nil, err
				}
				return []any{found}, nil
			})
		})
	}
	return cmd
}

func volumeOrSnapshot(ctx context.Context, c *lvm.Client, ref string) (any, error) {
	if ref == "" {
		return nil, usage("the name of a volume is empty")
	}
	vol, err := c.Volume(ctx, ref)
	if err == nil || !errdefs.IsNotFound(err) {
		return vol, err
	}
	missing := lost(err, volumesListed)
	of, name, ok := cutSnapshot(ref)
	if !ok {
		return nil, missing
	}
	if vol, err = c.Volume(ctx, of); err != nil {
		if errdefs.IsNotFound(err) {
			return nil, missing
		}
		return nil, err
	}
	for _, s := range vol.Snapshots {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, hinted(failure(errdefs.ErrNotFound, "volume %s has no snapshot %s", vol.Name, name),
		"docker mos volume snapshot ls "+vol.Name+" lists them")
}

// cutSnapshot takes VOLUME@SNAPSHOT apart.
func cutSnapshot(ref string) (of, name string, ok bool) {
	i := strings.LastIndexByte(ref, '@')
	if i < 1 || i == len(ref)-1 {
		return ref, "", false
	}
	return ref[:i], ref[i+1:], true
}

func snapshotRef(s lvm.Snapshot) string { return s.Volume + "@" + s.Name }
