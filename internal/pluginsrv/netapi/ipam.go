package netapi

// IPAMCapabilities answers GetCapabilities of an IPAM driver.
type IPAMCapabilities struct {
	RequiresMACAddress    bool
	RequiresRequestReplay bool
}

// AddressSpaces answers GetDefaultAddressSpaces.
type AddressSpaces struct {
	LocalDefaultAddressSpace  string
	GlobalDefaultAddressSpace string
}

// RequestPoolRequest asks for a network's range; Options are the user's
// --ipam-opt values.
type RequestPoolRequest struct {
	AddressSpace string
	Pool         string
	SubPool      string
	Options      map[string]string
	V6           bool
}

// RequestPoolResponse is the pool's id and range.
type RequestPoolResponse struct {
	PoolID string
	Pool   string
	Data   map[string]string `json:",omitempty"`
}

// ReleasePoolRequest gives a pool back.
type ReleasePoolRequest struct{ PoolID string }

// RequestAddressRequest asks for an address; an empty Address is any.
type RequestAddressRequest struct {
	PoolID  string
	Address string
	Options map[string]string
}

// RequestAddressResponse is the address with the pool's length.
type RequestAddressResponse struct {
	Address string
	Data    map[string]string `json:",omitempty"`
}

// ReleaseAddressRequest gives an address back.
type ReleaseAddressRequest struct{ PoolID, Address string }

// Keys of RequestAddressRequest.Options.
const (
	// AddressTypeKey has the value GatewayType when the address is a gateway's.
	AddressTypeKey = "RequestAddressType"
	GatewayType    = "com.docker.network.gateway"
	// MACKey is sent to drivers that ask for it by RequiresMACAddress.
	MACKey = "com.docker.network.endpoint.macaddress"
	// NameKey is the container's name, from engine 29.0 on.
	NameKey = "com.docker.network.endpoint.name"
)
