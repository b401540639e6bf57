package netapi

import (
	"encoding/json"
	"log/slog"
)

// JoinRequest puts an endpoint into a container's network namespace. On Engine
// 20.10 the namespace of a starting container does not exist yet.
type JoinRequest struct {
	NetworkID  string
	EndpointID string
	SandboxKey string  // path of the namespace
	Options    Options // see [ParsePortMap]; driver options are not among them
}

// Validate reports a missing id.
func (r JoinRequest) Validate() error { return needBoth(r.NetworkID, r.EndpointID) }

// LogAttrs returns what a log line tells of the call.
func (r JoinRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, r.EndpointID) }

// JoinResponse answers a JoinRequest. Without a gateway and without
// DisableGatewayService the Engine adds an interface on docker_gwbridge.
type JoinResponse struct {
	InterfaceName         *InterfaceName // nil: nothing to move into the container
	Gateway               string         `json:",omitempty"`
	GatewayIPv6           string         `json:",omitempty"`
	StaticRoutes          []StaticRoute  `json:",omitempty"`
	DisableGatewayService bool           `json:",omitempty"`
}

// InterfaceName names the interface that the Engine moves into the container,
// and what it is called there: DstName, else DstPrefix and a number.
type InterfaceName struct {
	SrcName   string
	DstPrefix string
	DstName   string `json:",omitempty"` // Engines after 29.7 heed it
}

// RouteType is the kind of a [StaticRoute].
type RouteType int

// The kinds of routes.
const (
	NextHop   RouteType = 0
	Connected RouteType = 1
)

// StaticRoute is a route for the container.
type StaticRoute struct {
	Destination string // CIDR
	RouteType   RouteType
	NextHop     string `json:",omitempty"` // address, for NextHop routes
}

// LeaveRequest takes an endpoint out of its container. It may come twice.
type LeaveRequest struct {
	NetworkID  string
	EndpointID string
}

// Validate reports a missing id.
func (r LeaveRequest) Validate() error { return needBoth(r.NetworkID, r.EndpointID) }

// LogAttrs returns what a log line tells of the call.
func (r LeaveRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, r.EndpointID) }

// ProgramExternalConnectivityRequest says that an endpoint is its container's
// way out. Options are as in [JoinRequest], and may be empty.
type ProgramExternalConnectivityRequest struct {
	NetworkID  string
	EndpointID string
	Options    Options
}

// Validate reports a missing id.
func (r ProgramExternalConnectivityRequest) Validate() error {
	return needBoth(r.NetworkID, r.EndpointID)
}

// LogAttrs returns what a log line tells of the call.
func (r ProgramExternalConnectivityRequest) LogAttrs() []slog.Attr {
	return ids(r.NetworkID, r.EndpointID)
}

// RevokeExternalConnectivityRequest takes back a Program. Engines from 29 on do
// not send it after a live restore.
type RevokeExternalConnectivityRequest struct {
	NetworkID  string
	EndpointID string
}

// Validate reports a missing id.
func (r RevokeExternalConnectivityRequest) Validate() error {
	return needBoth(r.NetworkID, r.EndpointID)
}

// LogAttrs returns what a log line tells of the call.
func (r RevokeExternalConnectivityRequest) LogAttrs() []slog.Attr {
	return ids(r.NetworkID, r.EndpointID)
}

// DiscoveryNotification tells of another Swarm node. Local drivers never see it.
type DiscoveryNotification struct {
	DiscoveryType int
	DiscoveryData json.RawMessage // {"Address","Self"} when DiscoveryType is 1
}
