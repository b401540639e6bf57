package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// forged is what a forged frame says. What is not given is the truth.
type forged struct {
	srcMAC, dstMAC net.HardwareAddr // of the Ethernet header
	claimMAC       net.HardwareAddr // in the body of ARP and NA
	src, dst       netip.Addr       // of the IP header
	claim          netip.Addr       // the address that ARP and NA claim
}

// spoof sends count frames of a kind from an interface:
//
//	echo   ICMP or ICMPv6 echo request; keys src= dst= mac= dstmac=
//	arp    ARP reply that claims an address; keys ip= mac= claimmac= dstmac= dst=
//	na     neighbor advertisement that claims one; the same keys, and src=
//
// mac= is the Ethernet source, by default the interface's own, src= the IP
// source, by default the interface's first of that family.
func spoof(out io.Writer, kind, iface string, keys []string, count int) error {
	link, err := net.InterfaceByName(iface)
	if err != nil {
		return err
	}
	f, err := parse(link, keys)
	if err != nil {
		return err
	}
	frame, err := f.frame(kind)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	for range count {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
			return fmt.Errorf("send from %s: %w", iface, err)
		}
	}
	_, err = fmt.Fprintf(out, "sent %d %s %x\n", count, kind, frame)
	return err
}

func parse(link *net.Interface, keys []string) (forged, error) {
	f := forged{srcMAC: link.HardwareAddr}
	for _, kv := range keys {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return f, fmt.Errorf("argument %q: want key=value: %w", kv, errUsage)
		}
		var err error
		switch key {
		case "mac":
			f.srcMAC, err = net.ParseMAC(value)
		case "dstmac":
			f.dstMAC, err = net.ParseMAC(value)
		case "claimmac":
			f.claimMAC, err = net.ParseMAC(value)
		case "src":
			f.src, err = netip.ParseAddr(value)
		case "dst":
			f.dst, err = netip.ParseAddr(value)
		case "ip":
			f.claim, err = netip.ParseAddr(value)
		default:
			err = errUsage
		}
		if err != nil {
			return f, fmt.Errorf("argument %q: %w", kv, err)
		}
	}
	if f.claimMAC == nil {
		f.claimMAC = f.srcMAC
	}
	if !f.src.IsValid() {
		f.src = own(link, f.dst.Is6() || f.claim.Is6())
	}
	return f, nil
}

// own returns the interface's first address of a family.
func own(link *net.Interface, v6 bool) netip.Addr {
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() == v6 {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

func (f forged) frame(kind string) ([]byte, error) {
	switch {
	case kind == "echo" && f.src.Is4() && f.dst.Is4():
		return f.ethernet(unix.ETH_P_IP, broadcast, f.ipv4(unix.IPPROTO_ICMP, icmpEcho(8))), nil
	case kind == "echo" && f.src.Is6() && f.dst.Is6():
		return f.ethernet(unix.ETH_P_IPV6, allNodesMAC, f.icmpv6(64, icmpEcho(128))), nil
	case kind == "arp" && f.claim.Is4():
		return f.ethernet(unix.ETH_P_ARP, broadcast, f.arp()), nil
	case kind == "na" && f.claim.Is6():
		if !f.dst.IsValid() {
			f.dst = netip.MustParseAddr("ff02::1")
		}
		return f.ethernet(unix.ETH_P_IPV6, allNodesMAC, f.icmpv6(255, f.advertisement())), nil
	}
	return nil, fmt.Errorf("spoof %s: echo wants dst= (and src= of the same family), arp an IPv4 ip=, na an IPv6 ip=: %w", kind, errUsage)
}

const (
	broadcast   = "\xff\xff\xff\xff\xff\xff"
	allNodesMAC = "\x33\x33\x00\x00\x00\x01"
)

func (f forged) ethernet(proto uint16, dst string, body []byte) []byte {
	if f.dstMAC != nil {
		dst = string(f.dstMAC)
	}
	frame := append([]byte(dst), f.srcMAC...)
	return append(binary.BigEndian.AppendUint16(frame, proto), body...)
}

func (f forged) ipv4(proto byte, body []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(body)))
	h = append(append(h, f.src.AsSlice()...), f.dst.AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, body...)
}

// icmpv6 wraps a message, whose checksum covers the addresses too.
func (f forged) icmpv6(hops byte, message []byte) []byte {
	pseudo := append(append([]byte{}, f.src.AsSlice()...), f.dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(message)))
	pseudo = append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6)
	message[2], message[3] = 0, 0
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	h := []byte{0x60, 0, 0, 0, 0, 0, unix.IPPROTO_ICMPV6, hops}
	binary.BigEndian.PutUint16(h[4:], uint16(len(message)))
	h = append(append(h, f.src.AsSlice()...), f.dst.AsSlice()...)
	return append(h, message...)
}

// icmpEcho returns an echo request whose data is the word "spoof", by which a
// test finds it.
func icmpEcho(kind byte) []byte {
	m := append([]byte{kind, 0, 0, 0, 0x05, 0x90, 0, 1}, "spoof"...)
	binary.BigEndian.PutUint16(m[2:], checksum(m))
	return m
}

func (f forged) arp() []byte {
	target := f.claim // gratuitous
	if f.dst.Is4() {
		target = f.dst
	}
	body := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	body = append(append(body, f.claimMAC...), f.claim.AsSlice()...)
	return append(append(body, broadcast...), target.AsSlice()...)
}

func (f forged) advertisement() []byte {
	const override = 0x20
	m := append([]byte{136, 0, 0, 0, override, 0, 0, 0}, f.claim.AsSlice()...)
	return append(append(m, 2, 1), f.claimMAC...)
}

// checksum is the one of the internet protocols.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
