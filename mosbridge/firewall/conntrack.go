package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// forgetUDP deletes the kernel's memory of UDP flows that a change of the
// ports made wrong. A client that keeps sending from one port would else be
// led to the old place for ever. TCP needs none of this: a new connection is
// led anew. Flows are only read when the ports of UDP changed.
func (f *Firewall) forgetUDP(ctx context.Context, s State) error {
	w := newWanted(s)
	ports := w.String()
	if f.known && ports == f.udp {
		return nil
	}
	if len(s.Networks) > 0 {
		if err := w.findLocal(); err != nil {
			return err
		}
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, w)
			if err != nil && !errors.Is(err, syscall.ENOENT) { // ended by itself meanwhile
				return fmt.Errorf("delete flows of UDP: %w", err)
			}
			if n > 0 {
				f.log.InfoContext(ctx, "stale connections forgotten", "family", family, "count", n)
			}
		}
	}
	f.udp, f.known = ports, true
	return nil
}

// wanted says where packets for the host's ports of UDP must be led.
type wanted struct {
	ports   map[Published]Published // by [Published.key]
	subnets []netip.Prefix
	local   map[netip.Addr]bool // addresses of this host
}

func newWanted(s State) wanted {
	w := wanted{ports: map[Published]Published{}, local: map[netip.Addr]bool{}}
	for _, p := range s.Ports {
		if p.Proto == spec.UDP {
			w.ports[p.key()] = p
		}
	}
	for _, n := range s.Networks {
		w.subnets = append(w.subnets, n.Subnets...)
	}
	return w
}

// String is the same for the same ports in another order.
func (w wanted) String() string {
	var lines []string
	for _, p := range w.ports {
		lines = append(lines, p.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// findLocal reads the addresses of this host.
func (w wanted) findLocal() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("read the addresses of this host: %w", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			w.local[p.Addr()] = true
		}
	}
	return nil
}

// MatchConntrackFlow implements [netlink.CustomConntrackFilter]: it picks the
// flows to delete. These are flows that were led into one of our networks by no
// port of the state, and flows to the host itself by a port that is published.
func (w wanted) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	if c.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, by := addrPort(c.Forward.DstIP, c.Forward.DstPort), addrPort(c.Reverse.SrcIP, c.Reverse.SrcPort)
	container, published := w.lookup(to)
	if by == to {
		return published && w.local[to.Addr()]
	}
	ours := slices.ContainsFunc(w.subnets, func(p netip.Prefix) bool { return p.Contains(by.Addr()) })
	return by != container && (ours || published && w.local[to.Addr()])
}

func (w wanted) lookup(to netip.AddrPort) (netip.AddrPort, bool) {
	k := Published{Proto: spec.UDP, HostIP: to.Addr(), HostPort: to.Port()}
	p, ok := w.ports[k]
	if !ok {
		k.HostIP = netip.IPv6Unspecified()
		if to.Addr().Is4() {
			k.HostIP = netip.IPv4Unspecified()
		}
		p, ok = w.ports[k]
	}
	return p.Container, ok
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}
