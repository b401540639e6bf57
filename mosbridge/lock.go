package mosbridge

import "sync"

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
