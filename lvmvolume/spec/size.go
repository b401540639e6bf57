package spec

import (
	"strings"

	"github.com/docker/go-units"
)

// Bytes is a size that prints itself in binary units: 20GiB.
type Bytes uint64

func (b Bytes) String() string { return units.BytesSize(float64(b)) }

// ParseSize reads a size such as 20g, 512m, 1.5t or 1073741824, in binary units.
func ParseSize(s string) (uint64, error) {
	n, err := units.RAMInBytes(s)
	switch {
	case err != nil || strings.Trim(s[:1], "0123456789.") != "" || strings.TrimSpace(s) != s:
		return 0, invalid("%.40q is no size such as 20g, 512m or 1073741824", s)
	case n < 0 || n > maxSize: // what does not fit wraps round
		return 0, invalid("size %.40s is more than any device has", s)
	case n == 0:
		return 0, invalid("size %.40s is not above zero", s)
	}
	return uint64(n), nil
}

// leastMore is below what anybody wants a volume to grow by.
const leastMore = 1 << 20

// ParseGrowth reads the size to grow to: absolute, or with + more than it has.
func ParseGrowth(s string, has uint64) (uint64, error) {
	more, relative := strings.CutPrefix(s, "+")
	n, err := ParseSize(more)
	if err != nil {
		return 0, err
	}
	if relative {
		if n < leastMore {
			return 0, invalid("+%s is %s: give it a unit, such as +5g", more, Bytes(n))
		}
		n += has
	}
	return n, nil
}
