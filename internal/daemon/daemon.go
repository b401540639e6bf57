// Package daemon has what the commands of all daemons begin and end with.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/logx"
)

// ErrConfig marks what the user must change before a start can succeed.
var ErrConfig = errors.New("configuration")

// Code says on standard error why a daemon ends, and is its exit code: 2 for
// [ErrConfig], 1 for all else, 0 for no error and [config.ErrDone].
func Code(name string, err error) int {
	if err == nil || errors.Is(err, config.ErrDone) {
		return 0
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: error: %v\n", name, err)
	if errors.Is(err, ErrConfig) {
		return 2
	}
	return 1
}

// Load is [config.Load]. What is wrong there is marked [ErrConfig].
func Load(src config.Source, cfg any) error {
	err := config.Load(src, cfg)
	if err == nil || errors.Is(err, config.ErrDone) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrConfig, err)
}

// Log is a log on standard error. What is wrong with its configuration is marked
// [ErrConfig].
func Log(level, format string) (*logx.Logger, error) {
	log, err := logx.New(os.Stderr, logx.Config{Level: level, Format: format})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return log, nil
}

// UntilStopped ends with the first signal that asks for it.
func UntilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
