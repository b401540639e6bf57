package mosbridge

import (
	"context"
	"net/netip"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/netapi"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Register puts the driver's calls on a plugin server.
func (d *Driver) Register(s *pluginsrv.Server) {
	s.Implements("NetworkDriver", "IpamDriver")
	pluginsrv.Handle(s, "/NetworkDriver.GetCapabilities", d.onCapabilities)
	pluginsrv.Handle(s, "/NetworkDriver.GwAllocCheck", d.onGwAllocCheck)
	pluginsrv.Handle(s, "/NetworkDriver.CreateNetwork", d.onCreateNetwork)
	pluginsrv.Handle(s, "/NetworkDriver.DeleteNetwork", d.onDeleteNetwork)
	pluginsrv.Handle(s, "/NetworkDriver.CreateEndpoint", d.onCreateEndpoint)
	pluginsrv.Handle(s, "/NetworkDriver.DeleteEndpoint", d.onDeleteEndpoint)
	pluginsrv.Handle(s, "/NetworkDriver.EndpointOperInfo", d.onInfo)
	pluginsrv.Handle(s, "/NetworkDriver.Join", d.onJoin)
	pluginsrv.Handle(s, "/NetworkDriver.Leave", d.onLeave)
	pluginsrv.Handle(s, "/NetworkDriver.ProgramExternalConnectivity", d.onProgram)
	pluginsrv.Handle(s, "/NetworkDriver.RevokeExternalConnectivity", d.onRevoke)
	pluginsrv.Handle(s, "/NetworkDriver.DiscoverNew", d.onDiscover)
	pluginsrv.Handle(s, "/NetworkDriver.DiscoverDelete", d.onDiscover)
	d.registerIPAM(s)
}

func (d *Driver) onCapabilities(context.Context, pluginsrv.None) (netapi.Capabilities, error) {
	return netapi.Capabilities{Scope: "local", ConnectivityScope: "local", GwAllocChecker: true}, nil
}

// onGwAllocCheck spares an internal network the address of a gateway it does not have.
func (d *Driver) onGwAllocCheck(_ context.Context, r netapi.GwAllocCheckRequest) (netapi.GwAllocCheckResponse, error) {
	internal := r.Internal()
	return netapi.GwAllocCheckResponse{SkipIPv4: internal, SkipIPv6: internal}, nil
}

func (d *Driver) onCreateNetwork(ctx context.Context, r netapi.CreateNetworkRequest) (pluginsrv.None, error) {
	opts, err := r.UserOptions()
	if err != nil {
		return pluginsrv.None{}, err
	}
	req := spec.NetworkRequest{ID: r.NetworkID, Options: opts, Internal: r.Internal()}
	for _, data := range append(r.IPv4Data, r.IPv6Data...) {
		s, err := subnet(data)
		if err != nil {
			return pluginsrv.None{}, err
		}
		req.Subnets = append(req.Subnets, s)
	}
	d.bindPools(req)
	return pluginsrv.None{}, d.createNetwork(ctx, req)
}

func subnet(data netapi.IPAMData) (spec.Subnet, error) {
	p, err := netip.ParsePrefix(data.Pool)
	if err != nil {
		return spec.Subnet{}, fault.Invalid("subnet of the network: %w", err)
	}
	s := spec.Subnet{Prefix: p}
	if data.Gateway == "" {
		return s, nil
	}
	gw, err := netip.ParsePrefix(data.Gateway)
	if err != nil {
		return s, fault.Invalid("gateway of the network: %w", err)
	}
	s.Gateway = gw.Addr()
	return s, nil
}

func (d *Driver) onDeleteNetwork(ctx context.Context, r netapi.DeleteNetworkRequest) (pluginsrv.None, error) {
	return pluginsrv.None{}, d.deleteNetwork(ctx, spec.NetworkID(r.NetworkID))
}

func (d *Driver) onCreateEndpoint(ctx context.Context, r netapi.CreateEndpointRequest) (netapi.CreateEndpointResponse, error) {
	opts, err := r.DriverOptions()
	if err != nil {
		return netapi.CreateEndpointResponse{}, err
	}
	req := spec.EndpointRequest{ID: r.EndpointID, Network: r.NetworkID, Options: opts, IfName: r.IfName()}
	if r.Interface != nil {
		req.MAC, req.IPv4, req.IPv6 = r.Interface.MacAddress, r.Interface.Address, r.Interface.AddressIPv6
	}
	if err := d.canName(req.IfName); err != nil {
		return netapi.CreateEndpointResponse{}, err
	}
	e, err := d.createEndpoint(ctx, req)
	if err != nil || req.MAC != "" {
		// Only what was empty in the request may be answered.
		return netapi.CreateEndpointResponse{Interface: &netapi.EndpointInterface{}}, err
	}
	return netapi.CreateEndpointResponse{Interface: &netapi.EndpointInterface{MacAddress: e.MAC.String()}}, nil
}

func (d *Driver) onDeleteEndpoint(ctx context.Context, r netapi.DeleteEndpointRequest) (pluginsrv.None, error) {
	return pluginsrv.None{}, d.deleteEndpoint(ctx, r.EndpointID)
}

func (d *Driver) onInfo(_ context.Context, r netapi.EndpointInfoRequest) (netapi.EndpointInfoResponse, error) {
	_, e, err := d.knownEndpoint(r.NetworkID, r.EndpointID)
	if err != nil {
		return netapi.EndpointInfoResponse{}, err
	}
	return netapi.EndpointInfoResponse{Value: map[string]any{"mos.port": e.Endpoint.ID.PortName()}}, nil
}

func (d *Driver) onJoin(ctx context.Context, r netapi.JoinRequest) (netapi.JoinResponse, error) {
	bindings, err := netapi.ParsePortMap(r.Options)
	if err != nil {
		return netapi.JoinResponse{}, err
	}
	asked, err := ports(bindings)
	if err != nil {
		return netapi.JoinResponse{}, err
	}
	n, e, err := d.join(ctx, r.NetworkID, r.EndpointID, r.SandboxKey, asked)
	if err != nil {
		return netapi.JoinResponse{}, err
	}
	resp := netapi.JoinResponse{InterfaceName: &netapi.InterfaceName{SrcName: e.Endpoint.ID.PeerName(), DstPrefix: "eth", DstName: e.Endpoint.IfName}}
	if n.Network.Gateway == spec.GatewayNone {
		// Without this the engine would add a NIC on docker_gwbridge: a way out.
		resp.DisableGatewayService = true
		return resp, nil
	}
	if s, ok := n.Network.Subnet(true); ok && e.Endpoint.IPv4.IsValid() {
		resp.Gateway = s.Gateway.String()
	}
	if s, ok := n.Network.Subnet(false); ok && e.Endpoint.IPv6.IsValid() {
		resp.GatewayIPv6 = s.Gateway.String()
	}
	return resp, nil
}

func ports(bindings []netapi.PortBinding) ([]spec.Port, error) {
	var ps []spec.Port
	for _, b := range bindings {
		proto := spec.Proto(b.Proto)
		if proto != spec.TCP && proto != spec.UDP {
			return nil, fault.Invalid("port %d/%s cannot be published: mosbridge publishes tcp and udp", b.Port, b.Proto)
		}
		ps = append(ps, spec.Port{Proto: proto, Container: b.Port, HostIP: b.HostIP, HostPort: b.HostPort, HostPortEnd: b.HostPortEnd})
	}
	return ps, nil
}

func (d *Driver) onLeave(ctx context.Context, r netapi.LeaveRequest) (pluginsrv.None, error) {
	return pluginsrv.None{}, d.leave(ctx, r.EndpointID)
}

func (d *Driver) onProgram(ctx context.Context, r netapi.ProgramExternalConnectivityRequest) (pluginsrv.None, error) {
	return pluginsrv.None{}, d.external(ctx, r.EndpointID, programmed)
}

func (d *Driver) onRevoke(ctx context.Context, r netapi.RevokeExternalConnectivityRequest) (pluginsrv.None, error) {
	return pluginsrv.None{}, d.external(ctx, r.EndpointID, revoked)
}

// onDiscover takes Swarm's notices, which mean nothing to a local driver.
func (d *Driver) onDiscover(context.Context, netapi.DiscoveryNotification) (pluginsrv.None, error) {
	return pluginsrv.None{}, nil
}
