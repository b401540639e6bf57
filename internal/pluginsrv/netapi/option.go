package netapi

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
)

// Keys of the engine's own options.
const (
	genericKey  = "com.docker.network.generic"
	internalKey = "com.docker.network.internal"
	portMapKey  = "com.docker.network.portmap"
	ifNameKey   = "com.docker.network.endpoint.ifname"
	ownPrefix   = "com.docker.network."
)

// optionError is a fault of an option map, of class InvalidArgument.
type optionError string

func (e optionError) Error() string { return string(e) }
func (optionError) Unwrap() error   { return errdefs.ErrInvalidArgument }

// UserOptions are the user's -o values.
func (r CreateNetworkRequest) UserOptions() (map[string]string, error) {
	switch generic := r.Options[genericKey].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return texts(generic)
	default:
		return nil, optionError(fmt.Sprintf("option %s: want an object, got %T", genericKey, generic))
	}
}

// Internal says whether the network is made with --internal.
func (r CreateNetworkRequest) Internal() bool { return truth(r.Options[internalKey]) }

// Internal says whether the network is to be made with --internal.
func (r GwAllocCheckRequest) Internal() bool { return truth(r.Options[internalKey]) }

// truth reads a flag that some engines send as a bool and some as text.
func truth(v any) bool { return v == true || v == "true" }

// DriverOptions are the user's --driver-opt values, without the engine's own.
func (r CreateEndpointRequest) DriverOptions() (map[string]string, error) {
	given := map[string]any{}
	for k, v := range r.Options {
		if !strings.HasPrefix(k, ownPrefix) {
			given[k] = v
		}
	}
	return texts(given)
}

// IfName is the interface name asked for; "" for none.
func (r CreateEndpointRequest) IfName() string {
	s, _ := r.Options[ifNameKey].(string)
	return s
}

func texts(m map[string]any) (map[string]string, error) {
	out := make(map[string]string, len(m))
	for k, v := range m {
		switch v := v.(type) {
		case string:
			out[k] = v
		case bool, float64:
			out[k] = fmt.Sprint(v)
		default:
			return nil, optionError(fmt.Sprintf("option %.60q: want text, got %T", k, v))
		}
	}
	return out, nil
}

// PortBinding is one published port. Proto is tcp, udp, sctp or the number;
// HostIP is zero for all addresses; HostPort 0 asks for any port.
type PortBinding struct {
	Proto       string
	Port        uint16
	HostIP      netip.Addr
	HostPort    uint16
	HostPortEnd uint16
}

// wireBinding is how engines write a binding: the protocol as its IP number, an
// absent host address as "".
type wireBinding struct {
	Proto       uint8
	Port        uint16
	HostIP      string
	HostPort    uint16
	HostPortEnd uint16
}

// ParsePortMap reads the published ports from the options of a Join or a
// ProgramExternalConnectivity; none give an empty list.
func ParsePortMap(options map[string]any) ([]PortBinding, error) {
	v, ok := options[portMapKey]
	if !ok || v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, optionError("published ports: " + err.Error())
	}
	var wire []wireBinding
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, optionError("published ports: " + err.Error())
	}
	out := make([]PortBinding, 0, len(wire))
	for _, w := range wire {
		b := PortBinding{Proto: protoName(w.Proto), Port: w.Port, HostPort: w.HostPort, HostPortEnd: w.HostPortEnd}
		if w.Port == 0 {
			return nil, optionError("published ports: container port 0 is no port")
		}
		if w.HostPortEnd != 0 && w.HostPortEnd < w.HostPort {
			return nil, optionError(fmt.Sprintf("published ports: range %d-%d ends before it begins", w.HostPort, w.HostPortEnd))
		}
		if w.HostIP != "" {
			if b.HostIP, err = netip.ParseAddr(w.HostIP); err != nil || b.HostIP.Zone() != "" {
				return nil, optionError(fmt.Sprintf("published ports: %.60q is no address of a host", w.HostIP))
			}
			b.HostIP = b.HostIP.Unmap()
		}
		out = append(out, b)
	}
	return out, nil
}

func protoName(n uint8) string {
	switch n {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 132:
		return "sctp"
	}
	return fmt.Sprint(n)
}
