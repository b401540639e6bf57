package names

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/mosdocker/mosdocker/scheduler/link"
)

// ttl of all answers, in seconds. Addresses of a service change within moments.
const ttl = 5

// zone is what is known of a domain. It is not changed.
type zone struct {
	domain   string // as web.example., in small letters
	networks map[string]*network
	of       map[string][]*network // by set: those that it is in
	cut      map[string]bool       // networks of which not all names are known
}

// network is the sets in one, by service and address.
type network struct {
	name     string
	services map[string][]*link.Name
	owners   map[netip.Addr]*link.Name
}

func newZone(domain string, n link.Names) *zone {
	z := &zone{domain: dns.CanonicalName(domain), networks: map[string]*network{}, of: map[string][]*network{}, cut: map[string]bool{}}
	for name, sets := range n.Networks {
		to := &network{name: name, services: map[string][]*link.Name{}, owners: map[netip.Addr]*link.Name{}}
		z.networks[name] = to
		for i := range sets {
			s := &sets[i]
			to.services[s.Service] = append(to.services[s.Service], s)
			z.of[s.Set] = append(z.of[s.Set], to)
			for _, text := range s.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					to.owners[a] = s
				}
			}
		}
	}
	for _, name := range n.Cut {
		z.cut[name] = true
	}
	return z
}

// ours says whether a name is of the domain.
func (z *zone) ours(name string) bool { return dns.IsSubDomain(z.domain, dns.CanonicalName(name)) }

// answer answers a question of a set about a name of the domain. turn has those who ask
// after each other get addresses in another order.
func (z *zone) answer(set string, req *dns.Msg, turn uint32) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(req)
	m.Authoritative, m.RecursionAvailable = true, true
	q := req.Question[0]
	if q.Qtype == dns.TypeANY {
		m.Rcode = dns.RcodeNotImplemented
		return m
	}
	is := z.find(set, dns.CanonicalName(q.Name))
	switch {
	case !is.exists && slices.ContainsFunc(z.of[set], func(n *network) bool { return z.cut[n.name] }):
		m.Rcode = dns.RcodeServerFailure // it may be one of those that are not known
		return m
	case !is.exists:
		m.Rcode = dns.RcodeNameError
	default:
		z.fill(m, q, is, turn)
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{z.soa(z.domain)}
	}
	return m
}

// found is what there is of a name.
type found struct {
	exists bool
	sets   []*link.Name // whose addresses it has
	port   string       // as tcp/80, of a name of SRV
}

// find looks for what is known of a name to a set.
func (z *zone) find(set, name string) (is found) {
	rest := strings.TrimSuffix(strings.TrimSuffix(name, z.domain), ".")
	if rest == "" {
		return found{exists: true}
	}
	labels := strings.Split(rest, ".")
	service := labels[len(labels)-1]
	for _, n := range z.of[set] {
		sets := n.services[service]
		if len(sets) == 0 {
			continue
		}
		switch left := labels[:len(labels)-1]; {
		case len(left) == 0:
			is.exists = true
			is.sets = append(is.sets, ready(sets)...)
		case len(left) == 1 && (left[0] == "_tcp" || left[0] == "_udp"):
			is.exists = true // there are names below it
		case len(left) == 1:
			if i := slices.IndexFunc(sets, func(s *link.Name) bool { return s.Set == left[0] }); i >= 0 {
				is.exists = true
				is.sets = append(is.sets, sets[i])
			}
		case len(left) == 2 && (left[1] == "_tcp" || left[1] == "_udp"):
			port, known := portOf(left[0], left[1])
			for _, s := range sets {
				if known && slices.Contains(s.Ports, port) {
					is.exists, is.port = true, port
				}
			}
			if is.port != "" {
				is.sets = append(is.sets, slices.DeleteFunc(ready(sets), func(s *link.Name) bool { return !slices.Contains(s.Ports, port) })...)
			}
		}
	}
	return is
}

func ready(sets []*link.Name) (all []*link.Name) {
	for _, s := range sets {
		if s.Ready {
			all = append(all, s)
		}
	}
	return all
}

// portOf reads _80 and _tcp, or the name that a port has, such as _http.
func portOf(port, protocol string) (string, bool) {
	protocol = strings.TrimPrefix(protocol, "_")
	port, named := strings.CutPrefix(port, "_")
	n, err := net.LookupPort(protocol, port) //nolint:noctx // it reads /etc/services, and asks nobody
	return protocol + "/" + strconv.Itoa(n), named && err == nil && n > 0
}

func (z *zone) fill(m *dns.Msg, q dns.Question, is found, turn uint32) {
	switch {
	case is.port != "" && q.Qtype == dns.TypeSRV:
		_, text, _ := strings.Cut(is.port, "/")
		port, _ := strconv.ParseUint(text, 10, 16) // portOf wrote it
		for _, s := range turned(unique(is.sets), turn) {
			target := s.Set + "." + s.Service + "." + z.domain
			m.Answer = append(m.Answer, &dns.SRV{Hdr: header(q.Name, dns.TypeSRV), Weight: 1, Port: uint16(port), Target: target})
			m.Extra = append(m.Extra, addressesOf(target, is.sets, s.Set, 0)...)
		}
	case is.port == "" && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA):
		m.Answer = turned(addressesOf(q.Name, is.sets, "", q.Qtype), turn)
	}
	if q.Qtype == dns.TypeSOA && dns.CanonicalName(q.Name) == z.domain {
		m.Answer = []dns.RR{z.soa(q.Name)}
	}
}

// unique is each set once, where it is in several networks.
func unique(sets []*link.Name) (all []*link.Name) {
	for _, s := range sets {
		if !slices.ContainsFunc(all, func(o *link.Name) bool { return o.Set == s.Set }) {
			all = append(all, s)
		}
	}
	return all
}

// addressesOf are records of the addresses of sets, or of the one that is named; of one type
// if it is not 0.
func addressesOf(name string, sets []*link.Name, only string, kind uint16) (all []dns.RR) {
	for _, s := range sets {
		if only != "" && s.Set != only {
			continue
		}
		for _, text := range s.Addresses {
			a, err := netip.ParseAddr(text)
			switch {
			case err != nil:
			case a.Is4() && kind != dns.TypeAAAA:
				all = append(all, &dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()})
			case a.Is6() && kind != dns.TypeA:
				all = append(all, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
			}
		}
	}
	return all
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func turned[T any](all []T, turn uint32) []T {
	if len(all) < 2 {
		return all
	}
	i := int(turn % uint32(len(all)))
	return slices.Concat(all[i:], all[:i])
}

// soa goes with answers that there is nothing, which says for how long that may be kept.
func (z *zone) soa(name string) dns.RR {
	return &dns.SOA{
		Hdr: header(name, dns.TypeSOA), Ns: "mosd." + z.domain, Mbox: "root." + z.domain,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
	}
}

// reverse answers whose an address is; false if that is not known here.
func (z *zone) reverse(set string, req *dns.Msg) (*dns.Msg, bool) {
	q := req.Question[0]
	a, is := reversed(dns.CanonicalName(q.Name))
	if !is {
		return nil, false
	}
	for _, n := range z.of[set] {
		s := n.owners[a]
		if s == nil {
			continue
		}
		m := new(dns.Msg)
		m.SetReply(req)
		m.Authoritative, m.RecursionAvailable = true, true
		if q.Qtype == dns.TypePTR {
			m.Answer = []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: s.Set + "." + s.Service + "." + z.domain}}
		} else {
			m.Ns = []dns.RR{z.soa(z.domain)}
		}
		return m, true
	}
	return nil, false
}

const (
	reverse4, reverse6 = ".in-addr.arpa.", ".ip6.arpa."
	nibbles            = 32 // of an address of IPv6
)

// reversed is the address that a name below in-addr.arpa or ip6.arpa is of.
func reversed(name string) (netip.Addr, bool) {
	if rest, is := strings.CutSuffix(name, reverse4); is {
		parts := strings.Split(rest, ".")
		slices.Reverse(parts)
		a, err := netip.ParseAddr(strings.Join(parts, "."))
		return a, err == nil && a.Is4()
	}
	rest, is := strings.CutSuffix(name, reverse6)
	parts := strings.Split(rest, ".")
	if !is || len(parts) != nibbles {
		return netip.Addr{}, false
	}
	slices.Reverse(parts)
	var b strings.Builder
	for i, p := range parts {
		if i > 0 && i%4 == 0 {
			b.WriteByte(':')
		}
		b.WriteString(p)
	}
	a, err := netip.ParseAddr(b.String())
	return a, err == nil && a.Is6()
}
