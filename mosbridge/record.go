package mosbridge

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/keylock"
	"github.com/mosdocker/mosdocker/internal/store"
	"github.com/mosdocker/mosdocker/mosbridge/hostport"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// schema is the version of the stored form.
const schema = 1

// networkRecord is what is kept of a network.
type networkRecord struct {
	Network spec.Network `json:"network"`
	Number  uint32       `json:"number"` // of the network on this host, 1 to maxNumber; shared counter with endpoints
	Created time.Time    `json:"created"`
	Name    string       `json:"name,omitempty"` // Docker's name, when it was learned
}

// title is how messages call the network.
func (n networkRecord) title() string {
	if n.Name != "" {
		return n.Name
	}
	return n.Network.ID.Short()
}

// external is what the engine said of an endpoint's outside connection.
type external string

const (
	unasked    external = ""
	programmed external = "programmed"
	revoked    external = "revoked"
)

// endpointRecord is what is kept of an endpoint.
type endpointRecord struct {
	Endpoint  spec.Endpoint      `json:"endpoint"`
	Number    uint32             `json:"number"`
	Created   time.Time          `json:"created"`
	Joined    bool               `json:"joined,omitempty"`
	JoinedAt  time.Time          `json:"joinedAt,omitzero"`
	Sandbox   string             `json:"sandbox,omitempty"`
	Asked     []spec.Port        `json:"asked,omitempty"` // published ports as asked for
	Bound     []hostport.Binding `json:"bound,omitempty"` // and as given, where this endpoint holds them
	External  external           `json:"external,omitempty"`
	Container string             `json:"container,omitempty"` // id, when it was learned
	Name      string             `json:"name,omitempty"`      // and name
}

// title is how messages call the endpoint.
func (e endpointRecord) title() string {
	if e.Name != "" {
		return "container " + e.Name
	}
	return "endpoint " + e.Endpoint.ID.Short()
}

// maxNumber bounds the numbers of networks and endpoints: they are asked for
// as OpenFlow port numbers, and those end at 0xff00.
const maxNumber = 65000

// record keeps networks and endpoints in memory and in the store; what it
// returns are copies.
type record struct {
	net store.Bucket[networkRecord]
	end store.Bucket[endpointRecord]
	// batch is the store's; tests make it fail.
	batch   func(func(*store.Tx) error) error
	writing keylock.Locks // by endpoint id: one change at a time, in memory and in the store

	mu        sync.RWMutex // guards all below
	networks  map[spec.NetworkID]networkRecord
	endpoints map[spec.EndpointID]endpointRecord
	used      map[uint32]bool
	last      uint32                   // number given last: the next search starts behind it
	unsaved   map[spec.EndpointID]bool // endpoints of which the store holds an older form
}

func openRecord(db *store.DB) (*record, error) {
	r := &record{
		batch:     db.Batch,
		net:       store.NewBucket[networkRecord]("networks"),
		end:       store.NewBucket[endpointRecord]("endpoints"),
		networks:  map[spec.NetworkID]networkRecord{},
		endpoints: map[spec.EndpointID]endpointRecord{},
		used:      map[uint32]bool{},
		unsaved:   map[spec.EndpointID]bool{},
	}
	err := db.View(func(tx *store.Tx) error {
		nets, err := r.net.All(tx)
		if err != nil {
			return err
		}
		ends, err := r.end.All(tx)
		if err != nil {
			return err
		}
		for _, n := range nets {
			r.networks[n.Value.Network.ID] = n.Value
			r.used[n.Value.Number] = true
			r.last = max(r.last, n.Value.Number)
		}
		for _, e := range ends {
			r.endpoints[e.Value.Endpoint.ID] = e.Value
			r.used[e.Value.Number] = true
			r.last = max(r.last, e.Value.Number)
		}
		return nil
	})
	return r, err
}

func (r *record) network(id spec.NetworkID) (networkRecord, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, ok := r.networks[id]
	return n, ok
}

func (r *record) endpoint(id spec.EndpointID) (endpointRecord, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.endpoints[id]
	return e, ok
}

func (r *record) allNetworks() []networkRecord {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.networks), func(a, b networkRecord) int { return int(a.Number) - int(b.Number) })
}

func (r *record) allEndpoints() []endpointRecord {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.endpoints), func(a, b endpointRecord) int { return int(a.Number) - int(b.Number) })
}

// eachEndpoint yields all endpoints in no order, for what the start of every
// container asks, where copying and sorting all would be felt. The record is
// locked meanwhile: the loop's body must not use it.
func (r *record) eachEndpoint() iter.Seq[endpointRecord] {
	return func(yield func(endpointRecord) bool) {
		r.mu.RLock()
		defer r.mu.RUnlock()
		for _, e := range r.endpoints {
			if !yield(e) {
				return
			}
		}
	}
}

// wanted is what the record wishes of the host.
func (r *record) wanted() plan.Wanted {
	var w plan.Wanted
	for _, n := range r.allNetworks() {
		w.Networks = append(w.Networks, n.Network)
	}
	for _, e := range r.allEndpoints() {
		if e.Joined {
			w.Endpoints = append(w.Endpoints, e.Endpoint)
		}
	}
	return w
}

// number reserves the next free number; free gives it back.
func (r *record) number() (uint32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range maxNumber {
		r.last = r.last%maxNumber + 1
		if !r.used[r.last] {
			r.used[r.last] = true
			return r.last, nil
		}
	}
	return 0, fault.Exhausted("this host holds %d networks and endpoints, the most there can be: remove some", maxNumber)
}

func (r *record) free(number uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.used, number)
}

// putNetwork stores n, which survives the next power cut when it returns nil.
func (r *record) putNetwork(n networkRecord) error {
	if err := r.batch(func(tx *store.Tx) error { return r.net.Put(tx, string(n.Network.ID), n) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.networks[n.Network.ID] = n
	return nil
}

func (r *record) dropNetwork(id spec.NetworkID) error {
	if err := r.batch(func(tx *store.Tx) error { return r.net.Delete(tx, string(id)) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.used, r.networks[id].Number)
	delete(r.networks, id)
	return nil
}

// putEndpoint stores e, which survives the next power cut when it returns nil;
// else nothing is changed.
func (r *record) putEndpoint(e endpointRecord) error {
	defer r.writing.Lock(string(e.Endpoint.ID))()
	return r.storeEndpoint(e)
}

// putAnyway is putEndpoint for what has happened whatever the store says: when
// it returns an error, only the store is behind, until saveRest.
func (r *record) putAnyway(e endpointRecord) error {
	defer r.writing.Lock(string(e.Endpoint.ID))()
	err := r.storeEndpoint(e)
	if err == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoints[e.Endpoint.ID] = e
	r.unsaved[e.Endpoint.ID] = true
	return err
}

// saveRest brings the store up to what putAnyway could not write.
func (r *record) saveRest() error {
	r.mu.RLock()
	rest := slices.Sorted(maps.Keys(r.unsaved))
	r.mu.RUnlock()
	var errs []error
	for _, id := range rest {
		err := r.update(id, func(*endpointRecord) {})
		if !errdefs.IsNotFound(err) { // it was deleted meanwhile
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// update changes an endpoint as it is at that moment, where the caller does not
// hold its lock. One that is gone stays gone: then it is an error.
func (r *record) update(id spec.EndpointID, change func(*endpointRecord)) error {
	defer r.writing.Lock(string(id))()
	e, ok := r.endpoint(id)
	if !ok {
		return fault.NotFound("endpoint %s is gone", id.Short())
	}
	change(&e)
	return r.storeEndpoint(e)
}

// storeEndpoint writes e to the store and then to memory. The caller holds its
// lock of writing.
func (r *record) storeEndpoint(e endpointRecord) error {
	id := e.Endpoint.ID
	if err := r.batch(func(tx *store.Tx) error { return r.end.Put(tx, string(id), e) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoints[id] = e
	delete(r.unsaved, id)
	return nil
}

func (r *record) dropEndpoint(id spec.EndpointID) error {
	defer r.writing.Lock(string(id))()
	if err := r.batch(func(tx *store.Tx) error { return r.end.Delete(tx, string(id)) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.used, r.endpoints[id].Number)
	delete(r.endpoints, id)
	delete(r.unsaved, id)
	return nil
}

// renameNetwork keeps a name that was learned. It is lost if the store is
// full: the next look at Docker brings it back.
func (r *record) renameNetwork(id spec.NetworkID, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.networks[id]; ok {
		n.Name = name
		r.networks[id] = n
	}
}

// renameEndpoint keeps a container's id and name, likewise.
func (r *record) renameEndpoint(id spec.EndpointID, container, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.endpoints[id]; ok {
		e.Container, e.Name = container, name
		r.endpoints[id] = e
	}
}
