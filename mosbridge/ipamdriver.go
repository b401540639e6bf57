package mosbridge

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/netapi"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// space is the one address space: networks of one host may not overlap.
const space = "mosbridge"

func (d *Driver) registerIPAM(s *pluginsrv.Server) {
	pluginsrv.Handle(s, "/IpamDriver.GetCapabilities", d.onIPAMCapabilities)
	pluginsrv.Handle(s, "/IpamDriver.GetDefaultAddressSpaces", d.onAddressSpaces)
	pluginsrv.Handle(s, "/IpamDriver.RequestPool", d.onRequestPool)
	pluginsrv.Handle(s, "/IpamDriver.ReleasePool", d.onReleasePool)
	pluginsrv.Handle(s, "/IpamDriver.RequestAddress", d.onRequestAddress)
	pluginsrv.Handle(s, "/IpamDriver.ReleaseAddress", d.onReleaseAddress)
}

// onIPAMCapabilities asks for the MAC with each address, which is how one asked
// for by --mac-address gets its address back; and for no replay, since the
// record holds all.
func (d *Driver) onIPAMCapabilities(context.Context, pluginsrv.None) (netapi.IPAMCapabilities, error) {
	return netapi.IPAMCapabilities{RequiresMACAddress: true}, nil
}

func (d *Driver) onAddressSpaces(context.Context, pluginsrv.None) (netapi.AddressSpaces, error) {
	return netapi.AddressSpaces{LocalDefaultAddressSpace: space, GlobalDefaultAddressSpace: space}, nil
}

func (d *Driver) onRequestPool(ctx context.Context, r netapi.RequestPoolRequest) (netapi.RequestPoolResponse, error) {
	req := ipam.PoolRequest{Space: space, Pool: r.Pool, SubPool: r.SubPool, Options: r.Options, V6: r.V6}
	if r.Pool == "" {
		busy, err := link.Routes(ctx)
		if err != nil {
			return netapi.RequestPoolResponse{}, err
		}
		req.Busy = busy
	}
	p, err := d.addrs.RequestPool(req, time.Now())
	if err != nil {
		return netapi.RequestPoolResponse{}, err
	}
	if err := ctx.Err(); err != nil { // nobody hears the answer, and asks again
		return netapi.RequestPoolResponse{}, errors.Join(err, d.addrs.ReleasePool(p.ID()))
	}
	return netapi.RequestPoolResponse{PoolID: string(p.ID()), Pool: p.Prefix.String()}, nil
}

func (d *Driver) onReleasePool(_ context.Context, r netapi.ReleasePoolRequest) (pluginsrv.None, error) {
	return pluginsrv.None{}, d.addrs.ReleasePool(ipam.PoolID(r.PoolID))
}

func (d *Driver) onRequestAddress(ctx context.Context, r netapi.RequestAddressRequest) (netapi.RequestAddressResponse, error) {
	req := ipam.Request{Gateway: r.Options[netapi.AddressTypeKey] == netapi.GatewayType, Name: r.Options[netapi.NameKey], Gone: d.gone(ctx)}
	var err error
	if mac := r.Options[netapi.MACKey]; mac != "" {
		if req.MAC, err = spec.ParseMAC(mac); err != nil {
			return netapi.RequestAddressResponse{}, err
		}
	}
	if r.Address != "" {
		if req.Addr, err = netip.ParseAddr(r.Address); err != nil {
			return netapi.RequestAddressResponse{}, fault.Invalid("address %.60q is not of the form 10.9.0.21", r.Address)
		}
	}
	l, err := d.addrs.RequestAddress(ipam.PoolID(r.PoolID), req, time.Now())
	if err != nil {
		return netapi.RequestAddressResponse{}, d.nameHolder(req.Addr, err)
	}
	p, _ := l.Pool.Prefix()
	return netapi.RequestAddressResponse{Address: netip.PrefixFrom(l.Addr, p.Bits()).String()}, nil
}

// nameHolder says by whom an address is taken, where the record knows the
// container's name and IPAM, before engine 29.0, does not.
func (d *Driver) nameHolder(a netip.Addr, err error) error {
	if _, taken := errors.AsType[*ipam.TakenError](err); !taken {
		return err
	}
	for _, e := range d.rec.allEndpoints() {
		if e.Name != "" && slices.Contains(e.Endpoint.Addrs(), a) {
			return fault.Conflict("address %s is held by %s: stop it or choose another", a, e.title())
		}
	}
	return err
}

func (d *Driver) onReleaseAddress(_ context.Context, r netapi.ReleaseAddressRequest) (pluginsrv.None, error) {
	a, err := netip.ParseAddr(r.Address)
	if err != nil {
		return pluginsrv.None{}, fault.Invalid("address %.60q is not of the form 10.9.0.21", r.Address)
	}
	return pluginsrv.None{}, d.addrs.ReleaseAddress(ipam.PoolID(r.PoolID), a, time.Now())
}

// bindPools notes which network a pool belongs to, before that is created, so
// that no other network gets the pool meanwhile. Losing the note costs nothing:
// a pool is only collected when Docker denies its network too.
func (d *Driver) bindPools(r spec.NetworkRequest) {
	for _, s := range r.Subnets {
		id := ipam.Pool{Space: space, Prefix: s.Prefix}.ID()
		if err := d.addrs.Bind(id, r.ID); err != nil {
			d.log.Debug("pool is not ours or not bound", "pool", string(id), "err", err)
		}
	}
}
