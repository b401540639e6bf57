package flow

import "fmt"

// Cookie is the mark of a rule: see the package comment for its parts.
type Cookie uint64

// marker says in a cookie that the rule is ours.
const marker = 0x4d

// kind is the byte of a cookie that says whose the rule is and what it is for.
type kind uint8

// Bits of a kind.
const (
	kindNetwork  kind = 0x40
	kindEndpoint kind = 0x80
	kindOwner         = kindNetwork | kindEndpoint // mask; 0 is the bridge
	kindDrop     kind = 0x20
)

// masks of a cookie's parts.
const (
	maskRound  = 0xffff << 48
	maskMarker = 0xff << 32
	maskObject = 0xffffffff
)

func cookie(round uint16, k kind, object uint32) Cookie {
	return Cookie(uint64(round)<<48 | uint64(k)<<40 | marker<<32 | uint64(object))
}

// Ours says that the rule is one of this package's.
func (c Cookie) Ours() bool { return c&maskMarker == marker<<32 }

// Round is the replay that the rule came with.
func (c Cookie) Round() uint16 { return uint16(c >> 48) }

// Object is the number of the network or endpoint, 0 for the bridge's rules.
func (c Cookie) Object() uint32 { return uint32(c & maskObject) }

// IsNetwork says that the object is a network.
func (c Cookie) IsNetwork() bool { return c.kind()&kindOwner == kindNetwork }

// IsEndpoint says that the object is an endpoint.
func (c Cookie) IsEndpoint() bool { return c.kind()&kindOwner == kindEndpoint }

// Drops says that the rule drops what it matches.
func (c Cookie) Drops() bool { return c.kind()&kindDrop != 0 }

// String is the form that ovs-ofctl reads and prints.
func (c Cookie) String() string { return fmt.Sprintf("%#x", uint64(c)) }

func (c Cookie) kind() kind { return kind(c >> 40) }

// match is a cookie and the mask of the bits that count, as ovs-ofctl takes it.
func match(c Cookie, mask uint64) string {
	return fmt.Sprintf("cookie=%#x/%#x", uint64(c)&mask, mask)
}

// ofOwner matches all rules of an object, of whatever round.
func ofOwner(k kind, object uint32) string {
	return match(cookie(0, k, object), uint64(kindOwner)<<40|maskMarker|maskObject)
}

// DropMatch is what `ovs-ofctl dump-flows BRIDGE` takes as its argument to
// print our rules that drop, and no others.
func DropMatch() string {
	return match(cookie(0, kindDrop, 0), uint64(kindDrop)<<40|maskMarker)
}

// Match is what `ovs-ofctl dump-flows BRIDGE` takes as its argument to print
// our rules and no others.
func Match() string { return match(cookie(0, 0, 0), maskMarker) }
