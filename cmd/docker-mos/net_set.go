package main

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

func (n network) set() *cobra.Command {
	var in, out string
	var dry bool
	cmd := &cobra.Command{
		Use:   "set [OPTIONS] NETWORK|CONTAINER",
		Short: "Change the rate limits of a network or a container, live",
		Long: "Change the rate limits of a network or a container, live.\n\n" +
			"Limits are as the container sees them. A network's are those of its containers that have none of their own. A limit that is not given stays.",
		Example:           "docker mos net set --rate-in 100mbit --rate-out 1gbit web\ndocker mos net set --rate-out none web",
		Args:              exactly("NETWORK|CONTAINER"),
		ValidArgsFunction: n.names(1, networkNames, containerNames),
	}
	cmd.Flags().StringVar(&in, "rate-in", "", "Most that is received, such as 100mbit, 2.5gbit or none")
	cmd.Flags().StringVar(&out, "rate-out", "", "Most that is sent")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Print what would be done, and do nothing")
	complete(cmd, "rate-in", "100mbit", "1gbit", "10gbit", "none")
	complete(cmd, "rate-out", "100mbit", "1gbit", "10gbit", "none")
	l := planList()
	l.format = "table"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := api.RatesRequest{DryRun: dry}
		var err error
		if r.In, err = limit(cmd, "rate-in", in); err != nil {
			return err
		}
		if r.Out, err = limit(cmd, "rate-out", out); err != nil {
			return err
		}
		if r.In == nil && r.Out == nil {
			return hinted(usage("nothing to set"), "give --rate-in or --rate-out")
		}
		return n.within(cmd, func(ctx context.Context, c *api.Client) error {
			if err := target(ctx, c, args[0], &r); err != nil {
				return err
			}
			p, err := c.SetRates(ctx, r)
			if err != nil {
				return err
			}
			if dry {
				return l.print(cmd, p.Steps)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), args[0])
			return err
		})
	}
	return cmd
}

// limit reads a flag; nil means that it was not given.
func limit(cmd *cobra.Command, flag, value string) (*uint64, error) {
	if !cmd.Flags().Changed(flag) {
		return nil, nil
	}
	r, err := spec.ParseRate(value)
	if err != nil {
		return nil, usage("--%s: %s", flag, err)
	}
	bits := uint64(r)
	return &bits, nil
}

// target finds what a reference means: a network, or the one interface of a
// container.
func target(ctx context.Context, c *api.Client, ref string, r *api.RatesRequest) error {
	n, err := c.Network(ctx, ref)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	es, notThere := interfaces(ctx, c, ref)
	switch {
	case err == nil && notThere == nil:
		return hinted(failure(errdefs.ErrInvalidArgument, "%s is a network and a container", ref), "give the id of the one you mean")
	case err == nil:
		r.Network = n.ID
		return nil
	case notThere != nil:
		return notThere
	case len(es) == 1:
		r.Endpoint = es[0].ID
		return nil
	}
	hints := []string{"give the id of the endpoint:"}
	for _, e := range es {
		hints = append(hints, fmt.Sprintf("%s is on network %s", e.ID[:min(12, len(e.ID))], orShort(e.NetName, e.Network)))
	}
	return hinted(failure(errdefs.ErrInvalidArgument, "%s is on %d networks", ref, len(es)), hints...)
}
