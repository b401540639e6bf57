package steps

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errBroken = errors.New("broken")

// world is what steps change: a list of present things, and what was called.
type world struct {
	have  map[string]bool
	calls []string
}

func (w *world) step(name string, fail error) Step {
	return Step{
		Name: name,
		Do: func(context.Context) error {
			w.calls = append(w.calls, "do "+name)
			w.have[name] = true // also when it fails: half done
			return fail
		},
		Undo: func(ctx context.Context) error {
			w.calls = append(w.calls, "undo "+name)
			delete(w.have, name)
			return ctx.Err()
		},
	}
}

func TestEachFailedStepLeavesNothing(t *testing.T) {
	names := []string{"a", "b", "c"}
	for bad := range names {
		w := &world{have: map[string]bool{}}
		var list []Step
		for i, n := range names {
			var err error
			if i == bad {
				err = errBroken
			}
			list = append(list, w.step(n, err))
		}
		err := Run(t.Context(), slog.New(slog.DiscardHandler), list)
		if !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), names[bad]+": ") {
			t.Errorf("step %s: got %v", names[bad], err)
		}
		if len(w.have) != 0 {
			t.Errorf("step %s: left %v", names[bad], w.have)
		}
	}
}

func TestUndoRunsInReverse(t *testing.T) {
	w := &world{have: map[string]bool{}}
	_ = Run(t.Context(), slog.New(slog.DiscardHandler), []Step{w.step("a", nil), {Name: "b", Do: w.step("b", nil).Do}, w.step("c", errBroken)})
	if d := cmp.Diff([]string{"do a", "do b", "do c", "undo c", "undo a"}, w.calls); d != "" {
		t.Error(d)
	}
}

func TestUndoOutlivesTheCallersContext(t *testing.T) {
	w := &world{have: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	stop := Step{Name: "stop", Do: func(context.Context) error { cancel(); return nil }}
	err := Run(ctx, slog.New(slog.DiscardHandler), []Step{w.step("a", nil), stop, w.step("c", nil)})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "undo") {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"do a", "undo a"}, w.calls); d != "" {
		t.Error(d)
	}
}

func TestErrorsOfUndoAreJoined(t *testing.T) {
	errStuck := errors.New("stuck")
	w := &world{have: map[string]bool{}}
	stuck := w.step("b", nil)
	stuck.Undo = func(context.Context) error { return errStuck }
	err := Run(t.Context(), slog.New(slog.DiscardHandler), []Step{w.step("a", nil), stuck, w.step("c", errBroken)})
	if !errors.Is(err, errBroken) || !errors.Is(err, errStuck) || !strings.Contains(err.Error(), "undo b: stuck") {
		t.Errorf("got %v", err)
	}
	if w.have["a"] {
		t.Error("a stayed after b could not be undone")
	}
}

func TestPanicIsUndone(t *testing.T) {
	w := &world{have: map[string]bool{}}
	bang := Step{Name: "bang", Do: func(context.Context) error { panic("bang") }}
	err := Run(t.Context(), slog.New(slog.DiscardHandler), []Step{w.step("a", nil), bang})
	if err == nil || !strings.Contains(err.Error(), "bang: panic: bang") || w.have["a"] {
		t.Errorf("got %v, left %v", err, w.have)
	}
}

func TestUndoHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := Step{
			Name: "hang",
			Do:   func(context.Context) error { return errBroken },
			Undo: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		}
		start := time.Now()
		err := Run(t.Context(), slog.New(slog.DiscardHandler), []Step{hang})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != UndoLimit {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}
