package enginetest

import (
	"net/http"
	"net/netip"
	"slices"
)

// network returns a network in the Engine's JSON.
func (f *Fake) network(n Network, full bool) map[string]any {
	containers := map[string]any{}
	for _, c := range f.containers {
		for _, p := range c.Ports {
			if full && p.Network == n.ID && up(c.State) {
				containers[c.ID] = map[string]any{
					"Name": c.Name, "EndpointID": p.Endpoint,
					"MacAddress": p.MAC, "IPv4Address": p.IPv4, "IPv6Address": p.IPv6,
				}
			}
		}
	}
	config := []any{}
	if n.Subnet != "" {
		config = append(config, map[string]any{"Subnet": n.Subnet})
	}
	return map[string]any{
		"Id": n.ID, "Name": n.Name, "Driver": n.Driver, "Scope": "local", "Internal": n.Internal,
		"Created": "2026-01-02T03:04:05.678901234Z", "EnableIPv6": false, "Attachable": false,
		"IPAM":       map[string]any{"Driver": n.IPAMDriver, "Options": map[string]string{}, "Config": config},
		"Containers": containers, "Options": n.Options, "Labels": map[string]string{},
	}
}

// list returns the containers in the Engine's JSON.
func (f *Fake) list(all bool) []any {
	list := []any{}
	for _, c := range f.containers {
		if !up(c.State) && !all {
			continue
		}
		networks := map[string]any{}
		for _, p := range c.Ports {
			networks[f.nameOf(p.Network)] = settings(p, c.State)
		}
		list = append(list, map[string]any{
			"Id": c.ID, "Names": []string{"/" + c.Name}, "State": c.State, "Created": 1767323045,
			"Mounts":          mounts(c),
			"NetworkSettings": map[string]any{"Networks": networks},
		})
	}
	return list
}

// mounts returns a container's volumes in the Engine's JSON, beside a bind.
func mounts(c Container) []any {
	out := []any{map[string]any{"Type": "bind", "Source": "/etc/hosts", "Destination": "/hosts", "Mode": "", "RW": true, "Propagation": "rprivate"}}
	for _, v := range c.Volumes {
		out = append(out, map[string]any{
			"Type": "volume", "Name": v.Name, "Driver": v.Driver, "Source": "", "Destination": "/" + v.Name, "Mode": "", "RW": !v.ReadOnly, "Propagation": "",
		})
	}
	return out
}

// pause answers as Engines from 20.10 to 29 do.
func (f *Fake) pause(w http.ResponseWriter, id string, pause bool) {
	i := slices.IndexFunc(f.containers, func(c Container) bool { return c.ID == id })
	if i < 0 {
		answer(w, http.StatusNotFound, message("No such container: "+id))
		return
	}
	c := &f.containers[i]
	switch {
	case pause && c.State == "paused":
		answer(w, http.StatusConflict, message("Container "+id+" is already paused"))
	case pause && c.State != "running":
		answer(w, http.StatusConflict, message("Container "+id+" is not running"))
	case !pause && c.State != "paused":
		answer(w, http.StatusInternalServerError, message("Container "+id+" is not paused"))
	case pause:
		c.State = "paused"
		w.WriteHeader(http.StatusNoContent)
	default:
		c.State = "running"
		w.WriteHeader(http.StatusNoContent)
	}
}

// up says whether a container in a state has its processes and its network.
func up(state string) bool { return state == "running" || state == "paused" }

func (f *Fake) nameOf(id string) string {
	for _, n := range f.networks {
		if n.ID == id {
			return n.Name
		}
	}
	return id
}

func settings(p Port, state string) map[string]any {
	var wishes any
	if p.WantIPv4 != "" || p.WantIPv6 != "" {
		wishes = map[string]any{"IPv4Address": p.WantIPv4, "IPv6Address": p.WantIPv6}
	}
	s := map[string]any{
		"IPAMConfig": wishes, "NetworkID": "", "EndpointID": "", "MacAddress": "",
		"IPAddress": "", "IPPrefixLen": 0, "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
	}
	if state != "created" {
		s["NetworkID"] = p.Network
	}
	if up(state) {
		s["EndpointID"], s["MacAddress"] = p.Endpoint, p.MAC
		s["IPAddress"], s["IPPrefixLen"] = split(p.IPv4)
		s["GlobalIPv6Address"], s["GlobalIPv6PrefixLen"] = split(p.IPv6)
	}
	return s
}

func split(cidr string) (addr string, bits int) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", 0
	}
	return p.Addr().String(), p.Bits()
}
