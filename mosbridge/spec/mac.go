package spec

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// MAC is an Ethernet address. Its text form is `02:42:0a:09:00:15`.
type MAC [6]byte

// ParseMAC reads six hex pairs joined by colons. A multicast or all-zero
// address is refused: no interface can have it.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != 6 || strings.Count(s, ":") != 5 {
		return MAC{}, fault.Invalid("MAC address %.40q is not of the form 02:42:0a:09:00:15", s)
	}
	copy(m[:], b)
	if m[0]&1 != 0 || m == (MAC{}) {
		return MAC{}, fault.Invalid("MAC address %s is not a unicast address", m)
	}
	return m, nil
}

// String is the colon form.
func (m MAC) String() string {
	b := make([]byte, 0, 17)
	for i, x := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = hex.AppendEncode(b, []byte{x})
	}
	return string(b)
}

// IsZero says that no MAC is set.
func (m MAC) IsZero() bool { return m == MAC{} }

// MarshalText is the colon form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the colon form.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}

// LinkLocal is the IPv6 link-local address that Linux derives from the MAC
// (modified EUI-64, RFC 4291 appendix A).
func (m MAC) LinkLocal() netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 0x02, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}
