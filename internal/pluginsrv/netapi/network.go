package netapi

// Capabilities answers GetCapabilities. Scope is local or global;
// GwAllocChecker asks engines from 28.0 on to call GwAllocCheck.
type Capabilities struct {
	Scope             string
	ConnectivityScope string
	GwAllocChecker    bool
}

// GwAllocCheckRequest asks whether a network to be made needs gateway addresses.
type GwAllocCheckRequest struct{ Options map[string]any }

// GwAllocCheckResponse says for which family no gateway address is wanted.
type GwAllocCheckResponse struct{ SkipIPv4, SkipIPv6 bool }

// IPAMData is one address range of a network. Gateway is an address with the
// range's length, or empty.
type IPAMData struct {
	AddressSpace string
	Pool         string
	Gateway      string
	AuxAddresses map[string]string
}

// CreateNetworkRequest makes a network, once in its life.
type CreateNetworkRequest struct {
	NetworkID string
	Options   map[string]any
	IPv4Data  []IPAMData
	IPv6Data  []IPAMData
}

// DeleteNetworkRequest ends a network.
type DeleteNetworkRequest struct{ NetworkID string }

// EndpointInterface is an endpoint's addresses (with lengths) and MAC.
type EndpointInterface struct {
	Address     string `json:",omitempty"`
	AddressIPv6 string `json:",omitempty"`
	MacAddress  string `json:",omitempty"`
}

// CreateEndpointRequest makes an endpoint. The user's --driver-opt values are
// at the top level of Options, among the engine's own.
type CreateEndpointRequest struct {
	NetworkID  string
	EndpointID string
	Interface  *EndpointInterface
	Options    map[string]any
}

// CreateEndpointResponse gives what the request left empty, and nothing else:
// the engine refuses an answer that repeats what it sent.
type CreateEndpointResponse struct{ Interface *EndpointInterface }

// DeleteEndpointRequest ends an endpoint.
type DeleteEndpointRequest struct{ NetworkID, EndpointID string }

// EndpointInfoRequest asks for what a driver knows of an endpoint.
type EndpointInfoRequest struct{ NetworkID, EndpointID string }

// EndpointInfoResponse is shown by `docker inspect` in parts.
type EndpointInfoResponse struct{ Value map[string]any }

// JoinRequest connects an endpoint to a container. On 20.10 the namespace that
// SandboxKey names does not exist yet.
type JoinRequest struct {
	NetworkID  string
	EndpointID string
	SandboxKey string
	Options    map[string]any
}

// InterfaceName tells the engine which link to move into the container and
// what to call it there: DstPrefix and a number, or exactly DstName where the
// engine honors that field.
type InterfaceName struct {
	SrcName   string
	DstPrefix string
	DstName   string `json:",omitempty"`
}

// StaticRoute is a route in the container: RouteType 0 by NextHop, 1 on the link.
type StaticRoute struct {
	Destination string
	RouteType   int
	NextHop     string `json:",omitempty"`
}

// JoinResponse is what the container gets. Without Gateway and without
// DisableGatewayService the engine adds a link on docker_gwbridge.
type JoinResponse struct {
	InterfaceName         *InterfaceName
	Gateway               string        `json:",omitempty"`
	GatewayIPv6           string        `json:",omitempty"`
	StaticRoutes          []StaticRoute `json:",omitempty"`
	DisableGatewayService bool          `json:",omitempty"`
}

// LeaveRequest disconnects an endpoint.
type LeaveRequest struct{ NetworkID, EndpointID string }

// ProgramExternalConnectivityRequest says that the endpoint is the container's
// gateway, and which ports are published.
type ProgramExternalConnectivityRequest struct {
	NetworkID  string
	EndpointID string
	Options    map[string]any
}

// RevokeExternalConnectivityRequest takes that back.
type RevokeExternalConnectivityRequest struct{ NetworkID, EndpointID string }

// DiscoveryNotification is Swarm's notice of a node.
type DiscoveryNotification struct {
	DiscoveryType int
	DiscoveryData any
}
