package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func (c *cluster) network() *cobra.Command {
	cmd := c.group("network", "Networks that span hosts, whose addresses the cluster gives out")
	cmd.AddCommand(c.networkCreate(), c.networkLs(), clusterInspect[api.Network](c, "inspect [OPTIONS] NETWORK...", "Show all of networks", c.networks), c.networkRm())
	return cmd
}

func (c *cluster) networks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offered(cmd, args, namesOf[api.Network])
}

func (c *cluster) networkCreate() *cobra.Command {
	var subnets, ranges, gateways, exclude []string
	var blocks []int
	cmd := &cobra.Command{
		Use: "create [OPTIONS] NETWORK", Short: "Have the cluster give out the addresses of a network", Args: exactly("NETWORK"), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Have the cluster give out the addresses of a network. The hosts have it already, by this name and with this subnet (docker network create on each); " +
			"from now on each set in it has an address that no other set of the cluster has. Containers that are of no set of the cluster get addresses of the block that --block has each host given, " +
			"or of another part of the subnet: the host's --ip-range, which --exclude names here.",
		Example: "docker set network create prod --subnet 10.9.0.0/16 --gateway 10.9.0.1 --block 28",
	}
	cmd.Flags().StringArrayVar(&subnets, "subnet", nil, "Subnet, one for each family, such as 10.9.0.0/16")
	cmd.Flags().StringArrayVar(&ranges, "ip-range", nil, "Part of a subnet that is given out, instead of all of it")
	cmd.Flags().StringArrayVar(&gateways, "gateway", nil, "Address of the gateway, which is not given out")
	cmd.Flags().StringArrayVar(&exclude, "exclude", nil, "Address or part of a subnet that is not given out")
	cmd.Flags().IntSliceVar(&blocks, "block", nil, "Length of the prefix of the block that each host has for its other containers, such as 28; one for each --subnet in their order")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(blocks) > len(subnets) {
			return usage("--block: there are more of them than of --subnet")
		}
		n := &api.Network{Meta: api.Meta{Name: args[0]}}
		for _, s := range subnets {
			n.Spec.Pools = append(n.Spec.Pools, api.AddressPool{Subnet: s})
		}
		for i, bits := range blocks {
			n.Spec.Pools[i].Block = bits
		}
		for _, of := range []struct {
			flag string
			has  []string
			set  func(*api.AddressPool, string)
		}{
			{"ip-range", ranges, func(p *api.AddressPool, v string) { p.Range = v }},
			{"gateway", gateways, func(p *api.AddressPool, v string) { p.Gateway = v }},
			{"exclude", exclude, func(p *api.AddressPool, v string) { p.Exclude = append(p.Exclude, v) }},
		} {
			for _, v := range of.has {
				p := poolOf(n.Spec.Pools, v)
				if p == nil {
					return usage("--%s %s: no --subnet is of that family", of.flag, v)
				}
				of.set(p, v)
			}
		}
		if err := n.Check(); err != nil {
			return err
		}
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, _ string) error {
			_, err := client.Create(ctx, cl, n, client.Change{})
			return err
		})
	}
	return cmd
}

// poolOf is the pool of the family that an address or subnet is of.
func poolOf(pools []api.AddressPool, of string) *api.AddressPool {
	for i := range pools {
		if strings.Contains(pools[i].Subnet, ":") == strings.Contains(of, ":") {
			return &pools[i]
		}
	}
	return nil
}

// networkRow is a network, and how many of its addresses are claimed.
type networkRow struct {
	*api.Network
	Sets      int `json:"sets"`      // of sets
	Leftovers int `json:"leftovers"` // that hosts may use that are lost
	Blocks    int `json:"blocks"`    // that hosts have for their other containers
}

func (n networkRow) subnets() string {
	var all []string
	for _, p := range n.Spec.Pools {
		all = append(all, p.Subnet)
	}
	return strings.Join(all, ",")
}

func (c *cluster) networkLs() *cobra.Command {
	type row = networkRow
	l := &list[row]{
		id: func(n row) string { return n.Name }, named: true, empty: "no networks: docker set network create makes one",
		columns: []column[row]{
			{name: "Name", header: "NAME", value: func(n row) string { return n.Name }},
			{name: "Subnets", header: "SUBNETS", value: row.subnets},
			{name: "Used", header: "USED", value: func(n row) string { return strconv.Itoa(n.Sets) }},
			{name: "Lost", header: "LOST", value: func(n row) string { return strconv.Itoa(n.Leftovers) }},
			{name: "Blocks", header: "BLOCKS", value: func(n row) string { return strconv.Itoa(n.Blocks) }},
			{name: "Since", header: "SINCE", extra: true, value: func(n row) string { return ago(n.Created) }},
		},
		filters: []filter[row]{
			byName(func(n row) string { return n.Name }),
			labelFilter(func(n row) map[string]string { return n.Labels }),
		},
	}
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List networks", Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "List networks. USED is how many addresses sets have, and LOST how many nobody is given because a host that was lost may still use them: until it is back, fenced or removed. BLOCKS is how many blocks hosts have for containers of no set: docker set host inspect shows them.",
	}
	return clusterList(c, cmd, l, func(ctx context.Context, cl *client.Client) ([]row, error) {
		networks, err := client.List[api.Network](ctx, cl, client.Filter{})
		if err != nil {
			return nil, err
		}
		sets, err := client.List[api.SetInstance](ctx, cl, client.Filter{})
		if err != nil {
			return nil, err
		}
		hosts, err := client.List[api.Host](ctx, cl, client.Filter{})
		if err != nil {
			return nil, err
		}
		leftovers, err := client.List[api.Leftover](ctx, cl, client.Filter{})
		var rows []row
		for _, n := range networks.Items {
			r := row{Network: n}
			for _, s := range sets.Items {
				r.Sets += usedIn(n.Name, s.Spec.Addresses)
			}
			for _, lo := range leftovers.Items {
				r.Leftovers += usedIn(n.Name, lo.Spec.Addresses)
			}
			for _, h := range hosts.Items {
				for _, b := range h.Status.Blocks {
					if b.Network == n.Name {
						r.Blocks++
					}
				}
			}
			rows = append(rows, r)
		}
		return rows, err
	})
}

// usedIn is how many of addresses are in a network.
func usedIn(network string, all []api.SetAddress) (n int) {
	for _, a := range all {
		if a.Network == network {
			n++
		}
	}
	return n
}

func uses(s *spec.Set, network string) bool {
	return slices.ContainsFunc(append([]spec.Network{s.Network}, s.Networks...), func(n spec.Network) bool { return n.Name == network })
}

func (c *cluster) networkRm() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NETWORK...", Aliases: []string{"remove"}, Short: "Have the cluster give out addresses of networks no more: they go when no service names them, and hosts gave their blocks back",
		Args: exactly("NETWORK..."), ValidArgsFunction: c.networks,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.eachOf(cmd, args, func(ctx context.Context, cl *client.Client, name string) error {
			n, err := client.Delete[api.Network](ctx, cl, name)
			if err != nil {
				return err
			}
			services, err := client.List[api.Service](ctx, cl, client.Filter{})
			for _, s := range services.Items {
				if uses(&s.Spec.Set.Set, n.Name) {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s stays until service %s is removed or is in it no more\n", n.Name, s.Name)
				}
			}
			return err
		})
	}
	return cmd
}
