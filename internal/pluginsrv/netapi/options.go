package netapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"

	"github.com/containerd/errdefs"
)

// ownPrefix begins the keys that belong to Docker.
const ownPrefix = "com.docker.network."

// Keys that Docker puts into options.
const (
	// GenericKey holds the user's -o values of a network, an object.
	GenericKey = ownPrefix + "generic"
	// InternalKey is true for docker network create --internal.
	InternalKey = ownPrefix + "internal"
	// EnableIPv6Key is true for docker network create --ipv6.
	EnableIPv6Key = ownPrefix + "enable_ipv6"
	// PortMapKey holds what docker run -p asks for.
	PortMapKey = ownPrefix + "portmap"
	// ExposedPortsKey holds what docker run --expose and the image ask for.
	ExposedPortsKey = ownPrefix + "endpoint.exposedports"
	// MACKey is the MAC of an endpoint: base64 of its bytes to the network
	// driver, text with colons to the IPAM driver.
	MACKey = ownPrefix + "endpoint.macaddress"
	// IfNameKey is the name that the user wants for the interface.
	IfNameKey = ownPrefix + "endpoint.ifname"
	// GatewayKey is where the answer to RequestPool may carry a gateway, as
	// ADDRESS/LENGTH.
	GatewayKey = ownPrefix + "gateway"
)

// Options is the options object of a call: values by key, as they came.
type Options map[string]json.RawMessage

// value decodes the value of key into v. A missing key or a null leaves v alone.
func (o Options) value(key string, v any) error {
	raw, ok := o[key]
	if !ok || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("option %s: %w (%w)", key, errdefs.ErrInvalidArgument, err)
	}
	return nil
}

// flag reports whether a Docker flag is set. Engines send a bool; stored
// networks of old ones sometimes the word.
func (o Options) flag(key string) bool {
	var b bool
	if o.value(key, &b) == nil {
		return b
	}
	var s string
	return o.value(key, &s) == nil && s == "true"
}

// text returns a string, empty when it is missing or no string.
func (o Options) text(key string) string {
	var s string
	_ = o.value(key, &s) // the caller asks for a hint
	return s
}

// strings decodes an object whose values all are strings.
func (o Options) strings(key string) (map[string]string, error) {
	var raw map[string]*string
	if err := o.value(key, &raw); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(raw))
	for k, v := range raw {
		if v == nil {
			return nil, fmt.Errorf("option %s: %s has no value: %w", key, k, errdefs.ErrInvalidArgument)
		}
		out[k] = *v
	}
	return out, nil
}

// MAC returns the MAC that the Engine gave an endpoint, nil without one.
func (o Options) MAC() (net.HardwareAddr, error) {
	var raw []byte
	if err := o.value(MACKey, &raw); err != nil {
		return nil, err
	}
	if len(raw) != 0 && len(raw) != 6 {
		return nil, fmt.Errorf("option %s: it has %d bytes, not 6: %w", MACKey, len(raw), errdefs.ErrInvalidArgument)
	}
	return raw, nil
}
