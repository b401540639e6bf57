package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

const defaultMTU = 1500

// Link is a link of the host.
type Link struct {
	Name      string
	Index     int
	Kind      string // veth, bridge, …; "device" for hardware
	MAC       string
	MTU       int
	Up        bool   // administratively
	Carrier   bool   // and able to pass packets
	PeerIndex int    // of a veth: its peer's index, in the peer's namespace
	Peer      string // of a veth: its peer's name while it is in this namespace
	Master    int    // index of the bridge or bond it belongs to; 0 is none
}

// Delete deletes a link and with it its peer; a missing one is no error.
func Delete(ctx context.Context, name string) error {
	l, err := byName(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil && !gone(err) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// List returns the links whose names begin with the prefix, by name.
func List(ctx context.Context, prefix string) ([]Link, error) {
	all, err := allLinks(ctx)
	if err != nil {
		return nil, err
	}
	names := map[int]netlink.Link{}
	for _, l := range all {
		names[l.Attrs().Index] = l
	}
	var ls []Link
	for _, l := range all {
		if strings.HasPrefix(l.Attrs().Name, prefix) {
			ls = append(ls, describe(l, names))
		}
	}
	slices.SortFunc(ls, func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
	return ls, nil
}

func describe(l netlink.Link, byIndex map[int]netlink.Link) Link {
	a := l.Attrs()
	d := Link{
		Name: a.Name, Index: a.Index, Kind: l.Type(), MAC: a.HardwareAddr.String(), MTU: a.MTU,
		Up: a.Flags&net.FlagUp != 0, Carrier: a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown && a.Flags&net.FlagRunning != 0,
		Master: a.MasterIndex,
	}
	if d.Kind != "veth" {
		return d
	}
	d.PeerIndex = a.ParentIndex
	// An index is the peer's only if it points back, and if the kernel does
	// not say that the peer is in another namespace.
	if p := byIndex[a.ParentIndex]; p != nil && paired(l, p) {
		d.Peer = p.Attrs().Name
	}
	return d
}

// paired says that the two ends are one pair in this namespace.
func paired(a, b netlink.Link) bool {
	return a.Type() == "veth" && b.Type() == "veth" &&
		a.Attrs().ParentIndex == b.Attrs().Index && b.Attrs().ParentIndex == a.Attrs().Index &&
		a.Attrs().NetNsID < 0 && b.Attrs().NetNsID < 0
}

// MTU returns a link's MTU; a missing link gives ErrNotFound.
func MTU(ctx context.Context, name string) (int, error) {
	l, err := byName(ctx, name)
	if err != nil {
		return 0, err
	}
	return l.Attrs().MTU, nil
}

// DefaultMTU returns the MTU and name of the link behind the default route,
// IPv4's before IPv6's; 1500 and "" when there is none.
func DefaultMTU(ctx context.Context) (mtu int, name string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := routes(ctx, family)
		if err != nil {
			return 0, "", err
		}
		slices.SortStableFunc(rs, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
		for _, r := range rs {
			for _, index := range ways(r) {
				if isDefault(r) && index > 1 { // 1 is the loopback: an unreachable route
					return linkMTU(ctx, index)
				}
			}
		}
	}
	return defaultMTU, "", nil
}

func linkMTU(ctx context.Context, index int) (int, string, error) {
	all, err := allLinks(ctx)
	if err != nil {
		return 0, "", err
	}
	for _, l := range all {
		if l.Attrs().Index == index {
			return l.Attrs().MTU, l.Attrs().Name, nil
		}
	}
	return defaultMTU, "", nil // it went between the two questions
}

// isDefault says that a route matches every address.
func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// ways returns the indexes of the links that a route uses.
func ways(r netlink.Route) []int {
	var is []int
	if r.LinkIndex > 0 {
		is = append(is, r.LinkIndex)
	}
	for _, h := range r.MultiPath {
		is = append(is, h.LinkIndex)
	}
	return is
}
