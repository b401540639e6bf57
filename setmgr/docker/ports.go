package docker

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/setmgr/label"
)

// Published finds the ports of the host that running containers have, but for those of clusters'
// sets. An Engine does not list those that a network driver publishes: a container is asked for
// what it was made with, once.
type Published struct {
	asked map[string][]string // by id
}

// Ports are those of the host in order: as tcp/80 at all its addresses, also those of one family
// only, and as tcp/127.0.0.1:80 at one. Beside that one an Engine refuses the port at this address
// and at all of its family, and no other: 29 as "already allocated", 20.10, which does not compare
// addresses, by a socket that it binds, or has its proxy bind, which fails.
func (p *Published) Ports(ctx context.Context, e *Engine) ([]string, error) {
	out, err := e.c.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return nil, e.told(ctx, err)
	}
	asked := map[string][]string{}
	var ports []string
	for _, c := range out.Items {
		if owner(c) != "" && c.Labels[label.Cluster] != "" {
			continue
		}
		for _, is := range c.Ports {
			if is.PublicPort != 0 {
				ports = append(ports, port(is.Type, is.IP, is.PublicPort))
			}
		}
		made, known := p.asked[c.ID]
		if !known {
			in, err := e.c.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
			if errdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, e.told(ctx, err)
			}
			made = bound(in.Container.HostConfig)
		}
		asked[c.ID] = made
		ports = append(ports, made...)
	}
	p.asked = asked
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// bound are the ports that a container asked for by their numbers. In the host's network, and in
// none, the Engine publishes nothing of that.
func bound(c *container.HostConfig) (ports []string) {
	if c == nil || c.NetworkMode.IsHost() || c.NetworkMode.IsNone() {
		return nil
	}
	for of, bindings := range c.PortBindings {
		for _, b := range bindings {
			if n, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil && n > 0 {
				ports = append(ports, port(string(of.Proto()), b.HostIP, uint16(n)))
			}
		}
	}
	return ports
}

func port(protocol string, at netip.Addr, number uint16) string {
	if !at.IsValid() || at.IsUnspecified() {
		return protocol + "/" + strconv.Itoa(int(number))
	}
	return protocol + "/" + netip.AddrPortFrom(at.Unmap(), number).String()
}
