package plan

import (
	"fmt"
	"strings"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Op is the kind of a change; each makes one outside change that may be repeated.
type Op string

// The changes there are.
const (
	EnsureBridge  Op = "ensure bridge"  // Object: bridge
	DeleteBridge  Op = "delete bridge"  // Object: bridge
	AddUplink     Op = "add uplink"     // Object: interface, Bridge
	AddVeth       Op = "add veth"       // Endpoint; Object: port name
	DeleteLink    Op = "delete link"    // Object: link
	AddGateway    Op = "add gateway"    // Network; Object: gateway link
	AddPort       Op = "add port"       // Object: port, Bridge, and Network or Endpoint
	DeletePort    Op = "delete port"    // Object: port, Bridge
	SetMeters     Op = "set meters"     // Endpoint
	ClearMeters   Op = "clear meters"   // Object: port name, Bridge
	TrimMeters    Op = "trim meters"    // Object: port name, Bridge, Endpoint: those its limits no longer need
	AttachFlows   Op = "attach flows"   // Endpoint, Bridge
	DetachFlows   Op = "detach flows"   // Endpoint, Bridge
	NetworkFlows  Op = "network flows"  // Network, Bridge
	DropNetFlows  Op = "drop flows"     // Network, Bridge
	ReplayFlows   Op = "replay flows"   // Object: bridge: all flows and meters, then the older rounds go
	ApplyFirewall Op = "apply firewall" // the whole of our rules
)

// Step is one change and why it is needed.
type Step struct {
	Op       Op              `json:"op"`
	Object   string          `json:"object"`
	Bridge   string          `json:"bridge,omitempty"`
	Network  spec.NetworkID  `json:"network,omitempty"`
	Endpoint spec.EndpointID `json:"endpoint,omitempty"`
	Cause    string          `json:"cause"`
}

// String is the step as people read it: `add port mosp0123 to mosbr0: joined`.
func (s Step) String() string {
	on := ""
	if s.Bridge != "" && s.Bridge != s.Object {
		on = " on " + s.Bridge
	}
	return fmt.Sprintf("%s %s%s: %s", s.Op, s.Object, on, s.Cause)
}

// Plan is a list of steps in the order they are to be done.
type Plan []Step

// String is one line a step.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}
