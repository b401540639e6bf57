package ovs

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// oxm is one matched field: its header of class, number and size, its value,
// and its mask if it has one.
type oxm struct {
	class       uint16
	field       uint8
	value, mask []byte
}

// Classes and fields of OpenFlow 1.4 (section 7.2.3.7), and of Nicira's
// extensions.
const (
	classBasic = 0x8000
	classNXM0  = 0x0000
	classNXM1  = 0x0001

	oxmInPort    = 0
	oxmEthDst    = 3
	oxmEthSrc    = 4
	oxmEthType   = 5
	oxmVlanVID   = 6
	oxmIPProto   = 10
	nxmVlanTCI   = 4
	vlanPresent  = 0x1000
	maxRegisters = 16

	ethIPv4 = 0x0800
	ethARP  = 0x0806
	ethIPv6 = 0x86dd
	ipICMP6 = 58
	ipUDP   = 17
	ipTCP   = 6
	ipICMP  = 1
)

// protocols are the words that stand for an Ethernet type and an IP protocol.
var protocols = map[string][2]uint16{ //nolint:gochecknoglobals // a constant table
	"arp": {ethARP, 0}, "ip": {ethIPv4, 0}, "ipv6": {ethIPv6, 0},
	"icmp": {ethIPv4, ipICMP}, "icmp6": {ethIPv6, ipICMP6},
	"tcp": {ethIPv4, ipTCP}, "tcp6": {ethIPv6, ipTCP}, "udp": {ethIPv4, ipUDP}, "udp6": {ethIPv6, ipUDP},
}

// kinds of values.
const (
	asNumber = iota
	asMAC
	asIPv4
	asIPv6
)

// fieldType is a field of the basic class: what it needs of the protocol word,
// and how its value is written.
type fieldType struct {
	number     uint8
	kind, size int
	eth, proto uint16 // 0: any
}

var fieldTypes = map[string]fieldType{ //nolint:gochecknoglobals // a constant table
	"in_port": {number: oxmInPort, size: 4},
	"dl_dst":  {number: oxmEthDst, kind: asMAC, size: 6}, "dl_src": {number: oxmEthSrc, kind: asMAC, size: 6},
	"nw_src": {number: 11, kind: asIPv4, size: 4, eth: ethIPv4}, "nw_dst": {number: 12, kind: asIPv4, size: 4, eth: ethIPv4},
	"tcp_src": {number: 13, size: 2, proto: ipTCP}, "tcp_dst": {number: 14, size: 2, proto: ipTCP},
	"udp_src": {number: 15, size: 2, proto: ipUDP}, "udp_dst": {number: 16, size: 2, proto: ipUDP},
	"icmp_type": {number: 19, size: 1, proto: ipICMP}, "icmp_code": {number: 20, size: 1, proto: ipICMP},
	"arp_op":  {number: 21, size: 2, eth: ethARP},
	"arp_spa": {number: 22, kind: asIPv4, size: 4, eth: ethARP}, "arp_tpa": {number: 23, kind: asIPv4, size: 4, eth: ethARP},
	"arp_sha": {number: 24, kind: asMAC, size: 6, eth: ethARP}, "arp_tha": {number: 25, kind: asMAC, size: 6, eth: ethARP},
	"ipv6_src": {number: 26, kind: asIPv6, size: 16, eth: ethIPv6}, "ipv6_dst": {number: 27, kind: asIPv6, size: 16, eth: ethIPv6},
	"icmpv6_type": {number: 29, size: 1, proto: ipICMP6}, "icmpv6_code": {number: 30, size: 1, proto: ipICMP6},
	"nd_target": {number: 31, kind: asIPv6, size: 16, proto: ipICMP6},
	"nd_sll":    {number: 32, kind: asMAC, size: 6, proto: ipICMP6}, "nd_tll": {number: 33, kind: asMAC, size: 6, proto: ipICMP6},
}

// matches reads the words of a match.
func matches(words []string) ([]oxm, bool) {
	var ms []oxm
	var eth, proto uint16
	for _, w := range words {
		if p, ok := protocols[w]; ok {
			if eth != 0 {
				return nil, false
			}
			eth, proto = p[0], p[1]
			ms = append(ms, oxm{class: classBasic, field: oxmEthType, value: bytesOf(uint64(eth), 2)})
			if proto != 0 {
				ms = append(ms, oxm{class: classBasic, field: oxmIPProto, value: bytesOf(uint64(proto), 1)})
			}
		}
	}
	for _, w := range words {
		key, value, has := strings.Cut(w, "=")
		if !has {
			if _, ok := protocols[w]; !ok {
				return nil, false
			}
			continue
		}
		m, ok := matchOf(key, value, eth, proto)
		if !ok {
			return nil, false
		}
		ms = append(ms, m)
	}
	// The switch wants what a field depends on before it: the numbers are in
	// that order.
	slices.SortFunc(ms, func(a, b oxm) int {
		return cmp.Or(-cmp.Compare(a.class, b.class), cmp.Compare(a.field, b.field))
	})
	return ms, true
}

func matchOf(key, value string, eth, proto uint16) (oxm, bool) {
	if n, ok := register(key); ok {
		v, m, ok := masked(value, asNumber, 4)
		return oxm{class: classNXM1, field: n, value: v, mask: m}, ok
	}
	switch key {
	case "vlan_tci":
		v, m, ok := masked(value, asNumber, 2)
		return oxm{class: classNXM0, field: nxmVlanTCI, value: v, mask: m}, ok
	case "dl_vlan":
		n, err := strconv.ParseUint(value, 0, 12)
		return oxm{class: classBasic, field: oxmVlanVID, value: bytesOf(n|vlanPresent, 2)}, err == nil && n > 0
	}
	t, ok := fieldTypes[key]
	if !ok || t.eth != 0 && t.eth != eth || t.proto != 0 && t.proto != proto {
		return oxm{}, false
	}
	if key == "in_port" {
		n, err := strconv.ParseUint(value, 10, 32)
		return oxm{class: classBasic, value: bytesOf(n, 4)}, err == nil && n > 0 && n < maxPort
	}
	v, m, ok := masked(value, t.kind, t.size)
	return oxm{class: classBasic, field: t.number, value: v, mask: m}, ok
}

// maxPort is the first of the reserved port numbers in their short form, which
// ovs-ofctl stretches to the long one.
const maxPort = 0xff00

// register reads "reg7".
func register(s string) (uint8, bool) {
	digits, ok := strings.CutPrefix(s, "reg")
	if !ok || strings.HasPrefix(digits, "0") && digits != "0" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 8)
	return uint8(n), err == nil && n < maxRegisters
}

// masked reads "value" or "value/mask". Bits outside of the mask are cleared,
// as the switch refuses them; a mask of all or of no bits is left to ovs-ofctl.
func masked(s string, kind, size int) (value, mask []byte, ok bool) {
	v, m, has := strings.Cut(s, "/")
	if value, ok = valueOf(v, kind, size); !ok || !has {
		return value, nil, ok
	}
	if kind == asIPv4 || kind == asIPv6 {
		mask, ok = prefixMask(m, size)
	} else {
		mask, ok = valueOf(m, kind, size)
	}
	if !ok {
		return nil, nil, false
	}
	var or, and byte = 0, 0xff
	for i := range value {
		value[i] &= mask[i]
		or |= mask[i]
		and &= mask[i]
	}
	return value, mask, or != 0 && and != 0xff
}

func prefixMask(s string, size int) ([]byte, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n > uint64(size)*8 {
		return nil, false
	}
	mask := make([]byte, size)
	for i := range n {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask, true
}

func valueOf(s string, kind, size int) ([]byte, bool) {
	switch kind {
	case asMAC:
		b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
		return b, err == nil && len(b) == size && strings.Count(s, ":") == size-1
	case asIPv4, asIPv6:
		a, err := netip.ParseAddr(s)
		return a.AsSlice(), err == nil && a.Zone() == "" && a.Is4() == (kind == asIPv4)
	}
	n, err := strconv.ParseUint(s, 0, size*8)
	return bytesOf(n, size), err == nil && !strings.HasPrefix(s, "0o") && !strings.HasPrefix(s, "0b") && !octal(s)
}

// octal says that a number begins like an octal one: Go and C do not read the
// same forms.
func octal(s string) bool { return len(s) > 1 && s[0] == '0' && s[1] != 'x' }

func bytesOf(n uint64, size int) []byte {
	return binary.BigEndian.AppendUint64(nil, n)[8-size:]
}

// append adds header, value and mask.
func (m oxm) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, m.class)
	field := m.field << 1
	if m.mask != nil {
		field |= 1
	}
	b = append(b, field, byte(len(m.value)+len(m.mask)))
	b = append(b, m.value...)
	return append(b, m.mask...)
}

func appendMatch(b []byte, ms []oxm) []byte {
	start := len(b)
	b = append(b, 0, 1, 0, 0) // type OXM, length
	for _, m := range ms {
		b = m.append(b)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return pad(b, start)
}
