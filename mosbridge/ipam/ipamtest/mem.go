package ipamtest

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
)

// ErrFull is what a failing [Mem] answers.
var ErrFull = errors.New("no space left on device")

// Mem is a store in memory. It keeps what it is given as JSON, so that what
// does not survive a real store does not survive this one either. Its zero
// value is empty.
type Mem struct {
	// Fail makes Apply fail with [ErrFull], changing nothing.
	Fail bool
	// Applied counts the changes made.
	Applied int

	pools  map[ipam.PoolID][]byte
	leases map[ipam.Key][]byte
}

// Load implements [ipam.Store].
func (m *Mem) Load() ([]ipam.Pool, []ipam.Lease, error) {
	ps, err := decode[ipam.Pool](slices.Collect(maps.Values(m.pools)))
	if err != nil {
		return nil, nil, err
	}
	ls, err := decode[ipam.Lease](slices.Collect(maps.Values(m.leases)))
	return ps, ls, err
}

func decode[T any](list [][]byte) ([]T, error) {
	var ts []T
	for _, b := range list {
		var t T
		if err := json.Unmarshal(b, &t); err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// Apply implements [ipam.Store].
func (m *Mem) Apply(c ipam.Change) error {
	if m.Fail {
		return ErrFull
	}
	pools, leases := map[ipam.PoolID][]byte{}, map[ipam.Key][]byte{}
	for _, p := range c.PutPools {
		b, err := json.Marshal(p)
		if err != nil {
			return err
		}
		pools[p.ID()] = b
	}
	for _, l := range c.PutLeases {
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		leases[l.Key()] = b
	}
	if m.pools == nil {
		m.pools, m.leases = map[ipam.PoolID][]byte{}, map[ipam.Key][]byte{}
	}
	maps.Copy(m.pools, pools)
	maps.Copy(m.leases, leases)
	for _, k := range c.DropLeases {
		delete(m.leases, k)
	}
	for _, id := range c.DropPools {
		delete(m.pools, id)
		maps.DeleteFunc(m.leases, func(k ipam.Key, _ []byte) bool { return k.Pool == id })
	}
	m.Applied++
	return nil
}
