package ipam

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// pool is a pool with the index of its leases.
type pool struct {
	Pool
	leases map[netip.Addr]Lease
	byName map[string][]netip.Addr
	byMAC  map[spec.MAC][]netip.Addr
	count  map[State]int
	given  time.Time // when it was answered; zero when that was before a restart, and the answer may be lost

	guard *Guard // at the last request; nil of a network of no cluster

	lo, hi netip.Addr // what can be chosen
	// low and freed find the lowest address without a lease: all below low
	// have one or are in freed. Entries of freed that have one are skipped.
	low     netip.Addr
	freed   queue
	inFreed map[netip.Addr]bool
	// past orders past leases by their age. Entries that no lease agrees with
	// are skipped.
	past queue
}

func newPool(p Pool) *pool {
	lo, hi := bounds(p.Prefix, p.Sub)
	return &pool{
		Pool: p, lo: lo, hi: hi, low: lo,
		leases: map[netip.Addr]Lease{}, byName: map[string][]netip.Addr{}, byMAC: map[spec.MAC][]netip.Addr{},
		count: map[State]int{}, inFreed: map[netip.Addr]bool{},
	}
}

// put adds a lease or replaces the one of its address.
func (p *pool) put(l Lease) {
	if old, ok := p.leases[l.Addr]; ok {
		p.unlink(old)
	}
	p.leases[l.Addr] = l
	p.count[l.State]++
	if l.Name != "" {
		p.byName[l.Name] = append(p.byName[l.Name], l.Addr)
	}
	if !l.MAC.IsZero() {
		p.byMAC[l.MAC] = append(p.byMAC[l.MAC], l.Addr)
	}
	if l.State == Past {
		heap.Push(&p.past, entry{l.Since, l.Addr})
		p.tidyPast()
	}
}

// tidyPast drops the entries that no lease agrees with when they are most.
func (p *pool) tidyPast() {
	if len(p.past) < 2*p.count[Past]+64 {
		return
	}
	p.past = slices.DeleteFunc(p.past, func(e entry) bool { return !p.agrees(e) })
	slices.SortFunc(p.past, entry.compare)
	p.past = slices.Compact(p.past) // sorted, so still a heap
}

func (p *pool) agrees(e entry) bool {
	l, ok := p.leases[e.addr]
	return ok && l.State == Past && l.Since.Equal(e.at)
}

// drop forgets the lease of an address, which can be chosen anew.
func (p *pool) drop(a netip.Addr) {
	old, ok := p.leases[a]
	if !ok {
		return
	}
	p.unlink(old)
	delete(p.leases, a)
	if a.Less(p.low) && !a.Less(p.lo) && !p.inFreed[a] {
		p.inFreed[a] = true
		heap.Push(&p.freed, entry{addr: a})
	}
}

func (p *pool) unlink(l Lease) {
	p.count[l.State]--
	unlink(p.byName, l.Name, l.Addr)
	unlink(p.byMAC, l.MAC, l.Addr)
}

func unlink[K comparable](m map[K][]netip.Addr, k K, a netip.Addr) {
	as, ok := m[k]
	if !ok {
		return
	}
	as = slices.DeleteFunc(as, func(x netip.Addr) bool { return x == a })
	if len(as) == 0 {
		delete(m, k)
	} else {
		m[k] = as
	}
}

// unused is the lowest address without a lease.
func (p *pool) unused() (netip.Addr, bool) {
	for len(p.freed) > 0 {
		a := p.freed[0].addr
		if _, ok := p.leases[a]; !ok {
			return a, true
		}
		delete(p.inFreed, a)
		heap.Pop(&p.freed)
	}
	for p.low.IsValid() && !p.hi.Less(p.low) {
		if _, ok := p.leases[p.low]; !ok {
			return p.low, true
		}
		p.low = p.low.Next()
	}
	return netip.Addr{}, false
}

// oldest is the longest released past address.
func (p *pool) oldest() (netip.Addr, bool) {
	for len(p.past) > 0 {
		e := p.past[0]
		if p.agrees(e) {
			return e.addr, true
		}
		heap.Pop(&p.past)
	}
	return netip.Addr{}, false
}

// entry is an address in a queue, lowest first; at goes before the address.
type entry struct {
	at   time.Time
	addr netip.Addr
}

func (e entry) compare(o entry) int {
	return cmp.Or(e.at.Compare(o.at), e.addr.Compare(o.addr))
}

// queue implements [heap.Interface].
type queue []entry

func (q *queue) Len() int           { return len(*q) }
func (q *queue) Less(i, j int) bool { return (*q)[i].compare((*q)[j]) < 0 }
func (q *queue) Swap(i, j int)      { (*q)[i], (*q)[j] = (*q)[j], (*q)[i] }

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	if e, ok := x.(entry); ok {
		*q = append(*q, e)
	}
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
