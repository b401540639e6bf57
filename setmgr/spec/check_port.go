package spec

import (
	"net/netip"
	"strings"

	"github.com/docker/go-connections/nat"
)

// binding is one port of the host.
type binding struct{ port, proto string }

// held is who has a binding: on which address of the host, and which of Ports.
type held struct {
	ip   netip.Addr
	from int
}

// mostPorts bounds what ranges become: twice what a host has.
const mostPorts = 2 * 65536

// ports reads what docker run -p takes, by the code of docker, and refuses two that
// want the same port of the host.
func (f *flaws) ports(lines []string) {
	taken, count := map[binding][]held{}, 0
	for i, l := range lines {
		at := index("/Ports", i)
		mappings, err := nat.ParsePortSpec(l)
		if err != nil || strings.TrimSpace(l) != l {
			f.add(at, "%.60q is no port to publish: write it as [[HOST-IP:]HOST-PORT:]PORT[/udp], such as 8080:80", l)
			continue
		}
		if count += len(mappings); count > mostPorts {
			f.add(at, "the ranges of Ports are more than the host has: publish fewer")
			return
		}
		if text, ok := zero(mappings); ok {
			f.add(at, "%.60q has port 0, which is none: write a port from 1 on, or leave the port of the host out for any", text)
			continue
		}
		if other, port := clash(taken, mappings, i); port != "" {
			f.add(at, "%.60q wants port %s of the host, which %.60q has: choose another", l, port, lines[other])
		}
	}
}

func zero(mappings []nat.PortMapping) (string, bool) {
	for _, m := range mappings {
		first, _, _ := strings.Cut(m.Binding.HostPort, "-")
		if m.Port.Int() == 0 || first == "0" {
			return m.Binding.HostPort + ":" + string(m.Port), true
		}
	}
	return "", false
}

// clash finds a port of the host that another one of Ports has, and takes the rest.
// Of a range that the Engine chooses from, and of any port, none is taken for sure.
func clash(taken map[binding][]held, mappings []nat.PortMapping, from int) (int, string) {
	for _, m := range mappings {
		b := binding{m.Binding.HostPort, m.Port.Proto()}
		if b.port == "" || strings.Contains(b.port, "-") {
			continue
		}
		ip, _ := netip.ParseAddr(m.Binding.HostIP) // none is all of them
		ip = ip.Unmap()
		for _, h := range taken[b] {
			if h.ip == ip || all(h.ip, ip) || all(ip, h.ip) {
				return h.from, b.port + "/" + b.proto
			}
		}
		taken[b] = append(taken[b], held{ip, from})
	}
	return 0, ""
}

// all says whether a stands for all addresses of b's family.
func all(a, b netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() && (!b.IsValid() || a.Is4() == b.Is4())
}
