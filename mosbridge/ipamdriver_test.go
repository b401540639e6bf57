package mosbridge

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/netapi"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// creation is the calls of one `docker network create`, in the engine's order.
type creation struct {
	d        *Driver
	id, pool string
}

func (c *creation) requestPool(ctx context.Context) error {
	r, err := c.d.onRequestPool(ctx, netapi.RequestPoolRequest{Pool: "10.9.0.0/24"})
	c.pool = r.PoolID
	return err
}

func (c *creation) requestGateway(ctx context.Context) error {
	_, err := c.d.onRequestAddress(ctx, netapi.RequestAddressRequest{PoolID: c.pool, Address: "10.9.0.1", Options: map[string]string{netapi.AddressTypeKey: netapi.GatewayType}})
	return err
}

func (c *creation) create(ctx context.Context) error {
	_, err := c.d.onCreateNetwork(ctx, netapi.CreateNetworkRequest{
		NetworkID: hexID(c.id), IPv4Data: []netapi.IPAMData{{AddressSpace: space, Pool: "10.9.0.0/24", Gateway: "10.9.0.1/24"}},
	})
	return err
}

// giveBack is what an engine does with the pool of a creation that failed, and
// before it deletes a network.
func (c *creation) giveBack(ctx context.Context) error {
	_, addr := c.d.onReleaseAddress(ctx, netapi.ReleaseAddressRequest{PoolID: c.pool, Address: "10.9.0.1"})
	_, pool := c.d.onReleasePool(ctx, netapi.ReleasePoolRequest{PoolID: c.pool})
	return errors.Join(addr, pool)
}

// all runs the creation, giving back when it fails behind the pool's request.
func (c *creation) all(ctx context.Context) error {
	if err := c.requestPool(ctx); err != nil {
		return err
	}
	err := c.requestGateway(ctx)
	if err == nil {
		err = c.create(ctx)
	}
	if err != nil {
		return errors.Join(err, c.giveBack(ctx))
	}
	return nil
}

// TestFailedCreationGivesNothingOfOthersBack: two creations with one subnet,
// the second at each point of the first. The first must end up with its pool,
// its gateway's address and nobody beside it.
func TestFailedCreationGivesNothingOfOthersBack(t *testing.T) {
	for name, at := range map[string]int{"after_its_pool": 1, "after_its_gateway": 2, "after_its_network": 3} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			a, b := &creation{d: h.Driver, id: "a"}, &creation{d: h.Driver, id: "b"}
			for i, step := range []func(context.Context) error{a.requestPool, a.requestGateway, a.create} {
				if err := step(t.Context()); err != nil {
					t.Fatal(err)
				}
				if i+1 != at {
					continue
				}
				if err := b.all(t.Context()); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "10.9.0.0/24") {
					t.Errorf("the second creation: got %v, want a refusal that names the subnet", err)
				}
			}
			if ps := h.addrs.Pools(); len(ps) != 1 || ps[0].Network != hexID("a") {
				t.Fatalf("pools are %+v, want that of the first network", ps)
			}
			if ls := h.addrs.Leases(ipam.PoolID(a.pool)); len(ls) != 1 || ls[0].Kind != ipam.Gateway || ls[0].State != ipam.Held {
				t.Errorf("leases are %v, want the gateway's", ls)
			}
			// Its end, and a next network with the subnet.
			if err := a.giveBack(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := h.deleteNetwork(t.Context(), spec.NetworkID(hexID("a"))); err != nil {
				t.Fatal(err)
			}
			if err := b.all(t.Context()); err != nil {
				t.Errorf("the subnet is not free again: %v", err)
			}
		})
	}
}

func TestPoolWhoseAnswerNobodyHearsIsGivenBack(t *testing.T) {
	d := lonely(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &creation{d: d, id: "a"}
	if err := c.requestPool(ctx); err == nil {
		t.Error("a caller that hung up got an answer")
	}
	if err := c.requestPool(t.Context()); err != nil {
		t.Errorf("asked again: %v", err)
	}
}

// TestPoolsOfNetworksThatAreGoneAreCollected: an engine that died between
// creating a network and noting it never gives its pool back.
func TestPoolsOfNetworksThatAreGoneAreCollected(t *testing.T) {
	dir, docker := t.TempDir(), enginetest.Start(t)
	cfg := Defaults()
	cfg.StateDir, cfg.OVSRunDir, cfg.DockerHost = dir, dir, docker.Host
	cfg.Grace.Duration = ipam.Repeat
	d := opened(t, cfg)
	seed(t, d, "a")
	docker.PutNetwork(enginetest.Network{ID: hexID("a"), Name: "a", Driver: Name, IPAMDriver: Name, Subnet: "10.9.0.0/24"})
	docker.PutNetwork(enginetest.Network{ID: hexID("e"), Name: "e", Driver: "macvlan", IPAMDriver: Name, Subnet: "10.13.0.0/24"})
	for _, p := range []struct {
		prefix, network string
		age             time.Duration
	}{
		{"10.9.0.0/24", hexID("a"), time.Hour},
		{"10.10.0.0/24", hexID("b"), time.Hour}, // whose network is gone
		{"10.11.0.0/24", "", time.Hour},         // whose network never was
		{"10.12.0.0/24", hexID("c"), 0},         // of a creation under way
		{"10.13.0.0/24", "", time.Hour},         // of another driver's network
	} {
		r, err := d.addrs.RequestPool(ipam.PoolRequest{Space: space, Pool: p.prefix}, time.Now().Add(-p.age))
		if err == nil && p.network != "" {
			err = d.addrs.Bind(r.ID(), p.network)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		var names []string
		for _, p := range d.addrs.Pools() {
			names = append(names, p.Prefix.String())
		}
		return strings.Join(names, " ")
	}
	all := left()
	d.collect(t.Context())
	if left() != all {
		t.Errorf("pools %s after the first look, want two looks", left())
	}
	gc, err := d.gc(t.Context(), api.GCRequest{DryRun: true})
	if err != nil || len(gc.Objects) != 2 || gc.Objects[0].Kind != "pool" || left() != all {
		t.Errorf("got %+v, %v, want two pools that would go", gc, err)
	}
	if _, err := d.gc(t.Context(), api.GCRequest{}); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), "10.12.0.0/24 10.13.0.0/24 10.9.0.0/24"; got != want {
		t.Errorf("pools %s are left, want %s", got, want)
	}
}
