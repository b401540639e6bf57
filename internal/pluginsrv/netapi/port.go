package netapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"
)

// Proto is a transport protocol, in lower case. On the wire it is the number of
// the protocol in an IP header.
type Proto string

// The protocols whose ports Docker publishes.
const (
	TCP  Proto = "tcp"
	UDP  Proto = "udp"
	SCTP Proto = "sctp"
)

// PortBinding is one published port. HostPort 0 asks for any free port, a
// HostPortEnd above HostPort for the first free one of that range.
type PortBinding struct {
	Proto       Proto
	IP          netip.Addr // of the container; zero in requests
	Port        uint16     // of the container
	HostIP      netip.Addr // zero for all addresses of the host
	HostPort    uint16
	HostPortEnd uint16
}

// ExposedPort is a port that the image or --expose names.
type ExposedPort struct {
	Proto Proto
	Port  uint16
}

// wirePort has the fields of both forms. Pointers tell a missing field from 0.
type wirePort struct {
	Proto       *int    `json:"Proto"`
	IP          string  `json:"IP"`
	Port        *uint16 `json:"Port"`
	HostIP      string  `json:"HostIP"`
	HostPort    uint16  `json:"HostPort"`
	HostPortEnd uint16  `json:"HostPortEnd"`
}

// ParsePortMap returns what the options of Join, CreateEndpoint or
// ProgramExternalConnectivity ask to publish, in the order in which it came.
func ParsePortMap(o Options) ([]PortBinding, error) {
	wire, err := o.ports(PortMapKey)
	if err != nil {
		return nil, err
	}
	var out []PortBinding
	for i, w := range wire {
		b := PortBinding{HostPort: w.HostPort, HostPortEnd: w.HostPortEnd}
		if b.Proto, b.Port, err = w.port(); err == nil {
			b.IP, err = addr(w.IP)
		}
		if err == nil {
			b.HostIP, err = addr(w.HostIP)
		}
		if err == nil && b.HostPortEnd != 0 && b.HostPortEnd < b.HostPort {
			err = fmt.Errorf("host ports %d to %d run backwards", b.HostPort, b.HostPortEnd)
		}
		if err != nil {
			return nil, fmt.Errorf("option %s: entry %d: %w (%w)", PortMapKey, i, err, errdefs.ErrInvalidArgument)
		}
		out = append(out, b)
	}
	return out, nil
}

// ParseExposedPorts returns the exposed ports in the same options.
func ParseExposedPorts(o Options) ([]ExposedPort, error) {
	wire, err := o.ports(ExposedPortsKey)
	if err != nil {
		return nil, err
	}
	var out []ExposedPort
	for i, w := range wire {
		proto, port, err := w.port()
		if err != nil {
			return nil, fmt.Errorf("option %s: entry %d: %w (%w)", ExposedPortsKey, i, err, errdefs.ErrInvalidArgument)
		}
		out = append(out, ExposedPort{proto, port})
	}
	return out, nil
}

// ports decodes a list of ports. An entry that is null is refused as one
// without a protocol.
func (o Options) ports(key string) ([]wirePort, error) {
	var list []json.RawMessage
	if err := o.value(key, &list); err != nil {
		return nil, err
	}
	out := make([]wirePort, len(list))
	for i, raw := range list {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("option %s: entry %d: %w (%w)", key, i, errdefs.ErrInvalidArgument, err)
		}
	}
	return out, nil
}

func (w wirePort) port() (Proto, uint16, error) {
	switch {
	case w.Proto == nil:
		return "", 0, errors.New("it has no Proto")
	case w.Port == nil || *w.Port == 0:
		return "", 0, errors.New("it has no Port")
	}
	switch *w.Proto {
	case 6:
		return TCP, *w.Port, nil
	case 17:
		return UDP, *w.Port, nil
	case 132:
		return SCTP, *w.Port, nil
	}
	return "", 0, fmt.Errorf("protocol %d is none of 6 (tcp), 17 (udp), 132 (sctp)", *w.Proto)
}

func addr(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() != "" {
		err = fmt.Errorf("address %s has a zone", s)
	}
	return a.Unmap(), err
}
