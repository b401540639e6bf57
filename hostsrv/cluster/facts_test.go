package cluster

import (
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// TestOwnSetsAreNotTheClusters: what they take is off what the host has, down to nothing.
func TestOwnSetsAreNotTheClusters(t *testing.T) {
	for own, want := range map[plan.Limits]api.Amounts{
		{}:                          {CPU: 4000, Memory: 8 << 30},
		{CPU: 0.7, MEM: 1 << 30}:    {CPU: 3300, Memory: 7 << 30},
		{CPU: 0.0001, MEM: 1}:       {CPU: 3999, Memory: 8<<30 - 1},
		{CPU: 100, MEM: 1 << 50}:    {},
		{CPU: 4, MEM: 1<<64 - 1024}: {},
	} {
		if got := left(4000, 8<<30, own); got != want {
			t.Errorf("beside %+v there is %+v, want %+v", own, got, want)
		}
	}
}
