package link

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

// CheckUplink says whether an interface may be put on a bridge: it exists
// (else ErrNotFound), is no loopback, belongs to no bridge or bond, and neither
// a default route nor the host's only address depends on it, since the host's
// own traffic would stop (else ErrFailedPrecondition). An interface that is on
// a bridge of Open vSwitch passes: Open vSwitch itself knows on which.
func CheckUplink(ctx context.Context, name string) error {
	l, err := byName(ctx, name)
	if errdefs.IsNotFound(err) {
		return classed(errdefs.ErrNotFound, "uplink %s: the host has no such interface; `ip link` lists them", name)
	}
	if err != nil {
		return err
	}
	if l.Attrs().Flags&net.FlagLoopback != 0 {
		return classed(errdefs.ErrFailedPrecondition, "uplink %s is the loopback interface: name one that leads out of the host", name)
	}
	if err := checkFree(ctx, l); err != nil {
		return err
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := routes(ctx, family)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if isDefault(r) && slices.Contains(ways(r), l.Attrs().Index) {
				return classed(errdefs.ErrFailedPrecondition,
					"uplink %s carries the host's default route: on a bridge it would no longer serve the host itself, whose own traffic would stop; use another interface or a VLAN interface on it", name)
			}
		}
	}
	return checkAddresses(ctx, l)
}

// checkFree says whether the link belongs to no bridge or bond.
func checkFree(ctx context.Context, l netlink.Link) error {
	if l.Attrs().MasterIndex == 0 {
		return nil
	}
	all, err := allLinks(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Attrs().Index == l.Attrs().MasterIndex && m.Type() != "openvswitch" {
			return classed(errdefs.ErrFailedPrecondition, "uplink %s belongs to %s %s: take it off there, or name another interface",
				l.Attrs().Name, m.Type(), m.Attrs().Name)
		}
	}
	return nil
}

// checkAddresses says whether the host has an address elsewhere, or none here.
func checkAddresses(ctx context.Context, l netlink.Link) error {
	as, err := addresses(ctx, nil)
	if err != nil {
		return err
	}
	var here netip.Prefix
	for _, a := range as {
		p := prefix(a.IPNet)
		switch {
		case p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast():
		case a.LinkIndex != l.Attrs().Index:
			return nil
		default:
			here = p
		}
	}
	if !here.IsValid() {
		return nil
	}
	return classed(errdefs.ErrFailedPrecondition,
		"uplink %s carries the host's only address %s: on a bridge it would no longer serve the host itself, whose own traffic would stop; use another interface", l.Attrs().Name, here)
}

// Routes returns the prefixes that the host has routes to, without the default
// routes, multicast and link-local ranges, sorted and each once.
func Routes(ctx context.Context) ([]netip.Prefix, error) {
	var ps []netip.Prefix
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := routes(ctx, family)
		if err != nil {
			return nil, err
		}
		for _, r := range rs {
			p := prefix(r.Dst)
			if isDefault(r) || p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsLoopback() {
				continue
			}
			ps = append(ps, p.Masked())
		}
	}
	slices.SortFunc(ps, netip.Prefix.Compare)
	return slices.Compact(ps), nil
}
