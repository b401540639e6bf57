package netapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/containerd/errdefs"
)

// Capabilities answers /NetworkDriver.GetCapabilities.
type Capabilities struct {
	Scope             string // local or global
	ConnectivityScope string // local or global
	GwAllocChecker    bool   // whether GwAllocCheck may be called; Engines from 28.0 on
}

// GwAllocCheckRequest asks, before a network is created, which gateway
// addresses the driver needs. Options are those of [CreateNetworkRequest].
type GwAllocCheckRequest struct {
	Options Options
}

// Internal reports whether the network is to be internal.
func (r GwAllocCheckRequest) Internal() bool { return r.Options.flag(InternalKey) }

// UserOptions returns the user's -o values.
func (r GwAllocCheckRequest) UserOptions() (map[string]string, error) {
	return r.Options.strings(GenericKey)
}

// GwAllocCheckResponse says which families need no gateway address.
type GwAllocCheckResponse struct {
	SkipIPv4, SkipIPv6 bool
}

// IPAMData is one subnet of a network.
type IPAMData struct {
	AddressSpace string
	Pool         string            // CIDR
	Gateway      string            // ADDRESS/LENGTH, empty for none
	AuxAddresses map[string]string // ADDRESS/LENGTH by the user's name
}

// AllocateNetworkRequest comes to Swarm managers only, for global drivers.
type AllocateNetworkRequest struct {
	NetworkID          string
	Options            map[string]string
	IPv4Data, IPv6Data []IPAMData
}

// Validate reports a missing network id.
func (r AllocateNetworkRequest) Validate() error { return need("NetworkID", r.NetworkID) }

// AllocateNetworkResponse carries options for CreateNetwork on the hosts.
type AllocateNetworkResponse struct {
	Options map[string]string
}

// FreeNetworkRequest takes back an AllocateNetwork.
type FreeNetworkRequest struct {
	NetworkID string
}

// Validate reports a missing network id.
func (r FreeNetworkRequest) Validate() error { return need("NetworkID", r.NetworkID) }

// CreateNetworkRequest makes a network. It comes once in a network's life.
type CreateNetworkRequest struct {
	NetworkID          string
	Options            Options
	IPv4Data, IPv6Data []IPAMData
}

// Validate reports a missing network id.
func (r CreateNetworkRequest) Validate() error { return need("NetworkID", r.NetworkID) }

// LogAttrs returns what a log line tells of the call.
func (r CreateNetworkRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, "") }

// Internal reports whether the user said --internal.
func (r CreateNetworkRequest) Internal() bool { return r.Options.flag(InternalKey) }

// EnableIPv6 reports whether the user said --ipv6.
func (r CreateNetworkRequest) EnableIPv6() bool { return r.Options.flag(EnableIPv6Key) }

// UserOptions returns the user's -o values.
func (r CreateNetworkRequest) UserOptions() (map[string]string, error) {
	return r.Options.strings(GenericKey)
}

// DeleteNetworkRequest removes a network.
type DeleteNetworkRequest struct {
	NetworkID string
}

// Validate reports a missing network id.
func (r DeleteNetworkRequest) Validate() error { return need("NetworkID", r.NetworkID) }

// LogAttrs returns what a log line tells of the call.
func (r DeleteNetworkRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, "") }

// CreateEndpointRequest makes an endpoint. The Engine holds a lock of the
// network until it is answered.
type CreateEndpointRequest struct {
	NetworkID  string
	EndpointID string
	Interface  *EndpointInterface // what is fixed already; nil or empty fields are the driver's choice
	Options    Options
}

// EndpointInterface is the addresses of an endpoint. In an answer, only what was
// empty in the request may be filled.
type EndpointInterface struct {
	Address     string `json:",omitempty"` // ADDRESS/LENGTH
	AddressIPv6 string `json:",omitempty"` // ADDRESS/LENGTH
	MacAddress  string `json:",omitempty"` // with colons
}

// Validate reports a missing id.
func (r CreateEndpointRequest) Validate() error { return needBoth(r.NetworkID, r.EndpointID) }

// LogAttrs returns what a log line tells of the call.
func (r CreateEndpointRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, r.EndpointID) }

// IfName returns the interface name that the user wants, empty for none.
func (r CreateEndpointRequest) IfName() string { return r.Options.text(IfNameKey) }

// DriverOptions returns the user's --driver-opt values. They lie beside Docker's
// own options, which are left out.
func (r CreateEndpointRequest) DriverOptions() (map[string]string, error) {
	out := map[string]string{}
	for key, raw := range r.Options {
		if strings.HasPrefix(key, ownPrefix) {
			continue
		}
		var s *string
		if err := json.Unmarshal(raw, &s); err != nil || s == nil {
			return nil, fmt.Errorf("option %s is no string: %w", key, errdefs.ErrInvalidArgument)
		}
		out[key] = *s
	}
	return out, nil
}

// CreateEndpointResponse answers a CreateEndpointRequest.
type CreateEndpointResponse struct {
	Interface *EndpointInterface
}

// DeleteEndpointRequest removes an endpoint.
type DeleteEndpointRequest struct {
	NetworkID  string
	EndpointID string
}

// Validate reports a missing id.
func (r DeleteEndpointRequest) Validate() error { return needBoth(r.NetworkID, r.EndpointID) }

// LogAttrs returns what a log line tells of the call.
func (r DeleteEndpointRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, r.EndpointID) }

// EndpointInfoRequest asks what docker inspect could show of an endpoint.
type EndpointInfoRequest struct {
	NetworkID  string
	EndpointID string
}

// Validate reports a missing id.
func (r EndpointInfoRequest) Validate() error { return needBoth(r.NetworkID, r.EndpointID) }

// LogAttrs returns what a log line tells of the call.
func (r EndpointInfoRequest) LogAttrs() []slog.Attr { return ids(r.NetworkID, r.EndpointID) }

// EndpointInfoResponse answers it. Value must not be nil.
type EndpointInfoResponse struct {
	Value map[string]any
}

func ids(network, endpoint string) []slog.Attr {
	attrs := []slog.Attr{slog.String("network", network)}
	if endpoint != "" {
		attrs = append(attrs, slog.String("endpoint", endpoint))
	}
	return attrs
}

func need(field, value string) error {
	if value == "" {
		return fmt.Errorf("%s is missing: %w", field, errdefs.ErrInvalidArgument)
	}
	return nil
}

func needBoth(network, endpoint string) error {
	return errors.Join(need("NetworkID", network), need("EndpointID", endpoint))
}
