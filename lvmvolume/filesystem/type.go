package filesystem

import (
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Type is a kind of file system, by the kernel's name for it.
type Type string

// The types that volumes can have.
const (
	Ext4 Type = "ext4"
	XFS  Type = "xfs"
)

// Types returns all types, the default first.
func Types() []Type { return []Type{Ext4, XFS} }

// ParseType checks a name that a user gave; an unknown one is
// ErrInvalidArgument.
func ParseType(name string) (Type, error) {
	var names []string
	for _, t := range Types() {
		if name == string(t) {
			return t, nil
		}
		names = append(names, string(t))
	}
	return "", fault.Invalid("file system %q: choose one of %s", name, strings.Join(names, ", "))
}

const mib = 1 << 20

// MinSize returns the smallest size in bytes of a device for the type; mkfs
// refuses less, or leaves no space worth the name.
func MinSize(t Type) int64 {
	if t == XFS {
		return 300 * mib
	}
	return 16 * mib
}

// FS makes and grows file systems by the programs of the host.
type FS struct {
	Runner xexec.Runner // required
}
