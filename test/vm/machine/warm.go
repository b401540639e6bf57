package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// warmIdleMinutes is how long the warm machine waits for the next command.
const warmIdleMinutes = 30

// WarmDir returns the folder of the warm machine, the one that is kept running
// over several test packages: warm, beside the images.
func WarmDir(ctx context.Context) (string, error) {
	image, err := imagePath(ctx)
	return filepath.Join(filepath.Dir(image), "warm"), err
}

// Warm returns the warm machine, running; it boots one when there is none, or
// none of today's recipe.
func Warm(ctx context.Context) (*Machine, error) {
	image, err := BuildImage(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := WarmDir(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := Open(dir)
	switch {
	case errdefs.IsNotFound(err):
		// A Create that was cut short leaves a folder without a machine.
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("%w: remove that folder", err)
	case m.Image() == image && m.answers(ctx):
		return m, nil
	default:
		if err := m.Remove(ctx); err != nil {
			return nil, err
		}
	}
	if m, err = Create(ctx, dir, image, Config{Detached: true, IdleMinutes: warmIdleMinutes}); err != nil {
		return nil, err
	}
	if err := m.Boot(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// answers says whether the machine runs a command; it opens the shared ssh
// connection when that has ended.
func (m *Machine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if !m.Running() {
		return false
	}
	if _, err := os.Stat(m.control()); err != nil && m.openSSH(ctx) != nil {
		return false
	}
	_, _, err := m.Run(ctx, "true")
	return err == nil
}

// WarmDown ends and removes the warm machine, if there is one.
func WarmDown(ctx context.Context) error {
	dir, err := WarmDir(ctx)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		return nil // no image was ever built
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	m, err := Open(dir)
	if errdefs.IsNotFound(err) {
		return os.RemoveAll(dir) // what a Create that was cut short left
	}
	if err != nil {
		return err
	}
	return m.Remove(ctx)
}

// ReserveWarm keeps all others that call it from the warm machine until release
// is called or this process ends. Two test packages would be in each other's
// way there: both own the one Docker and the one Open vSwitch.
func ReserveWarm(ctx context.Context) (release func(), err error) {
	dir, err := WarmDir(ctx)
	if err != nil {
		return nil, err
	}
	return lock(ctx, dir+"-use.lock")
}

// lock takes the lock file path, and waits for it as long as ctx allows.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
