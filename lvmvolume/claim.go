package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// claimWait is how long a daemon before this one may take to end.
const claimWait = 3 * time.Second

// Claim makes the state directory this process's own until release is called, or the
// process ends: two daemons on one would take back what the other is making.
func Claim(ctx context.Context, cfg Config) (release io.Closer, err error) {
	path := filepath.Join(cfg.StateDir, "lock")
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for start := time.Now(); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !errors.Is(err, unix.EWOULDBLOCK) || time.Since(start) > claimWait {
			who, _ := io.ReadAll(io.LimitReader(f, 20)) // it only helps to find it
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = fault.Conflict("another mos-lvm (process %s) has the state directory %s: stop it first, or give this one another state_dir", strings.TrimSpace(string(who)), cfg.StateDir)
			}
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
