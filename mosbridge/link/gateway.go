package link

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Gateway is a pair of links by which the host takes part in a network: Name
// holds the gateway's addresses in the host's namespace, RouterPort is the
// switch's end.
type Gateway struct {
	Name, RouterPort string
	MAC              spec.MAC       // of Name
	Addrs            []netip.Prefix // with the subnets' lengths
	MTU              int            // 0 is 1500
	TxOff            bool           // as for [Veth], at Name
}

// EnsureGateway makes the gateway or repairs what is missing or different:
// links, MAC, MTU, addresses, forwarding and the other sysctls. It returns one
// phrase for each thing that it changed, such as "net.ipv4.ip_forward: 0 to 1".
// Addresses that are not the gateway's go, but link-local ones; forwarding for
// the whole host is only ever switched on, and interfaces that take IPv6 routes
// from router advertisements are told to go on doing so.
func EnsureGateway(ctx context.Context, g Gateway) (changed []string, err error) {
	g.MTU = cmp.Or(g.MTU, defaultMTU)
	r := repair{do: true}
	if err := g.pass(ctx, &r); err != nil {
		return r.found, fmt.Errorf("repair gateway link %s: %w", g.Name, err)
	}
	return r.found, nil
}

// CheckGateway returns what [EnsureGateway] would change, and changes nothing.
func CheckGateway(ctx context.Context, g Gateway) (faults []string, err error) {
	g.MTU = cmp.Or(g.MTU, defaultMTU)
	var r repair
	if err := g.pass(ctx, &r); err != nil {
		return r.found, fmt.Errorf("check gateway link %s: %w", g.Name, err)
	}
	return r.found, nil
}

// repair collects what is wrong and, if it is to, sets it right.
type repair struct {
	do    bool
	found []string
}

// fix notes a fault and repairs it.
func (r *repair) fix(f func() error, fault string, args ...any) error {
	r.found = append(r.found, fmt.Sprintf(fault, args...))
	if !r.do {
		return nil
	}
	return f()
}

// sysctl wants a value of a sysctl.
func (r *repair) sysctl(key, want string) error {
	have, err := readSysctl(key)
	if err != nil || have == want {
		return err
	}
	return r.fix(func() error { return writeSysctl(key, want) }, "%s: %s to %s", dotted(key), have, want)
}

func (g Gateway) pass(ctx context.Context, r *repair) error {
	host, router, err := g.links(ctx, r)
	if err != nil || host == nil {
		return err
	}
	for _, f := range []func() error{
		func() error { return g.shape(r, host, router) },
		func() error { return g.offload(r) },
		func() error { return g.sysctls(r) },
		func() error { return up(r, host) },
		func() error { return up(r, router) },
		func() error { return g.addrs(ctx, r, host) },
		func() error { return g.forwarding(r) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// links returns both ends; none when they are missing and not to be made.
func (g Gateway) links(ctx context.Context, r *repair) (host, router netlink.Link, err error) {
	find := func() (bool, error) {
		if host, err = byName(ctx, g.Name); err != nil {
			return false, ignoreMissing(err)
		}
		if router, err = byName(ctx, g.RouterPort); err != nil {
			return false, ignoreMissing(err)
		}
		return paired(host, router), nil
	}
	ok, err := find()
	if err != nil || ok {
		return host, router, err
	}
	if err := r.fix(func() error { return g.remake(ctx) }, "links %s and %s: missing", g.Name, g.RouterPort); err != nil || !r.do {
		return nil, nil, err
	}
	if ok, err = find(); err == nil && !ok {
		err = fault.Of(errdefs.ErrAborted, "links %s and %s were changed by somebody else: try again", g.Name, g.RouterPort)
	}
	return host, router, err
}

func (g Gateway) remake(ctx context.Context) error {
	if err := errors.Join(Delete(ctx, g.Name), Delete(ctx, g.RouterPort)); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = g.Name, g.MTU
	if !g.MAC.IsZero() {
		attrs.HardwareAddr = g.MAC[:]
	}
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerMTU = g.RouterPort, uint32(g.MTU)
	return netlink.LinkAdd(pair)
}

// shape sees to MAC and MTU.
func (g Gateway) shape(r *repair, host, router netlink.Link) error {
	if have := host.Attrs().HardwareAddr; !g.MAC.IsZero() && !bytes.Equal(have, g.MAC[:]) {
		if err := r.fix(func() error { return netlink.LinkSetHardwareAddr(host, g.MAC[:]) }, "MAC of %s: %s to %s", g.Name, have, g.MAC); err != nil {
			return err
		}
	}
	for _, l := range []netlink.Link{host, router} {
		if have := l.Attrs().MTU; have != g.MTU {
			if err := r.fix(func() error { return netlink.LinkSetMTU(l, g.MTU) }, "MTU of %s: %d to %d", l.Attrs().Name, have, g.MTU); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g Gateway) offload(r *repair) error {
	on, err := txOn(g.Name)
	if err != nil || on != g.TxOff {
		return err
	}
	return r.fix(func() error { return setTx(g.Name, !g.TxOff) }, "TX checksum offload of %s: %t to %t", g.Name, on, !g.TxOff)
}

func up(r *repair, l netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	return r.fix(func() error { return netlink.LinkSetUp(l) }, "link %s: down to up", l.Attrs().Name)
}

// has says whether the gateway has an address of IPv4, or of IPv6.
func (g Gateway) has(is4 bool) bool {
	return slices.ContainsFunc(g.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 })
}

// sysctls sets those of the two links. The router's end speaks nothing itself.
func (g Gateway) sysctls(r *repair) error {
	set := func(dir string, kv ...string) error {
		for i := 0; i < len(kv); i += 2 {
			if err := r.sysctl(dir+kv[i], kv[i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	err := set(
		"ipv4/conf/"+g.Name+"/",
		"forwarding", "1",
		"rp_filter", "2", // loose: answers may leave by another way
		"route_localnet", "1", // ports published on localhost
		"arp_ignore", "1", // the host's other addresses are no concern of the network's
		"arp_announce", "2",
	)
	if err != nil || !haveIPv6() {
		return err
	}
	off := "0"
	if !g.has(false) {
		off = "1"
	}
	return errors.Join(
		set("ipv6/conf/"+g.Name+"/", "disable_ipv6", off, "accept_ra", "0", "accept_redirects", "0", "forwarding", "1"),
		set("ipv6/conf/"+g.RouterPort+"/", "disable_ipv6", "1"),
	)
}

func haveIPv6() bool {
	_, err := os.Stat(sysctls + "/ipv6")
	return err == nil
}

// addrs sees to the addresses of the host's end.
func (g Gateway) addrs(ctx context.Context, r *repair, host netlink.Link) error {
	have, err := addresses(ctx, host)
	if err != nil {
		return err
	}
	there := map[netip.Prefix]bool{}
	for _, a := range have {
		p := prefix(a.IPNet)
		there[p] = true
		if slices.Contains(g.Addrs, p) || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := r.fix(func() error { return netlink.AddrDel(host, &a) }, "address %s of %s: too many", p, g.Name); err != nil {
			return err
		}
	}
	for _, p := range g.Addrs {
		if there[p] {
			continue
		}
		if err := r.fix(func() error { return addAddr(host, p) }, "address %s of %s: missing", p, g.Name); err != nil {
			return err
		}
	}
	return nil
}

func addAddr(l netlink.Link, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = syscall.IFA_F_NODAD // usable at once; that nobody else has it is IPAM's duty
	}
	if err := netlink.AddrReplace(l, a); err != nil {
		return fmt.Errorf("add address %s to link %s: %w", p, l.Attrs().Name, err)
	}
	return nil
}

// prefix converts, and keeps the host part.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}
