package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (n network) ls() *cobra.Command {
	l := &list[api.Network]{
		id: func(n api.Network) string { return n.ID },
		columns: []column[api.Network]{
			{name: "ID", header: "NETWORK ID", value: func(n api.Network) string { return n.ID }},
			{name: "Name", header: "NAME", value: func(n api.Network) string { return dash(n.Name) }},
			{name: "Bridge", header: "BRIDGE", value: func(n api.Network) string { return n.Bridge }},
			{name: "VLAN", header: "VLAN", value: func(n api.Network) string { return strconv.Itoa(int(n.VLAN)) }},
			{name: "Subnets", header: "SUBNETS", value: func(n api.Network) string { return words(n.Subnets) }},
			{name: "Gateway", header: "GATEWAY", value: func(n api.Network) string { return n.Gateway }},
			{name: "Rates", header: "RATE IN / OUT", value: func(n api.Network) string { return rates(n.RateIn, n.RateOut) }},
			{name: "Containers", header: "CONTAINERS", value: func(n api.Network) string { return fmt.Sprintf("%d of %d up", n.Joined, n.Endpoints) }},
			{name: "Uplink", header: "UPLINK", extra: true, value: func(n api.Network) string { return dash(n.Uplink) }},
			{name: "MTU", header: "MTU", extra: true, value: func(n api.Network) string { return strconv.Itoa(n.MTU) }},
			{name: "NAT", header: "NAT", extra: true, value: func(n api.Network) string { return strconv.FormatBool(n.NAT) }},
			{name: "Internal", header: "INTERNAL", extra: true, value: func(n api.Network) string { return strconv.FormatBool(n.Internal) }},
			{name: "Created", header: "CREATED", extra: true, value: func(n api.Network) string { return ago(n.Created) }},
		},
		filters: []filter[api.Network]{
			{"bridge", func(n api.Network, v string) bool { return n.Bridge == v }},
			{"id", func(n api.Network, v string) bool { return sameRef(v, "", n.ID) }},
			byName(func(n api.Network) string { return n.Name }),
			{"uplink", func(n api.Network, v string) bool { return n.Uplink == v }},
			{"vlan", func(n api.Network, v string) bool { return strconv.Itoa(int(n.VLAN)) == v }},
		},
	}
	return listCommand(n.daemon, l, "ls", "List networks", (*api.Client).Networks)
}
