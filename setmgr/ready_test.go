package setmgr

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// asked is an Engine whose container says no to every question, and notes the times.
type asked struct {
	Engine
	start time.Time
	at    []time.Duration
}

func (a *asked) Exec(context.Context, string, []string) (int, string, error) {
	a.at = append(a.at, time.Since(a.start))
	return 1, "", nil
}

// TestReadyIsAskedSoonAndThenSeldom: who is ready right after its start is not waited
// for longer; an Interval that is given is kept.
func TestReadyIsAskedSoonAndThenSeldom(t *testing.T) {
	ms := func(times ...int) (out []time.Duration) {
		for _, n := range times {
			out = append(out, time.Duration(n)*time.Millisecond)
		}
		return out
	}
	for _, c := range []struct {
		interval spec.Duration
		want     []time.Duration
	}{
		{0, ms(0, 20, 60, 140, 300, 500, 700)},
		{spec.Duration(300 * time.Millisecond), ms(0, 300, 600)},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &asked{start: time.Now()}
			r := &run{m: &Manager{Engine: a}}
			ctx, cancel := context.WithTimeout(t.Context(), 750*time.Millisecond)
			defer cancel()
			if err := r.probe(ctx, spec.Probe{Exec: []string{"no"}, Interval: c.interval}, "x"); err == nil {
				t.Error("it is ready")
			}
			if !slices.Equal(a.at, c.want) {
				t.Errorf("interval %v: asked at %v, want %v", time.Duration(c.interval), a.at, c.want)
			}
		})
	}
}
