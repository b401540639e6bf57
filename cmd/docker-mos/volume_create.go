package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

func (v volume) create() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] NAME",
		Short:             "Make a volume",
		Long:              "The same as docker volume create --driver mos-lvm: Docker knows the volume, too. With --dry-run the steps are listed that this would take.",
		Example:           "docker mos volume create -o size=20g data\ndocker mos volume create -o size=20g -o type=linear -o fs=xfs --dry-run data",
		Args:              exactly("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	given := v.optionFlag(cmd)
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts, err := options(*given)
		if err != nil {
			return err
		}
		if spec.Drive(args[0]) {
			hint(cmd.ErrOrStderr(), fmt.Sprintf("docker run -v %s:/data takes one letter for a drive of Windows, and gives the container another volume: --mount source=%[1]s,target=/data does not", args[0]))
		}
		return ch.run(cmd, args, func(ctx context.Context, c *lvm.Client, name string) (lvm.Plan, string, error) {
			p, err := c.Create(ctx, lvm.CreateRequest{Name: name, Options: opts, DryRun: ch.dry})
			return p, named(p, name), err
		})
	}
	return cmd
}

func (v volume) clone() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "clone [OPTIONS] VOLUME[@SNAPSHOT] NEW",
		Short:   "Make a volume that is a copy of another, or of a snapshot",
		Long:    "The same as docker mos volume create -o from=VOLUME[@SNAPSHOT]. Options that are not given are those of the volume copied.",
		Example: "docker mos volume clone data@monday data-of-monday\ndocker mos volume clone -o size=40g data bigger",
		Args:    exactly("VOLUME[@SNAPSHOT]", "NEW"), ValidArgsFunction: v.names(1, volumeNames, snapshotRefs),
	}
	given := v.optionFlag(cmd)
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts, err := options(*given)
		if err != nil {
			return err
		}
		if from, ok := opts["from"]; ok && from != args[0] {
			return usage("-o from=%s and %s are two volumes to copy", from, args[0])
		}
		opts["from"] = args[0]
		return ch.run(cmd, args[1:], func(ctx context.Context, c *lvm.Client, name string) (lvm.Plan, string, error) {
			p, err := c.Create(ctx, lvm.CreateRequest{Name: name, Options: opts, DryRun: ch.dry})
			return p, named(p, name), lost(err, volumesListed, snapshotsListed)
		})
	}
	return cmd
}
