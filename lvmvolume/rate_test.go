package lvmvolume

import (
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
)

// TestFastPoolIsPausedEarly: a pool that will be full before its writers could be
// paused is paused at once; a slow one goes on to the level.
func TestFastPoolIsPausedEarly(t *testing.T) {
	levels := plan.Levels{Warn: 0.8, Refuse: 0.95, Pause: 0.97}
	for _, tt := range []struct {
		name string
		used []int64 // of 1000, one a second
		want bool
	}{
		{"fast", []int64{850, 880, 910, 951}, true},
		{"slow", []int64{945, 947, 949, 951}, false},
		{"fast-but-far", []int64{100, 400, 700, 900}, false},
		{"room-was-made", []int64{700, 990, 952}, false},
		{"first-look", []int64{960}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s groupState
			now := time.Now()
			for i, used := range tt.used {
				s = s.sampled(lvm.PoolStatus{DataUsed: used, DataTotal: 1000}, now.Add(time.Duration(i)*time.Second))
			}
			if got := levels.Hurries(s.fill(), s.rate(), pauseLead); got != tt.want {
				t.Errorf("got %v at a rate of %v", got, s.rate())
			}
		})
	}
}
