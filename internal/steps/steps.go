package steps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// UndoLimit is how long the undoing of one list may take as a whole. It is
// counted apart from the time of the doing, whose context may be over by then.
const UndoLimit = 30 * time.Second

// Step is one outside change.
type Step struct {
	// Name says what Do does, such as "add port mos1a2b"; it is in the log and
	// in errors.
	Name string
	// Do makes the change. It is required.
	Do func(context.Context) error
	// Undo takes back what Do left, even of a failed Do. Nil means there is
	// nothing to take back.
	Undo func(context.Context) error
}

// Run does the steps in order. When one fails, or ctx is over before one begins,
// it undoes that one (if begun) and those before it in reverse order, on a
// context that ctx's end does not touch, for at most [UndoLimit]. A failed Undo
// does not stop the undoing. The error joins the failure, "STEP: …", and those
// of the undoing, "undo STEP: …". A panic in a step counts as its error.
func Run(ctx context.Context, log *slog.Logger, list []Step) error {
	for i, s := range list {
		if err := ctx.Err(); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.Name, context.Cause(ctx)), undo(ctx, log, list[:i]))
		}
		start := time.Now()
		if err := call(ctx, s.Do); err != nil {
			log.DebugContext(ctx, "step failed", "step", s.Name, "took", time.Since(start), "err", err)
			return errors.Join(fmt.Errorf("%s: %w", s.Name, err), undo(ctx, log, list[:i+1]))
		}
		log.DebugContext(ctx, "step done", "step", s.Name, "took", time.Since(start))
	}
	return nil
}

func undo(ctx context.Context, log *slog.Logger, done []Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), UndoLimit)
	defer cancel()
	var errs []error
	for _, s := range slices.Backward(done) {
		if s.Undo == nil {
			continue
		}
		err := call(ctx, s.Undo)
		if err != nil {
			errs = append(errs, fmt.Errorf("undo %s: %w", s.Name, err))
		}
		log.DebugContext(ctx, "step undone", "step", s.Name, "err", err)
	}
	return errors.Join(errs...)
}

// call turns a panic into an error: the steps before must still be taken back.
func call(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f(ctx)
}
