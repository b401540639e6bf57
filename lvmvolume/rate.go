package lvmvolume

import (
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

const (
	// pauseLead is how long before a pool would be full its writers are paused.
	// The engine was seen to need seconds for that.
	pauseLead = 8 * time.Second
	// rateOver is the time that a rate is taken over: the kernel writes back in
	// bursts.
	rateOver = 10 * time.Second
)

// sample is how much of a pool was in use at a time.
type sample struct {
	at   time.Time
	used int64
}

// sampled is the state with another status of the pool. Where room was made, the rate begins anew.
func (s groupState) sampled(status lvm.PoolStatus, now time.Time) groupState {
	if status.DataUsed < s.status.DataUsed {
		s.before = nil
	}
	s.status = status
	old := func(x sample) bool { return now.Sub(x.at) > rateOver }
	s.before = append(slices.DeleteFunc(slices.Clone(s.before), old), sample{now, status.DataUsed})
	return s
}

// rate is by how much the pool's fill grew a second, lately.
func (s groupState) rate() float64 {
	if len(s.before) < 2 || s.status.DataTotal == 0 {
		return 0
	}
	first, last := s.before[0], s.before[len(s.before)-1]
	took := max(last.at.Sub(first.at), time.Second)
	return float64(last.used-first.used) / float64(s.status.DataTotal) / took.Seconds()
}
