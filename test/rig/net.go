package rig

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// The addresses of the outside, as far away as the internet: no host is on
// their link.
const (
	OutsideIPv4 = "203.0.113.1"
	OutsideIPv6 = "2001:db8:113::1"
)

// openNets makes the fabric and the outside.
func (r *Rig) openNets(ctx context.Context) error {
	var err error
	if r.fabric, err = r.openNode(ctx, "fabric",
		"link add fab0 type bridge stp_state 0 mcast_snooping 0",
		"link set fab0 addrgenmode none",
		"link set fab0 up"); err != nil {
		return err
	}
	if !r.cfg.Outside {
		return nil
	}
	r.outside, err = r.openNode(ctx, "outside",
		"link add world0 type bridge stp_state 0 mcast_snooping 0",
		"link set world0 up",
		"addr add 198.51.100.1/24 dev world0",
		"addr add 2001:db8:100::1/64 dev world0 nodad",
		"addr add "+OutsideIPv4+"/32 dev lo",
		"addr add "+OutsideIPv6+"/128 dev lo nodad")
	return err
}

func (r *Rig) openNode(ctx context.Context, name string, setup ...string) (*Node, error) {
	n := r.node(name, r.cfg.Engine)
	var err error
	if n.space, err = openNet(ctx); err != nil {
		return nil, err
	}
	return &n, n.ip(ctx, setup...)
}

// ip runs commands of ip(8) in the node, in one go.
func (n *Node) ip(ctx context.Context, commands ...string) error {
	in := strings.Join(commands, "\n") + "\n"
	_, err := n.Run(ctx, xexec.Cmd{Argv: []string{"ip", "-batch", "-"}, Stdin: []byte(in)})
	return err
}

// plug gives a booted host its links. Both ends are born where they belong, so
// this process's own network never sees them.
func (r *Rig) plug(ctx context.Context, h *Host) error {
	if err := h.cable(ctx, "up0", r.fabric, "fab0"); err != nil {
		return err
	}
	if err := h.ip(ctx, "link set up0 addrgenmode none", "link set up0 up"); err != nil {
		return err
	}
	if r.outside == nil {
		return nil
	}
	if err := h.cable(ctx, "out0", r.outside, "world0"); err != nil {
		return err
	}
	v4, v6 := h.outside()
	return h.ip(ctx, "link set out0 up",
		"addr add "+v4+"/24 dev out0",
		"addr add "+v6+"/64 dev out0 nodad",
		"route add default via 198.51.100.1",
		"route add ::/0 via 2001:db8:100::1")
}

// cable joins the host with a bridge of another node. A cable of the host's
// former life goes with its namespace, but only some time after it.
func (h *Host) cable(ctx context.Context, link string, to *Node, bridge string) error {
	_, _ = to.Run(ctx, xexec.Cmd{Argv: []string{"ip", "link", "del", h.Name}})
	argv := []string{"ip", "link", "add", link, "netns", strconv.Itoa(h.space.pid), "type", "veth", "peer", "name", h.Name, "netns", strconv.Itoa(to.space.pid)}
	if _, err := (xexec.Host{}).Run(ctx, xexec.Cmd{Argv: argv}); err != nil {
		return fmt.Errorf("plug %s into %s: %w", h.Name, to.Name, err)
	}
	return to.ip(ctx, "link set "+h.Name+" addrgenmode none", "link set "+h.Name+" master "+bridge, "link set "+h.Name+" up")
}
