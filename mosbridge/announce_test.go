package mosbridge

import (
	"net/netip"
	"testing"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// TestAnnouncementIsWellFormed compares with RFC 5227 byte by byte, and checks
// put on the wire, byte by byte.
func TestAnnouncementIsWellFormed(t *testing.T) {
	mac, err := spec.ParseMAC("02:42:0a:09:00:15")
	if err != nil {
		t.Fatal(err)
	}
	arp := announcement(mac, netip.MustParseAddr("10.9.0.21"))
	want := "\xff\xff\xff\xff\xff\xff\x02\x42\x0a\x09\x00\x15\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" +
		"\x02\x42\x0a\x09\x00\x15\x0a\x09\x00\x15\x00\x00\x00\x00\x00\x00\x0a\x09\x00\x15"
	if string(arp) != want {
		t.Errorf("ARP: got %x, want %x", arp, want)
	}
	nd := announcement(mac, netip.MustParseAddr("fd00:9::21"))
	if len(nd) != 14+40+32 {
		t.Fatalf("neighbor advertisement of %d bytes", len(nd))
	}
	// A receiver's check: the sum over pseudo header and message is zero.
	pseudo := append(append([]byte{}, nd[22:54]...), 0, 0, 0, 32, 0, 0, 0, 58)
	if sum := checksum(append(pseudo, nd[54:]...)); sum != 0 {
		t.Errorf("neighbor advertisement: checksum is wrong by %04x", sum)
	}
}
