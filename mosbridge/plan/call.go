package plan

import "github.com/mosdocker/mosdocker/mosbridge/spec"

// CreateNetwork sets up a network that the record just got.
func CreateNetwork(n spec.Network) Plan {
	const cause = "network created"
	p := Plan{{Op: EnsureBridge, Object: n.Bridge, Bridge: n.Bridge, Cause: cause}}
	if n.Uplink != "" {
		p = append(p, Step{Op: AddUplink, Object: n.Uplink, Bridge: n.Bridge, Network: n.ID, Cause: cause})
	}
	if n.Gateway == spec.GatewayHost {
		p = append(p, gateway(n, cause)...)
	}
	p = append(p, Step{Op: NetworkFlows, Object: n.ID.Short(), Bridge: n.Bridge, Network: n.ID, Cause: cause})
	if ruled(n) {
		p = append(p, Step{Op: ApplyFirewall, Object: "rules", Cause: cause})
	}
	return p
}

// ruled says whether the host has rules for a network: for its gateway, or to
// be deaf on its uplink.
func ruled(n spec.Network) bool { return n.Gateway == spec.GatewayHost || n.Uplink != "" }

func gateway(n spec.Network, cause string) Plan {
	return Plan{
		{Op: AddGateway, Object: n.ID.GatewayName(), Network: n.ID, Cause: cause},
		{Op: AddPort, Object: n.ID.RouterName(), Bridge: n.Bridge, Network: n.ID, Cause: cause},
	}
}

// DeleteNetwork takes a network away; last says that its bridge carries no
// other, lastUplink that no other network uses its uplink.
func DeleteNetwork(n spec.Network, last, lastUplink bool) Plan {
	const cause = "network deleted"
	var p Plan
	if ruled(n) {
		p = append(p, Step{Op: ApplyFirewall, Object: "rules", Cause: cause})
	}
	if !last {
		p = append(p, Step{Op: DropNetFlows, Object: n.ID.Short(), Bridge: n.Bridge, Network: n.ID, Cause: cause})
	}
	if n.Gateway == spec.GatewayHost {
		p = append(
			p,
			Step{Op: DeletePort, Object: n.ID.RouterName(), Bridge: n.Bridge, Cause: cause},
			Step{Op: DeleteLink, Object: n.ID.GatewayName(), Cause: cause},
		)
	}
	if lastUplink && !last {
		p = append(p, Step{Op: DeletePort, Object: n.Uplink, Bridge: n.Bridge, Cause: "its last network is deleted"})
	}
	if last {
		p = append(p, Step{Op: DeleteBridge, Object: n.Bridge, Bridge: n.Bridge, Cause: "its last network is deleted"})
	}
	return p
}

// Join connects an endpoint; limited says that it has a rate limit, published
// that its published ports need rules.
func Join(n spec.Network, e spec.Endpoint, limited, published bool) Plan {
	const cause = "container joins"
	port := e.ID.PortName()
	p := Plan{
		{Op: AddVeth, Object: port, Endpoint: e.ID, Cause: cause},
		{Op: AddPort, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause},
	}
	if limited {
		p = append(p, Step{Op: SetMeters, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause})
	}
	p = append(p, Step{Op: AttachFlows, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause})
	if published {
		p = append(p, Step{Op: ApplyFirewall, Object: "rules", Endpoint: e.ID, Cause: cause})
	}
	return p
}

// Leave takes an endpoint's port away, in the reverse order of [Join].
func Leave(n spec.Network, e spec.Endpoint, limited, published bool) Plan {
	const cause = "container leaves"
	port := e.ID.PortName()
	var p Plan
	if published {
		p = append(p, Step{Op: ApplyFirewall, Object: "rules", Endpoint: e.ID, Cause: cause})
	}
	p = append(p, Step{Op: DetachFlows, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause})
	if limited {
		p = append(p, Step{Op: ClearMeters, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause})
	}
	return append(
		p,
		Step{Op: DeletePort, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause},
		Step{Op: DeleteLink, Object: port, Endpoint: e.ID, Cause: cause},
	)
}
