package ipam

// Store keeps pools and leases over restarts. The allocator calls it from one
// goroutine at a time.
type Store interface {
	// Load returns all there is, in any order. A store that was never written
	// to returns nothing and no error.
	Load() ([]Pool, []Lease, error)
	// Apply makes a change wholly or, with an error, not at all. It is durable
	// when Apply returns. Putting what exists replaces it; dropping what does
	// not exist is well.
	Apply(Change) error
}

// Change is what one [Store.Apply] does. No key is both put and dropped.
type Change struct {
	PutPools   []Pool
	DropPools  []PoolID // the pool's leases go with it
	PutLeases  []Lease
	DropLeases []Key
}
