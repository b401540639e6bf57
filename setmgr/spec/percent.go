package spec

import "math"

// page is what limits of memory are rounded down to.
const page = 4096

// LimitsOf is what a container of the set may use: its absolute limits, or its
// percents of the set. Cores are rounded up to a hundredth, but to no more than the
// set has, since a kernel takes no part that is more than the whole; bytes are
// rounded down to pages. 0 is no limit but the set's.
func (s Set) LimitsOf(c Container) (Cores, Bytes) {
	o := c.Options
	cores := float64(o.Cores)
	if cores == 0 {
		cores = float64(s.CPU) * o.CPU / 100
	}
	// Millionths first: what is a hundredth but for the error of a float is no more.
	cores = math.Ceil(math.Round(cores*1e6)/1e4) / 100
	if s.CPU > 0 {
		cores = min(cores, float64(s.CPU))
	}
	memory := o.Memory
	if memory == 0 {
		memory = Bytes(math.Round(float64(s.MEM)*o.MEM*1000/100) / 1000)
	}
	return Cores(cores), memory / page * page
}
