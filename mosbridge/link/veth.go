package link

import (
	"context"
	"errors"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

var errTodo = errors.New("not implemented")

// Veth is a pair of links: Name stays with the host, Peer is handed over to
// the engine, which moves it into the container and renames it.
type Veth struct {
	Name, Peer string
	PeerMAC    spec.MAC
	MTU        int  // of both ends; 0 is 1500
	TxOff      bool // TX checksum offload and TSO off at the peer: the userspace datapath without TSO needs it
}

// CreateVeth makes the pair: the host's end up and without IPv6, the peer down
// with its MAC in the same network namespace. A pair that is there in the right
// shape is kept; links of these names in any other shape, also a pair whose
// peer is in a container, are replaced. After an error nothing is left.
func CreateVeth(ctx context.Context, v Veth) error { return errTodo }
