package mosbridge

import (
	"context"
	"encoding/binary"
	"net/netip"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// announce tells the network, in the endpoint's name, which MAC its addresses
// have. A container that comes back with its old address often has another MAC
// (engines choose one by chance for each life), and neighbors that remember the
// old one would not reach it for half a minute. Engines announce nothing or
// wrongly: moby up to 29 sends 0.0.0.0 where IPAM is a plugin's.
//
// The frames pass the flows of the endpoint's port, so they reach its network
// only. That nobody hears them is no fault of the join.
func (f *fabric) announce(ctx context.Context, name string, id spec.EndpointID) {
	_, e, err := f.owner(id)
	if err != nil {
		return
	}
	b := f.bridge(name)
	b.mu.Lock()
	port := b.ofport[id.PortName()]
	b.mu.Unlock()
	if port == 0 {
		return
	}
	var frames [][]byte
	for _, a := range e.Endpoint.Addrs() {
		frames = append(frames, announcement(e.Endpoint.MAC, a))
	}
	if err := f.ovs.Inject(ctx, name, port, frames...); err != nil {
		f.log.WarnContext(ctx, "neighbors were not told of the endpoint", "endpoint", id.Short(), "err", err)
	}
}

// announcement is an ARP request for the sender's own address (RFC 5227), or an
// unsolicited neighbor advertisement that overrides what is known (RFC 4861,
// 4.4).
func announcement(mac spec.MAC, a netip.Addr) []byte {
	if a.Is4() {
		ip := a.As4()
		f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:]...)
		f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
		f = append(append(f, mac[:]...), ip[:]...)
		return append(f, append(make([]byte, 6), ip[:]...)...)
	}
	all, ip := netip.MustParseAddr("ff02::1").As16(), a.As16()
	body := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, ip[:]...)
	body = append(append(body, 2, 1), mac[:]...) // option: target's link-layer address
	pseudo := append(append(append([]byte{}, ip[:]...), all[:]...), 0, 0, 0, byte(len(body)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(body[2:], checksum(append(pseudo, body...)))
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), 58, 255)
	return append(append(append(f, ip[:]...), all[:]...), body...)
}

// checksum is that of RFC 1071 over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
