package netapi

import (
	"log/slog"
	"net"
)

// Keys of RequestAddressRequest.Options.
const (
	// AddressTypeKey has the value GatewayType when the address is a gateway's.
	AddressTypeKey = "RequestAddressType"
	GatewayType    = GatewayKey
	// NameKey is the container's name, from Engine 29.0 on.
	NameKey = ownPrefix + "endpoint.name"
)

// IPAMCapabilities answers /IpamDriver.GetCapabilities.
type IPAMCapabilities struct {
	RequiresMACAddress    bool // the Engine chooses a MAC before it asks for an address
	RequiresRequestReplay bool // the Engine repeats its requests at its start
}

// AddressSpaces answers /IpamDriver.GetDefaultAddressSpaces.
type AddressSpaces struct {
	LocalDefaultAddressSpace  string
	GlobalDefaultAddressSpace string
}

// RequestPoolRequest asks for a subnet. A replay repeats it word by word.
type RequestPoolRequest struct {
	AddressSpace string
	Pool         string            // CIDR; empty for any
	SubPool      string            // CIDR of --ip-range; empty for all
	Options      map[string]string // the user's --ipam-opt values
	V6           bool
}

// RequestPoolResponse answers it. Data[GatewayKey] may name a gateway.
type RequestPoolResponse struct {
	PoolID string
	Pool   string // CIDR
	Data   map[string]string
}

// ReleasePoolRequest gives a subnet back.
type ReleasePoolRequest struct {
	PoolID string
}

// Validate reports a missing pool id.
func (r ReleasePoolRequest) Validate() error { return need("PoolID", r.PoolID) }

// LogAttrs returns what a log line tells of the call.
func (r ReleasePoolRequest) LogAttrs() []slog.Attr {
	return []slog.Attr{slog.String("pool", r.PoolID)}
}

// RequestAddressRequest asks for an address of a pool. In a replay its options
// are null.
type RequestAddressRequest struct {
	PoolID  string
	Address string // without length; empty for any
	Options map[string]string
}

// Validate reports a missing pool id.
func (r RequestAddressRequest) Validate() error { return need("PoolID", r.PoolID) }

// LogAttrs returns what a log line tells of the call.
func (r RequestAddressRequest) LogAttrs() []slog.Attr {
	return []slog.Attr{slog.String("pool", r.PoolID), slog.String("address", r.Address)}
}

// IsGateway reports whether the address is for the network's gateway.
func (r RequestAddressRequest) IsGateway() bool {
	return r.Options[AddressTypeKey] == GatewayType
}

// EndpointName returns the container's name; empty on Engines before 29.0.
func (r RequestAddressRequest) EndpointName() string { return r.Options[NameKey] }

// MAC returns the endpoint's MAC, nil when the Engine does not tell it. Text that
// is no MAC counts as none.
func (r RequestAddressRequest) MAC() net.HardwareAddr {
	mac, err := net.ParseMAC(r.Options[MACKey])
	if err != nil {
		return nil
	}
	return mac
}

// RequestAddressResponse answers it.
type RequestAddressResponse struct {
	Address string // ADDRESS/LENGTH
	Data    map[string]string
}

// ReleaseAddressRequest gives an address back.
type ReleaseAddressRequest struct {
	PoolID  string
	Address string // without length
}

// Validate reports what is missing.
func (r ReleaseAddressRequest) Validate() error {
	if err := need("PoolID", r.PoolID); err != nil {
		return err
	}
	return need("Address", r.Address)
}

// LogAttrs returns what a log line tells of the call.
func (r ReleaseAddressRequest) LogAttrs() []slog.Attr {
	return []slog.Attr{slog.String("pool", r.PoolID), slog.String("address", r.Address)}
}
