package lvmvolume

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// TestEverythingAtOnce runs random verbs on few names from several goroutines,
// with looks between, and with commands that fail: in the end all volumes are
// whole, no name is there twice, and no more is promised than may be.
func TestEverythingAtOnce(t *testing.T) {
	for _, fail := range []bool{false, true} {
		t.Run(fmt.Sprint("failures-", fail), func(t *testing.T) {
			r := newRig(t, noExtend)
			seed := uint64(time.Now().UnixNano())
			t.Log("seed", seed)
			end := time.Now().Add(time.Second)
			var work sync.WaitGroup
			for n := range uint64(6) {
				work.Go(func() { r.anything(rand.New(rand.NewPCG(seed, n)), end, fail) })
			}
			work.Go(func() {
				for time.Now().Before(end) {
					_ = r.look(t.Context())
					r.recordReady(t.Context(), 0)
					r.wipeNow()
				}
			})
			work.Wait()
			r.settle(t)
			whole(t, "in the end", r)
			if t.Failed() {
				r.tell(t)
			}
			if sum, unborn, _ := r.idx.promised(vg0, spec.Thin); sum > 20*gib || unborn != 0 {
				t.Errorf("%d are promised, %d to be made", sum, unborn)
			}
		})
	}
}

// tell logs what is known and what is there, with all that was done to the volumes.
func (r *rig) tell(t *testing.T) {
	t.Helper()
	var b strings.Builder
	for id, e := range r.idx.byID {
		fmt.Fprintf(&b, "%s: %+v\n", id, *e)
	}
	for _, s := range r.idx.strays {
		fmt.Fprintf(&b, "stray: %+v\n", s)
	}
	for n, l := range r.lvm.Lines() {
		if slices.ContainsFunc(r.ours(), func(label string) bool { return strings.Contains(l, label) }) {
			fmt.Fprintf(&b, "command %d: %s\n", n+1, l)
		}
	}
	t.Logf("%s%s", r.lvm, &b)
}

// settle repairs until all is well; failures that nobody met may still come.
func (r *rig) settle(t *testing.T) {
	t.Helper()
	for range 5 {
		err := r.reconcile(t.Context())
		stay := r.removeDoomed(t.Context())
		r.recordReady(t.Context(), 0)
		r.wipeNow()
		if err != nil || stay {
			t.Logf("not settled: %v, %v", stay, err)
		}
	}
}

// anything does random verbs until end. What they say does not matter.
func (r *rig) anything(rnd *rand.Rand, end time.Time, fail bool) {
	ctx := r.t.Context()
	for time.Now().Before(end) {
		name := fmt.Sprint("v", rnd.IntN(4))
		if fail && rnd.IntN(10) == 0 {
			r.lvm.FailNext(1+rnd.IntN(3), lvmtest.Failure(rnd.IntN(5)))
		}
		switch rnd.IntN(9) {
		case 0, 1:
			typ := []string{"thin", "linear"}[rnd.IntN(2)]
			_, _ = r.create(ctx, request(name, "size", fmt.Sprint(1+rnd.IntN(4), "g"), "type", typ), false)
		case 2, 3:
			_ = r.trash(ctx, name)
		case 4:
			_, _, _ = r.restore(ctx, name, fmt.Sprint("v", rnd.IntN(4)), false)
		case 5:
			_, _, _ = r.takeSnapshot(ctx, name, fmt.Sprint("s", rnd.IntN(3)), false)
		case 6:
			_, _ = r.create(ctx, request(name, "from", fmt.Sprint("v", rnd.IntN(4))), false)
		case 7:
			_, _, _ = r.resize(ctx, api.ResizeRequest{Volume: name, Size: "+16m"})
		case 8:
			vs, err := r.trashOf([]string{name}, rnd.IntN(4) == 0)
			if err == nil {
				_, _ = r.purge(ctx, vs, "asked for", false, func(string, uint64, uint64) {})
			}
		}
	}
}
