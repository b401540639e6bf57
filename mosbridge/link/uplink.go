package link

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// CheckUplink says whether an interface may be put on a bridge: it exists
// (else ErrNotFound), is no loopback and no bridge, belongs to none, and neither
// a default route nor an address of the host depends on it, since the host's
// own traffic would stop (else ErrFailedPrecondition). An interface that is on
// a bridge of Open vSwitch passes: Open vSwitch itself knows on which.
func CheckUplink(ctx context.Context, name string) error {
	l, err := byName(ctx, name)
	if errdefs.IsNotFound(err) {
		return fault.NotFound("uplink %s: the host has no such interface; `ip link` lists them", name)
	}
	if err != nil {
		return err
	}
	if l.Attrs().Flags&net.FlagLoopback != 0 {
		return fault.Conflict("uplink %s is the loopback interface: name one that leads out of the host", name)
	}
	if l.Type() == "bridge" {
		return fault.Conflict("uplink %s is a bridge: name the interface that leads out of the host", name)
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
				return fault.Conflict("uplink %s carries the host's default route: on a bridge it would no longer serve the host itself, whose own traffic would stop; use another interface or a VLAN interface on it", name)
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
			return fault.Conflict("uplink %s belongs to %s %s: take it off there, or name another interface",
				l.Attrs().Name, m.Type(), m.Attrs().Name)
		}
	}
	return nil
}

// checkAddresses refuses a link with addresses of its own: they would be dead
// on a bridge.
func checkAddresses(ctx context.Context, l netlink.Link) error {
	as, err := addresses(ctx, nil)
	if err != nil {
		return err
	}
	for _, a := range as {
		p := prefix(a.IPNet)
		if a.LinkIndex != l.Attrs().Index || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		return fault.Conflict("uplink %s carries the host's address %s: on a bridge it would no longer serve the host itself, whose own traffic would stop; use another interface or a VLAN interface on it, or take the address off first", l.Attrs().Name, p)
	}
	return nil
}

// Subnets returns the ranges that the host's links have addresses in, by link,
// without loopback and link-local ones.
func Subnets(ctx context.Context) (map[string][]netip.Prefix, error) {
	all, err := allLinks(ctx)
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	as, err := addresses(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := map[string][]netip.Prefix{}
	for _, a := range as {
		p := prefix(a.IPNet)
		if p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		out[names[a.LinkIndex]] = append(out[names[a.LinkIndex]], p.Masked())
	}
	return out, nil
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

// PrepareUplink brings an interface up for a bridge. Raw says that the bridge's
// switch takes packets only as they are on the wire, as the userspace datapath
// without TSO does: what the kernel merges on receipt would be too large for
// it and be lost, so merging is switched off. It returns one phrase for each
// thing that it changed; a missing interface gives ErrNotFound.
func PrepareUplink(ctx context.Context, name string, raw bool) (changed []string, err error) {
	l, err := byName(ctx, name)
	if err != nil {
		return nil, err
	}
	r := repair{do: true}
	if raw {
		if err := dontMerge(&r, name); err != nil {
			return r.found, err
		}
	}
	if err := up(&r, l); err != nil {
		return r.found, fmt.Errorf("bring uplink %s up: %w", name, err)
	}
	return r.found, nil
}
