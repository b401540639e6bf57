package spec

import (
	"math"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// rateUnits are bits per second, decimal as in networking; the longest suffix first.
func rateUnits() []rateUnit {
	return []rateUnit{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
}

type rateUnit struct {
	suffix string
	bits   uint64
}

// minRate and maxRate are what an OpenFlow meter can hold: it counts in
// kbit/s, in 32 bits.
const (
	minRate = 8_000
	maxRate = math.MaxUint32 * 1000
)

// ParseRate reads a bandwidth such as `100mbit`, `2.5gbit` or `800kbit`, in
// bits per second; `0` and `none` mean no limit.
func ParseRate(s string) (Rate, error) {
	low := strings.ToLower(strings.TrimSpace(s))
	if low == "0" || low == "none" {
		return 0, nil
	}
	for _, u := range rateUnits() {
		num, ok := strings.CutSuffix(low, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(num, 64)
		if err != nil || f <= 0 || math.IsInf(f, 0) || math.IsNaN(f) {
			break
		}
		if bits := f * float64(u.bits); bits >= minRate && bits <= maxRate {
			return Rate(bits), nil
		}
		return 0, fault.Invalid("rate %.40q is outside 8kbit to 4294967gbit", s)
	}
	return 0, fault.Invalid("rate %.40q is not of the form 100mbit, 2.5gbit, 800kbit or none", s)
}

// String is the shortest form that [ParseRate] reads back to the same value.
func (r Rate) String() string {
	if r == 0 {
		return "none"
	}
	for _, u := range rateUnits() {
		if uint64(r)%u.bits == 0 {
			return strconv.FormatUint(uint64(r)/u.bits, 10) + u.suffix
		}
	}
	return strconv.FormatUint(uint64(r), 10) + "bit"
}

// Kbps is the rate in kbit/s as meters count, at least 1 for a limit.
func (r Rate) Kbps() uint64 { return uint64(r) / 1000 }
