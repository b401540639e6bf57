package cluster

import (
	"context"
	"net/netip"
	"reflect"
	"time"

	"github.com/containerd/errdefs"

	bridge "github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// Bridge is the host's mosbridge.
type Bridge interface {
	SetCluster(ctx context.Context, to bridge.Cluster) (bridge.Cluster, error)
}

// Times of what the bridge is told.
const (
	giveAgain = 5 * time.Second // until it is told again, which also says what is in use
	giveLimit = 2 * time.Second // for one answer: sets wait for it
)

// Guard has addresses of the cluster's networks given out by a mosbridge as the cluster says.
// Without it they are as the host gives them.
func (h *Host) Guard(b Bridge) { h.bridge = b }

// giveAlways keeps the bridge as the assignment says, until ctx ends. It keeps that itself
// while mosd is away. A host of no cluster tells it once.
func (h *Host) giveAlways(ctx context.Context) {
	tick := time.NewTicker(giveAgain)
	defer tick.Stop()
	for alone := false; ; {
		if !alone || h.isOfCluster() {
			alone = h.tellBridge(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *Host) isOfCluster() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rec.Cluster != ""
}

// tellBridge tells the bridge what the record says, and whether that is all there is to tell.
func (h *Host) tellBridge(ctx context.Context) (alone bool) {
	if h.bridge == nil {
		return true
	}
	h.telling.Lock()
	defer h.telling.Unlock()
	h.mu.Lock()
	of, is := h.rec.Assignment, h.rec.Cluster
	h.mu.Unlock()
	to := bridge.Cluster{}
	if is != "" {
		to = clusterOf(of)
	}
	ctx, cancel := context.WithTimeout(ctx, giveLimit)
	defer cancel()
	got, err := h.bridge.SetCluster(ctx, to)
	h.mu.Lock()
	defer h.mu.Unlock()
	why := ""
	if err != nil && !errdefs.IsUnavailable(err) { // where there is none, nobody misses it
		why = err.Error()
	}
	if why != "" && why != h.untold {
		h.log.WarnContext(ctx, "mosbridge does not take the addresses of the cluster", "err", err)
	}
	h.untold = why
	was := h.given
	h.given = nil
	if err == nil && is != "" {
		h.given = &got
	}
	if (was == nil) != (h.given == nil) || !reflect.DeepEqual(returned(was), returned(h.given)) {
		h.nudge()
	}
	return err == nil && is == ""
}

// clusterOf is what an assignment says of addresses. What cannot be read, of a newer leader, is
// given to nobody.
func clusterOf(a link.Assignment) bridge.Cluster {
	to := bridge.Cluster{Host: a.Host}
	for _, n := range a.Networks {
		for _, p := range n.Pools {
			subnet, err := netip.ParsePrefix(p.Subnet)
			if err != nil {
				continue
			}
			one := bridge.ClusterPool{Network: n.Network, Subnet: subnet, Sets: map[netip.Addr]string{}}
			one.Range, _ = netip.ParsePrefix(p.Range)
			for _, text := range append([]string{p.Gateway}, p.Exclude...) {
				if out, ok := prefixOf(text); ok {
					one.Except = append(one.Except, out)
				}
			}
			for _, b := range n.Blocks {
				if block, err := netip.ParsePrefix(b.Prefix); err == nil && subnet.Contains(block.Addr()) {
					one.Blocks = append(one.Blocks, bridge.ClusterBlock{Prefix: block, Leaving: b.Leaving})
				}
			}
			for text, set := range n.Sets {
				if addr, err := netip.ParseAddr(text); err == nil && subnet.Contains(addr) {
					one.Sets[addr] = set
				}
			}
			to.Pools = append(to.Pools, one)
		}
	}
	return to
}

// prefixOf reads an address or a subnet.
func prefixOf(text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil
}

// returned are the blocks that leave and are in nobody's use.
func returned(c *bridge.Cluster) (all []api.HostBlock) {
	if c == nil {
		return nil
	}
	for _, p := range c.Pools {
		for _, b := range p.Blocks {
			if b.Leaving && b.Used == 0 {
				all = append(all, api.HostBlock{Network: p.Network, Prefix: b.Prefix.String(), Leaving: true})
			}
		}
	}
	return all
}
