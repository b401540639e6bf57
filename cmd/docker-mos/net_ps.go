package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

func (n network) ps() *cobra.Command {
	type e = api.Endpoint
	l := &list[e]{
		id: func(x e) string { return x.ID },
		columns: []column[e]{
			{name: "Name", header: "CONTAINER", value: func(x e) string { return orShort(x.Name, dash(x.Container)) }},
			{name: "Network", header: "NETWORK", value: func(x e) string { return orShort(x.NetName, x.Network) }},
			{name: "Addresses", header: "ADDRESSES", value: func(x e) string { return words(x.Addrs) }},
			{name: "MAC", header: "MAC", value: func(x e) string { return x.MAC }},
			{name: "Port", header: "PORT", value: func(x e) string { return x.Port }},
			{name: "Rates", header: "RATE IN / OUT", value: func(x e) string { return rates(x.RateIn, x.RateOut) }},
			{name: "Traffic", header: "RX / TX", value: func(x e) string { return size(x.Stats.RxBytes) + " / " + size(x.Stats.TxBytes) }},
			{name: "State", header: "STATE", value: func(x e) string { return x.State }},
			{name: "Since", header: "SINCE", value: func(x e) string { return ago(x.Since) }},
			{name: "ID", header: "ENDPOINT ID", extra: true, value: func(x e) string { return x.ID }},
			{name: "ContainerID", header: "CONTAINER ID", extra: true, value: func(x e) string { return dash(x.Container) }},
			{name: "NetworkID", header: "NETWORK ID", extra: true, value: func(x e) string { return x.Network }},
			{name: "Ofport", header: "OFPORT", extra: true, value: func(x e) string { return strconv.Itoa(int(x.Ofport)) }},
			{name: "RxPackets", header: "RX PACKETS", extra: true, value: func(x e) string { return strconv.FormatUint(x.Stats.RxPackets, 10) }},
			{name: "TxPackets", header: "TX PACKETS", extra: true, value: func(x e) string { return strconv.FormatUint(x.Stats.TxPackets, 10) }},
			{name: "RxDropped", header: "RX DROPPED", extra: true, value: func(x e) string { return strconv.FormatUint(x.Stats.RxDropped, 10) }},
			{name: "TxDropped", header: "TX DROPPED", extra: true, value: func(x e) string { return strconv.FormatUint(x.Stats.TxDropped, 10) }},
		},
		filters: []filter[e]{
			{"address", func(x e, v string) bool { return hasAddr(x.Addrs, v) }},
			{"container", func(x e, v string) bool { return sameRef(v, x.Name, x.Container) }},
			{"id", func(x e, v string) bool { return sameRef(v, "", x.ID) }},
			{"mac", func(x e, v string) bool { return x.MAC == v }},
			{"network", func(x e, v string) bool { return sameRef(v, x.NetName, x.Network) }},
			{"port", func(x e, v string) bool { return x.Port == v }},
			{"state", func(x e, v string) bool { return x.State == v }},
		},
	}
	return listCommand(n.daemon, l, "ps", "List the interfaces of containers", (*api.Client).Endpoints)
}

func (n network) ports() *cobra.Command {
	type p = api.Port
	l := &list[p]{
		columns: []column[p]{
			{name: "Name", header: "CONTAINER", value: func(x p) string { return orShort(x.Name, dash(x.Container)) }},
			{name: "Network", header: "NETWORK", value: func(x p) string { return orShort(x.NetName, x.Network) }},
			{name: "Host", header: "HOST", value: func(x p) string { return hostPort(x) }},
			{name: "Target", header: "TARGET", value: func(x p) string { return x.Target.String() + "/" + x.Proto }},
			{name: "Proto", header: "PROTOCOL", extra: true, value: func(x p) string { return x.Proto }},
			{name: "HostIP", header: "HOST IP", extra: true, value: func(x p) string { return x.HostIP.String() }},
			{name: "HostPort", header: "HOST PORT", extra: true, value: func(x p) string { return strconv.Itoa(int(x.HostPort)) }},
			{name: "ContainerID", header: "CONTAINER ID", extra: true, value: func(x p) string { return dash(x.Container) }},
			{name: "Endpoint", header: "ENDPOINT ID", extra: true, value: func(x p) string { return x.Endpoint }},
		},
		filters: []filter[p]{
			{"container", func(x p, v string) bool { return sameRef(v, x.Name, x.Container) }},
			{"network", func(x p, v string) bool { return sameRef(v, x.NetName, x.Network) }},
			{"proto", func(x p, v string) bool { return x.Proto == v }},
			{"publish", func(x p, v string) bool {
				port := strconv.Itoa(int(x.HostPort))
				return v == port || v == port+"/"+x.Proto
			}},
		},
	}
	return listCommand(n.daemon, l, "ports", "List published ports", (*api.Client).Ports)
}

// hostPort is the outside of a published port; no address means all of them.
func hostPort(p api.Port) string {
	port := strconv.Itoa(int(p.HostPort))
	switch {
	case !p.HostIP.IsValid():
		return "*:" + port
	case p.HostIP.Is6():
		return "[" + p.HostIP.String() + "]:" + port
	}
	return p.HostIP.String() + ":" + port
}
