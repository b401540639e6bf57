package hostsrv_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

const appOf = "the limits of web.app by docker update, from 1.20 cores and 629144k to "

// update is somebody's docker update --memory.
func (h host) update(t *testing.T, mib int64) {
	t.Helper()
	if err := h.f.Update(t.Context(), "web.app", container.Resources{Memory: mib << 20, MemorySwap: mib << 20}); err != nil {
		t.Fatal(err)
	}
}

// drifts waits for an event that tells of changed limits, and returns how many there are.
func (h host) drifts(t *testing.T, want string) (n int) {
	t.Helper()
	testx.Eventually(t, 10*time.Second, func() error {
		n = 0
		var all []string
		for _, e := range h.s.Events(0, "web") {
			if e.Kind == "drift" {
				n++
				all = append(all, e.Member+": "+e.Text)
			}
		}
		if !strings.Contains(strings.Join(all, "\n"), want) {
			return fmt.Errorf("%q is not in %q", want, all)
		}
		return nil
	})
	return n
}

// memory is what app may use.
func (h host) memory(t *testing.T) int64 {
	t.Helper()
	o, err := h.m.Observe(t.Context(), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range o.Members {
		if c.Member == "app" {
			return int64(c.Limits.MEM >> 20)
		}
	}
	t.Fatal("there is no app")
	return 0
}

// TestLimitsChangedByHandAreToldAndStay, and those of docker set resize are its own.
func TestLimitsChangedByHandAreToldAndStay(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	h := start(t, newFake(), cfg)
	h.up(t, "")
	h.is(t, api.Right)
	h.do(t, h.m.Resize("web", plan.Limits{CPU: 2, MEM: 2 << 30}, 0), nil)
	h.do(t, h.m.Resize("web", plan.Limits{CPU: 2, MEM: 1 << 30}, 0), nil)
	h.is(t, api.Right)
	time.Sleep(2 * cfg.Resync.Duration)
	h.update(t, 700)
	if n := h.drifts(t, "app: somebody changed "+appOf+"1.20 cores and 700m: they stay so until docker set resize gives others"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	// Also more than the set has: nobody fights, and nothing breaks.
	h.update(t, 3000)
	h.drifts(t, "to 1.20 cores and 3000m: they stay so")
	time.Sleep(2 * cfg.Resync.Duration)
	h.is(t, api.Right)
	if m := h.memory(t); m != 3000 {
		t.Errorf("app may use %d MiB", m)
	}
}

// TestLimitsOfDeclaredSetsArePutBack, as their file says.
func TestLimitsOfDeclaredSetsArePutBack(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	h := start(t, newFake(), cfg)
	file := filepath.Join(cfg.Declared, "web.json")
	if err := errors.Join(os.MkdirAll(cfg.Declared, 0o700), os.WriteFile(file, fmt.Appendf(nil, web, ""), 0o600)); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Right, appRuns)
	h.update(t, 700)
	h.drifts(t, "app: somebody changed "+appOf+"1.20 cores and 700m: they are put back, as "+file+" declares them")
	testx.Eventually(t, 10*time.Second, func() error {
		if m := h.memory(t); m != 614 {
			return fmt.Errorf("app may use %d MiB", m)
		}
		return nil
	})
	h.is(t, api.Right, appRuns)
}

// TestLimitsChangedWhileNobodyLookedAreTold, once, and those of docker set resize are not.
func TestLimitsChangedWhileNobodyLookedAreTold(t *testing.T) {
	t.Parallel()
	f, cfg := newFake(), settings(t)
	first := start(t, f, cfg)
	first.up(t, "")
	first.is(t, api.Right)
	first.end()
	first.update(t, 700)
	second := start(t, f, cfg)
	second.drifts(t, "app: somebody changed the limits of web.app while mosd did not run, from 1.20 cores and 629144k to 1.20 cores and 700m: they stay so")
	second.is(t, api.Right)
	second.end()
	second.do(t, second.m.Resize("web", plan.Limits{CPU: 1, MEM: 2 << 30}, 0), nil)
	third := start(t, f, cfg)
	third.is(t, api.Right)
	time.Sleep(2 * cfg.Resync.Duration)
	for _, e := range third.s.Events(0, "web") {
		if e.Kind == "drift" {
			t.Errorf("told of nothing that is new: %s", e.Text)
		}
	}
}
