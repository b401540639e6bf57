// Package keylock has a lock per name, so that what is done to one object is
// done in turn and different objects do not wait for each other.
package keylock

import "sync"

// Locks is a lock per name: calls for one object wait for each other, calls
// for different ones do not. The zero value is ready.
type Locks struct {
	mu    sync.Mutex // guards all below
	locks map[string]*counted
}

type counted struct {
	sync.Mutex
	users int
}

// Lock waits for the name's lock and returns what gives it back.
func (k *Locks) Lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*counted{}
	}
	c := k.locks[name]
	if c == nil {
		c = &counted{}
		k.locks[name] = c
	}
	c.users++
	k.mu.Unlock()
	c.Lock()
	return func() {
		c.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if c.users--; c.users == 0 {
			delete(k.locks, name)
		}
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
