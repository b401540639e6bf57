package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (n network) leases() *cobra.Command {
	l := &list[api.Lease]{
		columns: []column[api.Lease]{
			{name: "Address", header: "ADDRESS", value: func(l api.Lease) string { return l.Addr.String() }},
			{name: "Pool", header: "POOL", value: func(l api.Lease) string { return subnet(l) }},
			{name: "State", header: "STATE", value: func(l api.Lease) string { return l.State }},
			{name: "Owner", header: "OWNER", value: func(l api.Lease) string { return l.Owner }},
			{name: "Since", header: "SINCE", value: func(l api.Lease) string { return ago(l.Since) }},
		},
		filters: []filter[api.Lease]{
			{"owner", func(l api.Lease, v string) bool { return l.Owner == v || l.Owner == "container "+v }},
			{"pool", func(l api.Lease, v string) bool { return l.Pool == v || subnet(l) == v }},
			{"state", func(l api.Lease, v string) bool { return l.State == v }},
		},
	}
	cmd := listCommand(n.daemon, l, "leases", "List the addresses that are held, or kept for their owner", (*api.Client).Leases)
	cmd.AddCommand(n.forget())
	return cmd
}

// subnet is a pool without its address space, of which there is one.
func subnet(l api.Lease) string {
	_, s, ok := strings.Cut(l.Pool, "/")
	if !ok {
		return l.Pool
	}
	return s
}

func (n network) forget() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "forget ADDRESS [ADDRESS...]",
		Short:             "Free addresses that are kept for an owner who is gone",
		Long:              "Free addresses that are kept for an owner who is gone.\n\nAn address asked for by --ip stays kept when its container stops; once forgotten it may be chosen for any container.",
		Args:              exactly("ADDRESS..."),
		ValidArgsFunction: n.names(0, keptAddrs),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var addrs []netip.Addr
		for _, s := range args {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return usage("%q is no address", s)
			}
			addrs = append(addrs, addr)
		}
		return n.within(cmd, func(ctx context.Context, c *api.Client) error {
			var errs []error
			for _, addr := range addrs {
				if err := c.Forget(ctx, api.ForgetRequest{Addr: addr}); err != nil {
					errs = append(errs, err)
					continue
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), addr); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		})
	}
	return cmd
}
