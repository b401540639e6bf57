// Package keylock has a lock per name, so that what is done to one object is
// done in turn and different objects do not wait for each other.
package keylock

import (
	"context"
	"sync"
)

// Locks is a lock per name: calls for one object wait for each other, calls
// for different ones do not. The zero value is ready.
type Locks struct {
	mu    sync.Mutex // guards all below
	locks map[string]*counted
}

type counted struct {
	turn  chan struct{} // of one: full while somebody has the lock
	users int           // who have it or wait for it; guarded by Locks.mu
}

// Lock waits for the name's lock and returns what gives it back.
func (k *Locks) Lock(name string) (unlock func()) {
	c := k.join(name)
	c.turn <- struct{}{}
	return func() { k.unlock(name, c) }
}

// LockContext is Lock that gives up when ctx ends, with its cause.
func (k *Locks) LockContext(ctx context.Context, name string) (unlock func(), err error) {
	c := k.join(name)
	select {
	case c.turn <- struct{}{}:
		return func() { k.unlock(name, c) }, nil
	case <-ctx.Done():
		k.leave(name, c)
		return nil, context.Cause(ctx)
	}
}

func (k *Locks) join(name string) *counted {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locks == nil {
		k.locks = map[string]*counted{}
	}
	c := k.locks[name]
	if c == nil {
		c = &counted{turn: make(chan struct{}, 1)}
		k.locks[name] = c
	}
	c.users++
	return c
}

func (k *Locks) unlock(name string, c *counted) {
	<-c.turn
	k.leave(name, c)
}

func (k *Locks) leave(name string, c *counted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.users--; c.users == 0 {
		delete(k.locks, name)
	}
}

// TryLock takes the name's lock when nobody has it or waits for it.
func (k *Locks) TryLock(name string) (unlock func(), ok bool) {
	k.mu.Lock()
	taken := k.locks[name] != nil
	k.mu.Unlock()
	if taken { // somebody who comes in between is waited for; that is a moment
		return nil, false
	}
	return k.Lock(name), true
}
