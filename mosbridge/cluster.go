package mosbridge

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/store"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
)

// clusterKey is where what the cluster gave this host is kept, so that it holds from the start
// on, whoever else is away.
const clusterKey = "cluster"

func clusterBucket() store.Bucket[api.Cluster] { return store.NewBucket[api.Cluster](clusterKey) }

// loadCluster has what was kept hold.
func (d *Driver) loadCluster() error {
	var was api.Cluster
	err := d.db.View(func(tx *store.Tx) (err error) {
		was, err = clusterBucket().Get(tx, clusterKey)
		return err
	})
	if errdefs.IsNotFound(err) {
		return nil
	}
	guards, bad := guardsOf(was)
	if err := errors.Join(err, bad); err != nil {
		return err
	}
	d.given = was
	d.addrs.Guard(guards)
	return nil
}

// setCluster has addresses of a cluster's networks given out by what it says from now on. What
// was waited for no longer is not done: who asked may have said something newer since.
func (d *Driver) setCluster(ctx context.Context, to api.Cluster) (api.Cluster, error) {
	guards, err := guardsOf(to)
	if err != nil {
		return api.Cluster{}, err
	}
	for i := range to.Pools {
		for j := range to.Pools[i].Blocks {
			to.Pools[i].Blocks[j].Used = 0
		}
	}
	d.giving.Lock()
	defer d.giving.Unlock()
	if err := ctx.Err(); err != nil {
		return api.Cluster{}, err
	}
	if !reflect.DeepEqual(to, d.given) {
		err := d.db.Update(func(tx *store.Tx) error { return clusterBucket().Put(tx, clusterKey, to) })
		if err != nil {
			return api.Cluster{}, err
		}
		d.given = to
		d.addrs.Guard(guards)
	}
	return d.count(to), nil
}

// showCluster is what holds.
func (d *Driver) showCluster() api.Cluster {
	d.giving.Lock()
	defer d.giving.Unlock()
	return d.count(d.given)
}

// count adds how many addresses of blocks are in use.
func (d *Driver) count(c api.Cluster) api.Cluster {
	c.Pools = slices.Clone(c.Pools)
	for i := range c.Pools {
		c.Pools[i].Blocks = slices.Clone(c.Pools[i].Blocks)
		for j := range c.Pools[i].Blocks {
			b := &c.Pools[i].Blocks[j]
			b.Used = d.addrs.Used(b.Prefix)
		}
	}
	return c
}

// guardsOf checks what the cluster gave and has it by subnet. Of networks with one subnet the
// host has the first at most: of the others what it still has, or is to have, is added.
func guardsOf(c api.Cluster) (map[netip.Prefix]*ipam.Guard, error) {
	all := map[netip.Prefix]*ipam.Guard{}
	for _, p := range c.Pools {
		if !p.Subnet.IsValid() || p.Subnet != p.Subnet.Masked() {
			return nil, fault.Invalid("network %.60q of the cluster has no subnet of the form 10.9.0.0/24", p.Network)
		}
		g := all[p.Subnet]
		if g == nil {
			g = &ipam.Guard{Network: p.Network, Host: c.Host, Range: p.Subnet, Except: p.Except, Sets: map[netip.Addr]string{}}
			if p.Range.IsValid() {
				g.Range = p.Range
			}
			all[p.Subnet] = g
		}
		maps.Copy(g.Sets, p.Sets)
		for _, b := range p.Blocks {
			if !b.Prefix.IsValid() || b.Prefix != b.Prefix.Masked() || !p.Subnet.Overlaps(b.Prefix) || b.Prefix.Bits() < p.Subnet.Bits() {
				return nil, fault.Invalid("block %s is not in subnet %s of network %.60q of the cluster", b.Prefix, p.Subnet, p.Network)
			}
			g.Blocks = append(g.Blocks, ipam.Block{Prefix: b.Prefix, Leaving: b.Leaving})
		}
		slices.SortFunc(g.Blocks, func(a, b ipam.Block) int { return cmp.Compare(a.Prefix.String(), b.Prefix.String()) })
	}
	return all, nil
}
