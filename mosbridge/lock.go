package mosbridge

import "sync"

// keyed is a lock per name: calls for one object wait for each other, calls
// for different ones do not.
type keyed struct {
	mu    sync.Mutex // guards all below
	locks map[string]*counted
}

type counted struct {
	sync.Mutex
	users int
}

// lock waits for the name's lock and returns what gives it back.
func (k *keyed) lock(name string) (unlock func()) {
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

// gate lets any number of calls in, or one repair alone.
type gate struct{ mu sync.RWMutex }

func (g *gate) read() (leave func()) { g.mu.RLock(); return g.mu.RUnlock }

// tryRead says whether a call would be let in at this moment.
func (g *gate) tryRead() bool {
	in := g.mu.TryRLock()
	if in {
		g.mu.RUnlock()
	}
	return in
}

func (g *gate) write() (leave func()) { g.mu.Lock(); return g.mu.Unlock }
