package lvmvolume

import (
	"testing"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// A create must not wait for a command of LVM that records others as ready. Of
// many a crowd of creates must not put it off for ever.
func TestReadyIsRecordedBetweenCreates(t *testing.T) {
	r := newRig(t)
	r.make("data", "size", "1g")
	end := r.ripe.begin()
	r.recordReady(t.Context(), 0)
	if v := r.volume("data"); v.State != spec.Creating {
		t.Errorf("recorded as %s while another is made", v.State)
	}
	for range 199 {
		r.ripe.add(newID()) // absent ones are left out
	}
	r.recordReady(t.Context(), 0)
	if v := r.volume("data"); v.State != spec.Ready {
		t.Errorf("is %s when 200 wait", v.State)
	}
	r.make("more", "size", "1g")
	end()
	r.recordReady(t.Context(), 0)
	if v := r.volume("more"); v.State != spec.Ready {
		t.Errorf("is %s when none is made", v.State)
	}
}
