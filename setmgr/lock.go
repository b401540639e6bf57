package setmgr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// lockLimit is how long Lock waits for others.
const lockLimit = 30 * time.Second

// Lock keeps others on this host away from a set, until unlock is called or this
// process ends: two that change one set at once would take each other's containers
// for litter. It is held from before a change is planned. Those on other hosts, who
// reach the Engine from afar, are not kept away. When others go on for too long the
// error is of class Unavailable.
func (m *Manager) Lock(ctx context.Context, set string) (unlock func(), err error) {
	for end := time.Now().Add(lockLimit); ; {
		unlock, held, err := m.TryLock(ctx, set)
		switch {
		case held || err != nil:
			return unlock, err
		case time.Now().After(end):
			return nil, fault.Unavailable("another docker set on this host is changing set %.80s: try again when it is over", set)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TryLock is Lock, but does not wait: held is false when others have the set.
func (m *Manager) TryLock(ctx context.Context, set string) (unlock func(), held bool, err error) {
	if m.EngineID == "" {
		return func() {}, true, nil
	}
	// A name that is no file: it needs no folder that all may write to, and is gone
	// with who holds it.
	sum := sha256.Sum256([]byte(m.EngineID + "/" + set))
	l, err := new(net.ListenConfig).Listen(ctx, "unix", "@mos-set-"+hex.EncodeToString(sum[:16]))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return func() { _ = l.Close() }, true, nil
}
