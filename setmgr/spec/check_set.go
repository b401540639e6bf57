package spec

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/drivername"
)

func index(path string, i int) string { return path + "/" + strconv.Itoa(i) }

// networks checks those that the set is connected to, and what depends on their kind.
func (f *flaws) networks(s *Set) {
	n := s.Network
	f.network("/Network", n)
	switch name := n.Name; name {
	case "default":
		f.add("/Network/Name", "there is no network default: leave Network out for the Engine's own, or write bridge")
	case "none", "host":
		f.unconnected(s)
	case "", "bridge":
		if n.IP != "" || n.IP6 != "" || len(n.Aliases) > 0 {
			f.add("/Network", "the Engine's own bridge gives no fixed addresses and aliases: name a network that was made with docker network create, or drop them")
		}
	}
	seen := map[string]bool{n.Name: true, "": true}
	for i, more := range s.Networks {
		at := index("/Networks", i)
		f.network(at, more)
		switch {
		case more.Name == "":
			f.add(at+"/Name", "a further network has no name: give it one")
		case more.Name == "none" || more.Name == "host":
			f.add(at+"/Name", "%s cannot be connected beside another network: write it as Network, alone", more.Name)
		case seen[more.Name] || more.Name == "bridge" && n.Name == "":
			f.add(at+"/Name", "the set is connected to %.60q already: name each network once", more.Name)
		}
		seen[more.Name] = true
	}
}

// unconnected refuses what the networks none and host cannot have.
func (f *flaws) unconnected(s *Set) {
	n := s.Network
	no := func(given bool, path, what string) {
		if given {
			f.add(path, "network %s has no %s: drop it, or choose another network", n.Name, what)
		}
	}
	no(n.IP != "", "/Network/IP", "addresses of its own")
	no(n.IP6 != "", "/Network/IP6", "addresses of its own")
	no(n.MAC != "", "/Network/MAC", "MAC address of its own")
	no(len(n.Aliases) > 0, "/Network/Aliases", "aliases")
	no(len(n.Options) > 0, "/Network/Options", "options")
	no(len(s.Ports) > 0, "/Ports", "published ports")
	no(len(s.Networks) > 0, "/Networks", "further networks beside it")
	if n.Name != "host" {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(s.Sysctls)) {
		no(strings.HasPrefix(key, "net."), join("/Sysctls", key), "settings of its own")
	}
}

func (f *flaws) network(at string, n Network) {
	if n.Name != "" && !word(n.Name, "_.-") {
		f.add(at+"/Name", "%.60q is no name of a network: it begins with a letter or digit and has only letters, digits, '_', '.' and '-'", n.Name)
	}
	if a, err := netip.ParseAddr(n.IP); n.IP != "" && (err != nil || !a.Is4() || !single(a)) {
		f.add(at+"/IP", "%.60q is no IPv4 address that a set can have: write one such as 10.9.0.21", n.IP)
	}
	if a, err := netip.ParseAddr(n.IP6); n.IP6 != "" && (err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" || !single(a)) {
		f.add(at+"/IP6", "%.60q is no IPv6 address that a set can have: write one such as fd00:9::21", n.IP6)
	}
	if n.MAC != "" && !unicast(n.MAC) {
		f.add(at+"/MAC", "%.60q is no MAC address of one interface: write one such as 02:42:0a:09:00:15", n.MAC)
	}
	for i, alias := range n.Aliases {
		if !word(alias, "_.-") {
			f.add(index(at+"/Aliases", i), "%.60q is no host name: take letters, digits, '_', '.' and '-'", alias)
		}
	}
	f.keyed(at+"/Options", n.Options)
}

// single says whether an address is one that an interface may have.
func single(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// unicast says whether s is six bytes in hexadecimal, of one interface.
func unicast(s string) bool {
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return false
	}
	sum := uint64(0)
	for i, p := range parts {
		b, err := strconv.ParseUint(p, 16, 8)
		if len(p) != 2 || err != nil || i == 0 && b&1 == 1 {
			return false
		}
		sum += b
	}
	return sum > 0
}

// keyed refuses options without a key.
func (f *flaws) keyed(at string, options map[string]string) {
	if _, ok := options[""]; ok {
		f.add(at, "an option has no key: give it one, or drop it")
	}
}

// ownDriver is the volume driver that has sizes.
const ownDriver = "mos-lvm"

func (f *flaws) volume(s *Set) {
	v := s.Volume
	if v == nil {
		return
	}
	const at = "/Volume"
	if v.Name != "" && (!word(v.Name, "_.-") || len(v.Name) > 255) {
		f.add(at+"/Name", "%.60q is no name of a volume: it begins with a letter or digit and has only letters, digits, '_', '.' and '-'", v.Name)
	}
	if v.Driver != "" && !line(v.Driver) {
		f.add(at+"/Driver", "%.60q is no name of a driver: docker info lists those that there are", v.Driver)
	}
	if v.Size > 0 && v.Driver != "" && !drivername.Is(v.Driver, ownDriver) {
		f.add(at+"/Size", "the driver %.60s has no sizes that we know: drop Size, write what it has into Options, or take %s", v.Driver, ownDriver)
	}
	if _, ok := v.Options["size"]; ok && (v.Driver == "" || drivername.Is(v.Driver, ownDriver)) {
		f.add(at+"/Options/size", "the size stands beside the options, where it can be changed: write Size")
	}
	f.keyed(at+"/Options", v.Options)
	if v.Path != "" {
		f.target(at+"/Path", v.Path)
	}
}

// target checks where in a container something is mounted.
func (f *flaws) target(at, p string) {
	switch {
	case p == "":
		f.add(at, "the mount has no path: say where the container has it")
	case !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, "\x00\n"):
		f.add(at, "%.100q is no absolute, clean path: write one such as /data", p)
	case p == "/":
		f.add(at, "/ is the image itself: choose a path below it")
	}
}

// shared checks what the infra container has for all.
func (f *flaws) shared(s *Set) {
	if h := s.Hostname; h != "" && !hostname(h) {
		f.add("/Hostname", "%.80q is no host name: take letters, digits, '.' and '-', 63 at most", h)
	}
	for i, a := range s.DNS.Servers {
		if _, err := netip.ParseAddr(a); err != nil {
			f.add(index("/DNS/Servers", i), "%.60q is no IP address: write one such as 10.9.0.2", a)
		}
	}
	for i, d := range s.DNS.Search {
		if d != "." && !word(strings.TrimSuffix(d, "."), "_.-") {
			f.add(index("/DNS/Search", i), "%.60q is no domain: write one such as shop.example", d)
		}
	}
	for i, o := range s.DNS.Options {
		if !line(o) {
			f.add(index("/DNS/Options", i), "%.60q is no option of resolv.conf: write one such as ndots:2", o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Hosts)) {
		at := join("/Hosts", name)
		if !word(name, "_.-") {
			f.add(at, "%.60q is no host name: take letters, digits, '_', '.' and '-'", name)
		}
		if a := s.Hosts[name]; a != "host-gateway" {
			if _, err := netip.ParseAddr(a); err != nil {
				f.add(at, "%.60q is no IP address: write one, or host-gateway", a)
			}
		}
	}
	f.sysctls(s.Sysctls)
	f.ports(s.Ports)
}

func hostname(s string) bool {
	return len(s) <= 63 && word(s, ".-") && !strings.HasSuffix(s, "-") && !strings.Contains(s, "..")
}

// sysctls refuses those that are not of a namespace which the set has: a runtime
// would do so at the start.
func (f *flaws) sysctls(m map[string]string) {
	ipc := []string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
		"kernel.shm_rmid_forced", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := join("/Sysctls", key)
		own := strings.HasPrefix(key, "net.") || strings.HasPrefix(key, "fs.mqueue.") || slices.Contains(ipc, key)
		switch {
		case !own:
			f.add(at, "%.60q is no setting of a set but of the host: possible are net.*, fs.mqueue.*, %s", key, strings.Join(ipc, ", "))
		case !line(key) || strings.HasSuffix(key, ".") || strings.Contains(key, "="):
			f.add(at, "%.60q is no name of a setting: write one such as net.core.somaxconn", key)
		case strings.TrimSpace(m[key]) == "" || strings.ContainsAny(m[key], "\n\x00"):
			f.add(at, "%.60q is no value of a setting: write one such as \"4096\"", m[key])
		}
	}
}
