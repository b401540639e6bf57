package mosbridge

import (
	"errors"

	"github.com/mosdocker/mosdocker/internal/store"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
)

// leaseStore keeps pools and leases in the record's file, so that an address
// and the endpoint that has it are lost or kept together.
type leaseStore struct {
	db     *store.DB
	pools  store.Bucket[ipam.Pool]
	leases store.Bucket[ipam.Lease]
}

func newLeaseStore(db *store.DB) leaseStore {
	return leaseStore{db: db, pools: store.NewBucket[ipam.Pool]("pools"), leases: store.NewBucket[ipam.Lease]("leases")}
}

// Load implements [ipam.Store].
func (s leaseStore) Load() (pools []ipam.Pool, leases []ipam.Lease, err error) {
	err = s.db.View(func(tx *store.Tx) error {
		ps, err := s.pools.All(tx)
		if err != nil {
			return err
		}
		for _, p := range ps {
			pools = append(pools, p.Value)
		}
		ls, err := s.leases.All(tx)
		for _, l := range ls {
			leases = append(leases, l.Value)
		}
		return err
	})
	return pools, leases, err
}

// Apply implements [ipam.Store].
func (s leaseStore) Apply(c ipam.Change) error {
	return s.db.Batch(func(tx *store.Tx) error {
		var errs []error
		for _, p := range c.PutPools {
			errs = append(errs, s.pools.Put(tx, string(p.ID()), p))
		}
		for _, l := range c.PutLeases {
			errs = append(errs, s.leases.Put(tx, leaseKey(l.Key()), l))
		}
		for _, k := range c.DropLeases {
			errs = append(errs, s.leases.Delete(tx, leaseKey(k)))
		}
		for _, id := range c.DropPools {
			errs = append(errs, s.pools.Delete(tx, string(id)), s.dropLeases(tx, id))
		}
		return errors.Join(errs...)
	})
}

func (s leaseStore) dropLeases(tx *store.Tx, id ipam.PoolID) error {
	ls, err := s.leases.Prefix(tx, string(id)+"|")
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range ls {
		errs = append(errs, s.leases.Delete(tx, l.Key))
	}
	return errors.Join(errs...)
}

func leaseKey(k ipam.Key) string { return string(k.Pool) + "|" + k.Addr.String() }
