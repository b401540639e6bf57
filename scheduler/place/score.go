package place

import "slices"

// Score is how good a host is, in millionths of a point. Its parts add up to Total.
type Score struct {
	Fit        int64 // how well the set fills what is left, or how empty the host is
	Stranded   int64 // lost for what is left of one resource without the others
	Images     int64 // lost for bytes that have to be pulled
	Preference int64 // preferences and soft taints
	Spread     int64
	Affinity   int64
}

// Total is the sum.
func (s Score) Total() int64 {
	return s.Fit + s.Stranded + s.Images + s.Preference + s.Spread + s.Affinity
}

// Point is one point of a weight.
const Point = 1_000_000

const (
	fitPoints      = 10
	strandedPoints = 1
	imagePoints    = 3
	softTaint      = 5
	// missing is how many bytes to pull cost all of imagePoints.
	missing = 4 << 30
	never   = int64(-1) << 62
)

// unit is how much of a resource is left on a host that gets no points for its fit, in
// the coarse steps that scores count in: 128 cores, 512 GiB, 8 TiB. It is the same for
// all hosts, so that small pieces are used up before large ones are broken.
func unit(r Resource) int64 { return [...]int64{128 << 10, 512 << 10, 8 << 20}[r] }

// coarse is a thousandth of a core, or a mebibyte.
func coarse(r Resource, n int64) int64 {
	if r == CPU {
		return n
	}
	return n >> 20
}

// weight is the part of a resource in the fit, in percent.
func weight(r Resource) int64 { return [...]int64{45, 45, 10}[r] }

// fit scores a host by what it has left when the set is on it.
func (a *Ask) fit(h *host, s *Score) {
	if a.Strategy == Even {
		for r := range resources {
			left := h.cap[r] - h.used[r] - a.Amounts[r]
			s.Fit += weight(r) * part(left, h.cap[r]) * fitPoints / 100
		}
		return
	}
	var each [resources]int64
	s.Fit = fitPoints * Point
	for r := range resources {
		left := max(h.cap[r]-h.used[r]-a.Amounts[r], 0)
		each[r] = min(coarse(r, left)*Point/unit(r), 4*Point)
		s.Fit -= weight(r) * each[r] * fitPoints / 100
	}
	s.Stranded = -strandedPoints * max(each[CPU]-each[Memory], each[Memory]-each[CPU])
}

// part is n of a whole, in millionths.
func part(n, whole int64) int64 {
	if whole <= 0 || n <= 0 {
		return 0
	}
	if whole > 1<<40 {
		n, whole = n>>20, whole>>20
	}
	return n * Point / whole
}

// told scores what the host was told to be.
func (a *Ask) told(h *host, s *Score) {
	for _, p := range a.Preferences {
		if p.of(&h.Host) {
			s.Preference += int64(p.Weight) * Point
		}
	}
	for _, t := range h.Taints {
		if t.Soft && !a.tolerates(t) {
			s.Preference -= softTaint * Point
		}
	}
	s.Images = -part(min(a.pull(h), missing), missing) * imagePoints
}

// pull is how many bytes of its images the host lacks, as far as their layers are known.
func (a *Ask) pull(h *host) (bytes int64) {
	for _, l := range a.Layers {
		if !h.hasLayer(l.ID) && !h.hasLayer(l.Image) {
			bytes += l.Bytes
		}
	}
	return bytes
}

func (h *host) hasLayer(id LayerID) bool {
	_, has := slices.BinarySearch(h.Layers, id)
	return has
}
