package link

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

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
func CreateVeth(ctx context.Context, v Veth) error {
	v.MTU = cmp.Or(v.MTU, defaultMTU)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := v.add()
	if errors.Is(err, syscall.EEXIST) {
		var fits bool
		if fits, err = v.fits(ctx); err == nil && !fits {
			err = v.replace(ctx)
		}
	}
	if err == nil {
		err = v.finish()
	}
	if err != nil {
		return errors.Join(
			fmt.Errorf("make links %s and %s: %w", v.Name, v.Peer, err),
			Delete(context.WithoutCancel(ctx), v.Name),
		)
	}
	return nil
}

// add makes both ends in one message. The host's end is up at once: it sends
// nothing, since its peer is down, until finish has switched IPv6 off.
func (v Veth) add() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = v.Name, v.MTU, net.FlagUp
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerMTU = v.Peer, uint32(v.MTU)
	if !v.PeerMAC.IsZero() {
		pair.PeerHardwareAddr = v.PeerMAC[:]
	}
	return netlink.LinkAdd(pair)
}

// fits says whether the pair that is there is the one that is wanted. Its
// host's end is brought up.
func (v Veth) fits(ctx context.Context) (bool, error) {
	host, err := byName(ctx, v.Name)
	if err != nil {
		return false, ignoreMissing(err)
	}
	peer, err := byName(ctx, v.Peer)
	if err != nil {
		return false, ignoreMissing(err)
	}
	if !paired(host, peer) || host.Attrs().MTU != v.MTU || peer.Attrs().MTU != v.MTU || peer.Attrs().Flags&net.FlagUp != 0 ||
		!v.PeerMAC.IsZero() && !bytes.Equal(peer.Attrs().HardwareAddr, v.PeerMAC[:]) {
		return false, nil
	}
	return true, netlink.LinkSetUp(host)
}

func ignoreMissing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func (v Veth) replace(ctx context.Context) error {
	if err := Delete(ctx, v.Name); err != nil {
		return err
	}
	if err := Delete(ctx, v.Peer); err != nil {
		return err
	}
	return v.add()
}

func (v Veth) finish() error {
	if err := v.mute(); err != nil {
		return err
	}
	on, err := txOn(v.Peer)
	if err != nil || on != v.TxOff {
		return err
	}
	return setTx(v.Peer, !v.TxOff)
}

// mute keeps the kernel from speaking on the host's end, which is a port of the
// switch. On the userspace datapath the kernel hears what comes in there too: it
// would answer ARP for the gateway with this link's MAC, and containers that
// hear that answer first would lose the gateway.
func (v Veth) mute() error {
	const never = "8"
	return errors.Join(
		writeSysctl("ipv4/conf/"+v.Name+"/arp_ignore", never),
		noIPv6(v.Name),
	)
}
