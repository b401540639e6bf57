package hostport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Binding is one port of the host that a claim holds.
type Binding struct {
	Proto    spec.Proto `json:"proto"`
	HostIP   netip.Addr `json:"hostIP"` // 0.0.0.0 or :: for every address of its family
	HostPort uint16     `json:"hostPort"`
	// Container is the port in the container that it leads to.
	Container uint16 `json:"container"`
}

// String is the side of the host, such as 0.0.0.0:8080/tcp.
func (b Binding) String() string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(b.HostIP, b.HostPort), b.Proto)
}

// overlaps says that a packet could be for both.
func (b Binding) overlaps(o Binding) bool {
	return b.Proto == o.Proto && b.HostPort == o.HostPort && b.HostIP.Is4() == o.HostIP.Is4() &&
		(b.HostIP == o.HostIP || b.HostIP.IsUnspecified() || o.HostIP.IsUnspecified())
}

// Claim is what one owner holds.
type Claim struct {
	Owner    string
	Bindings []Binding
}

// Families says for which families ports are published: those in which the
// endpoint has an address.
type Families struct{ IPv4, IPv6 bool }

// Config says how an [Allocator] works; its zero value is good.
type Config struct {
	// Describe names an owner for people, such as "endpoint 3f2a19c0d1e2 of
	// network prod"; nil prints the owner. It is called while the allocator
	// is locked and must not call it.
	Describe func(owner string) string
	// First and Last bound the ports taken for host port 0; both zero means
	// those of net.ipv4.ip_local_port_range, else 49153 to 65535.
	First, Last uint16
}

// Allocator holds the claims of this host. Its methods may be called at once.
type Allocator struct {
	describe    func(string) string
	first, last uint16

	mu     sync.Mutex // guards all below
	claims map[string]*claim
	next   uint16 // where the search for any free port goes on
}

// claim is what one owner holds, and the sockets that keep it.
type claim struct {
	bindings []Binding
	asked    []spec.Port // nil when restored
	families Families
	sockets  []socket
}

// New returns an Allocator without claims.
func New(c Config) *Allocator {
	a := &Allocator{describe: c.Describe, first: c.First, last: c.Last, claims: map[string]*claim{}}
	if a.describe == nil {
		a.describe = func(owner string) string { return owner }
	}
	if a.first == 0 || a.last < a.first {
		a.first, a.last = localRange()
	}
	a.next = a.first
	return a
}

// Claim takes a port of the host for each of ports and family, or none of
// them. With both families an unspecified HostIP gives two bindings of one
// number. A repeat by the same owner gives what it holds, and is refused with
// ErrFailedPrecondition when it asks for something else. The error is
// ErrAlreadyExists when somebody holds the port (it says who),
// ErrResourceExhausted when a whole range is taken, ErrInvalidArgument when the
// host address is not of the endpoint's families or not one of this host's.
func (a *Allocator) Claim(ctx context.Context, owner string, ports []spec.Port, f Families) ([]Binding, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if held, ok := a.claims[owner]; ok {
		if held.asked != nil && (!slices.Equal(held.asked, ports) || held.families != f) {
			return nil, fault.Conflict("claim host ports for %s: it holds others: release them first", a.describe(owner))
		}
		return slices.Clone(held.bindings), nil
	}
	c := &claim{asked: slices.Clone(ports), families: f}
	for _, p := range ports {
		if err := cmp.Or(ctx.Err(), a.take(c, p)); err != nil {
			c.close()
			return nil, err
		}
	}
	if len(ports) > 0 {
		a.claims[owner] = c
	}
	return slices.Clone(c.bindings), nil
}

// take adds bindings for one port to c.
func (a *Allocator) take(c *claim, p spec.Port) error {
	ips, err := hostIPs(p, c.families)
	if err != nil {
		return err
	}
	first, last := p.HostPort, max(p.HostPort, p.HostPortEnd)
	start := first
	if first == 0 {
		first, last, start = a.first, a.last, a.next
	}
	for i := range uint32(last-first) + 1 {
		port := first + uint16((uint32(start-first)+i)%(uint32(last-first)+1))
		err = a.try(c, p, ips, port)
		if err == nil {
			if p.HostPort == 0 {
				a.next = a.first + uint16((uint32(port-a.first)+1)%(uint32(a.last-a.first)+1))
			}
			return nil
		}
		if !errdefs.IsAlreadyExists(err) {
			return err
		}
	}
	if err = withHolder(err); first == last {
		return err
	}
	// As text: the range as a whole is exhausted, it does not exist already.
	return fault.Exhausted("no port of %d to %d is free for %s port %d, the last try: %s", first, last, p.Proto, p.Container, err.Error())
}

// try adds the bindings of one number for all of the addresses, or none.
func (a *Allocator) try(c *claim, p spec.Port, ips []netip.Addr, port uint16) error {
	bindings, sockets := len(c.bindings), len(c.sockets)
	for _, ip := range ips {
		b := Binding{Proto: p.Proto, HostIP: ip, HostPort: port, Container: p.Container}
		s, err := a.bind(c, b)
		if err != nil {
			closeAll(c.sockets[sockets:])
			c.bindings, c.sockets = c.bindings[:bindings], c.sockets[:sockets]
			return err
		}
		c.bindings, c.sockets = append(c.bindings, b), append(c.sockets, s)
	}
	return nil
}

// bind reserves one port, if nobody of us or the host holds it.
func (a *Allocator) bind(c *claim, b Binding) (socket, error) {
	if slices.ContainsFunc(c.bindings, b.overlaps) {
		return 0, fault.Exists("host port %s is asked for twice: drop one", b)
	}
	for owner, other := range a.claims {
		if slices.ContainsFunc(other.bindings, b.overlaps) {
			return 0, fault.Exists("host port %s is published by %s: stop it or choose another", b, a.describe(owner))
		}
	}
	return reserve(b)
}

// hostIPs are the addresses of the host that the port is bound to.
func hostIPs(p spec.Port, f Families) ([]netip.Addr, error) {
	if p.Proto != spec.TCP && p.Proto != spec.UDP || p.Container == 0 || p.HostPortEnd != 0 && (p.HostPortEnd < p.HostPort || p.HostPort == 0) {
		return nil, fault.Invalid("port %d/%s on host ports %d to %d cannot be published", p.Container, p.Proto, p.HostPort, p.HostPortEnd)
	}
	ip := p.HostIP.Unmap()
	if ip.IsValid() {
		if ip.Is4() && !f.IPv4 || ip.Is6() && !f.IPv6 {
			return nil, fault.Invalid("port %d/%s cannot be published on %s: the endpoint has no address of that family", p.Container, p.Proto, ip)
		}
		return []netip.Addr{ip}, nil
	}
	var ips []netip.Addr
	if f.IPv4 {
		ips = append(ips, netip.IPv4Unspecified())
	}
	if f.IPv6 && hasIPv6() {
		ips = append(ips, netip.IPv6Unspecified())
	}
	if len(ips) == 0 {
		return nil, fault.Invalid("port %d/%s cannot be published: the endpoint has no address that this host can publish", p.Container, p.Proto)
	}
	return ips, nil
}

// Restore takes up claims of before a restart. A port that the kernel refuses
// is claimed all the same, since the container behind it runs; the error joins
// what is not reserved in the kernel. An owner that holds something keeps that.
func (a *Allocator) Restore(claims []Claim) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, r := range claims {
		if _, ok := a.claims[r.Owner]; ok || len(r.Bindings) == 0 {
			continue
		}
		c := &claim{}
		for _, b := range r.Bindings {
			s, err := a.bind(c, b)
			if err != nil {
				errs = append(errs, fmt.Errorf("restore for %s: %w", a.describe(r.Owner), withHolder(err)))
			} else {
				c.sockets = append(c.sockets, s)
			}
			c.bindings = append(c.bindings, b)
		}
		a.claims[r.Owner] = c
	}
	return errors.Join(errs...)
}

// Release gives up what the owner holds; an owner without claims is no error.
func (a *Allocator) Release(owner string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.claims[owner]; ok {
		c.close()
		delete(a.claims, owner)
	}
}

// Claims returns all claims, sorted by owner.
func (a *Allocator) Claims() []Claim {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Claim
	for owner, c := range a.claims {
		all = append(all, Claim{owner, slices.Clone(c.bindings)})
	}
	slices.SortFunc(all, func(x, y Claim) int { return cmp.Compare(x.Owner, y.Owner) })
	return all
}

// Close gives up all claims and sockets.
func (a *Allocator) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.claims {
		c.close()
	}
	clear(a.claims)
}

func (c *claim) close() { closeAll(c.sockets) }
