package main

import (
	"context"

	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) rm() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] VOLUME [VOLUME...]",
		Short: "Move volumes to the recycle bin",
		Long: "The same as docker volume rm, except that a volume goes also when a stopped container refers to it, which is told. " +
			"A volume that is in use is refused. docker mos volume trash restore brings one back from the bin.",
		Args: exactly("VOLUME..."), ValidArgsFunction: v.names(0, volumeNames),
	}
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return ch.run(cmd, args, func(ctx context.Context, c *lvm.Client, ref string) (lvm.Plan, string, error) {
			p, err := c.Remove(ctx, lvm.RemoveRequest{Volume: ref, DryRun: ch.dry})
			return p, ref, lost(err, volumesListed)
		})
	}
	return cmd
}

func (v volume) resize() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resize [OPTIONS] VOLUME SIZE",
		Short: "Grow a volume and its file system, also while it is in use",
		Long: "A size is absolute, such as 20g, or more than the volume has, such as +5g; units are binary. " +
			"The size that it has changes nothing; a smaller one is refused, since a file system cannot shrink while it is mounted, and xfs never can.\n\n" +
			"A volume that no container has gets its new size at its next mount. One that is mounted grows at once; where the kernel does not let mos-lvm do that, the command is refused unless --at-next-mount is given.",
		Example: "docker mos volume resize data 40g\ndocker mos volume resize data +5g",
		Args:    exactly("VOLUME", "SIZE"), ValidArgsFunction: v.names(1, volumeNames),
	}
	var later bool
	cmd.Flags().BoolVar(&later, "at-next-mount", false, "Grow a file system that cannot grow while mounted when its containers start the next time")
	ch := v.change(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return ch.run(cmd, args[:1], func(ctx context.Context, c *lvm.Client, ref string) (lvm.Plan, string, error) {
			p, err := c.Resize(ctx, lvm.ResizeRequest{Volume: ref, Size: args[1], AtNextMount: later, DryRun: ch.dry})
			return p, named(p, ref), lost(err, volumesListed)
		})
	}
	return cmd
}
