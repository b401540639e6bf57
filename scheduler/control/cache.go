package control

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// cache is what the store has, as far as the watch has shown it. Resources in it are not
// changed.
type cache struct {
	seed uint64

	mu       sync.Mutex // guards all below
	revision int64      // 0 until the first list
	lists    int        // how often all was listed
	hosts    map[string]*api.Host
	services map[string]*service
	sets     map[string]*set
	onHost   map[string]map[string]*set
	volumes  map[string]map[string]bool // the hosts that have one, by its name
	hashed   api.Template               // the last one of a set, with its hash
	hash     string
	cluster  *place.Cluster

	ops    operations
	quotas map[string]*api.Quota // by tenant
	nets
	owned
	endedNets map[string]bool // networks that were asked to go
	renames   atomic.Int64    // how often a name changed, over lists too

	dirty    map[string]bool // services to look at
	ended    map[string]bool // hosts that were asked to go
	roomier  bool            // since the last pass a host changed, or a set left one
	changed  chan struct{}   // has one after each change
	applied  chan struct{}   // closed and made anew at each change
	watchers map[string]map[chan struct{}]bool
}

// service is one with its sets. One of which only sets are left has no Service.
type service struct {
	*api.Service
	name   string
	hash   string // of the template
	stable string // hash of the stable one
	sets   map[string]*set
	asks   map[string]*place.Ask // by hash of the template
	pulls  map[string]pull       // as asks
}

type set struct {
	*api.SetInstance
	hash   string
	stopAt int64 // revision at which it was first seen that it is to stop
}

// stops says whether a set is to be gone from its host.
func stops(s *api.SetInstance) bool { return !s.Deleted.IsZero() || s.Spec.Leaving }

func newCache(seed uint64) *cache {
	c := &cache{seed: seed, owned: newOwned(), changed: make(chan struct{}, 1), applied: make(chan struct{}), watchers: map[string]map[chan struct{}]bool{}}
	c.clear()
	return c
}

func (c *cache) clear() {
	c.hosts, c.services, c.sets = map[string]*api.Host{}, map[string]*service{}, map[string]*set{}
	c.onHost, c.volumes = map[string]map[string]*set{}, map[string]map[string]bool{}
	c.dirty, c.ended = map[string]bool{}, map[string]bool{}
	c.ops, c.quotas = newOperations(), map[string]*api.Quota{}
	c.nets, c.endedNets = newNets(), map[string]bool{}
	c.cluster = place.New(c.seed)
}

// follow keeps the cache as the store is, until ctx ends. It tells each error that it met, and
// nil whenever it hears of the store.
func (c *cache) follow(ctx context.Context, s *state.Store, retry time.Duration, tell func(error)) {
	for ctx.Err() == nil {
		err := c.list(ctx, s)
		for err == nil {
			err = c.watch(ctx, s, tell)
			if gone := (*state.GoneError)(nil); ctx.Err() != nil || errors.As(err, &gone) {
				break
			}
			tell(err)
			pause(ctx, retry)
			err = nil
		}
		if ctx.Err() == nil {
			tell(err)
			pause(ctx, retry)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// list reads all anew, at one revision.
func (c *cache) list(ctx context.Context, s *state.Store) error {
	services, err := state.All[api.Service](ctx, s, state.Page{})
	if err != nil {
		return err
	}
	at := state.Page{At: services.Revision}
	hosts, err := state.All[api.Host](ctx, s, at)
	if err != nil {
		return err
	}
	sets, err := state.All[api.SetInstance](ctx, s, at)
	if err != nil {
		return err
	}
	networks, err := state.All[api.Network](ctx, s, at)
	if err != nil {
		return err
	}
	leftovers, err := state.All[api.Leftover](ctx, s, at)
	if err != nil {
		return err
	}
	running, err := state.All[api.Operation](ctx, s, at)
	if err != nil {
		return err
	}
	quotas, err := state.All[api.Quota](ctx, s, at)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stopped := c.sets
	c.clear()
	for _, o := range running.Items {
		c.ops.set(o.Name, o)
	}
	for _, q := range quotas.Items {
		c.setQuota(q.Name, q)
	}
	for _, n := range networks.Items {
		c.setNetwork(n)
	}
	for _, l := range leftovers.Items {
		c.setLeftover(l)
	}
	for _, h := range hosts.Items {
		c.setHost(h)
	}
	c.holdOnly(c.hosts)
	for _, v := range services.Items {
		c.setService(v)
	}
	for _, i := range sets.Items {
		c.setSet(i)
		if was := stopped[i.Name]; was != nil && was.UID == i.UID && was.stopAt > 0 {
			c.sets[i.Name].stopAt = min(was.stopAt, i.Revision)
		}
	}
	c.revision = services.Revision
	c.lists++
	c.wake()
	for host := range c.watchers {
		c.tell(host)
	}
	return nil
}

func (c *cache) watch(ctx context.Context, s *state.Store, tell func(error)) error {
	c.mu.Lock()
	after := c.revision
	c.mu.Unlock()
	for step, err := range s.Watch(ctx, after, api.Hosts, api.Services, api.SetInstances, api.Networks, api.Leftovers, api.Operations, api.Quotas) {
		if err != nil {
			return err
		}
		c.apply(step)
		tell(nil)
	}
	return ctx.Err()
}

func (c *cache) apply(step state.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range step.Changes {
		switch r := change.Resource.(type) {
		case *api.Host:
			c.setHost(r)
		case *api.Service:
			c.setService(r)
		case *api.SetInstance:
			c.setSet(r)
		case *api.Network:
			c.setNetwork(r)
		case *api.Leftover:
			c.setLeftover(r)
		case *api.Operation:
			c.ops.set(r.Name, r)
		case *api.Quota:
			c.setQuota(r.Name, r)
		case nil:
			c.remove(change.Kind, change.Name)
		}
	}
	c.revision = step.Revision
	c.wake()
}

func (c *cache) wake() {
	signal(c.changed)
	close(c.applied)
	c.applied = make(chan struct{})
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// until waits until the cache has shown a revision.
func (c *cache) until(ctx context.Context, revision int64) error {
	for {
		c.mu.Lock()
		is, applied := c.revision, c.applied
		c.mu.Unlock()
		if is >= revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-applied:
		}
	}
}

// lock is for those who read a cache that is filled. Who gets no error unlocks mu.
func (c *cache) lock() error {
	c.mu.Lock()
	if c.revision == 0 {
		c.mu.Unlock()
		return fault.Unavailable("this process has not read the store yet")
	}
	return nil
}

func (c *cache) setHost(h *api.Host) {
	was := c.hosts[h.Name]
	c.hosts[h.Name] = h
	c.ops.noteDrain(h.Name, h)
	if !h.Deleted.IsZero() {
		c.ended[h.Name] = true
	}
	c.setBlocks(was, h)
	if was != nil && reflect.DeepEqual(scheduler.Host(was), scheduler.Host(h)) && was.Spec.Fenced == h.Spec.Fenced && was.Deleted.Equal(h.Deleted) {
		return
	}
	c.settling[h.Name] = true
	c.setVolumes(was, h)
	for _, pool := range h.Status.Networks {
		c.cluster.SetPool(place.Pool{ID: pool, Size: boundless})
	}
	c.cluster.SetHost(c.asPlaced(h))
	c.roomier = true
	for _, s := range c.onHost[h.Name] {
		c.dirty[s.Spec.Service] = true
		if was == nil {
			c.book(s)
		}
	}
}

// setVolumes notes where volumes are. A host that is removed becomes nil.
func (c *cache) setVolumes(was, is *api.Host) {
	if was != nil {
		for _, v := range was.Status.Volumes {
			if delete(c.volumes[v], was.Name); len(c.volumes[v]) == 0 {
				delete(c.volumes, v)
			}
		}
	}
	if is != nil {
		for _, v := range is.Status.Volumes {
			if c.volumes[v] == nil {
				c.volumes[v] = map[string]bool{}
			}
			c.volumes[v][is.Name] = true
		}
	}
}

// boundless is the size of pools: how many addresses a network has is known to its hosts
// only.
const boundless = 1 << 30

func (c *cache) setService(v *api.Service) {
	s := c.service(v.Name)
	was := s.Service
	s.Service = v
	c.dirty[v.Name] = true
	if stable := v.Status.Stable; stable != nil && (was == nil || was.Status.Stable == nil || was.Status.Stable.Generation != stable.Generation) {
		s.stable = spec.Hash(stable.Set.Set)
	}
	if was != nil && was.Generation == v.Generation && was.UID == v.UID {
		return
	}
	s.hash = spec.Hash(v.Spec.Set.Set)
	before := s.asks
	s.asks, s.pulls = map[string]*place.Ask{}, nil
	for _, i := range s.sets {
		if a, err := s.ask(i.hash, &i.Spec.Set.Set); err == nil && !reflect.DeepEqual(a, before[i.hash]) {
			c.book(i)
		}
	}
}

func (c *cache) service(name string) *service {
	s := c.services[name]
	if s == nil {
		s = &service{name: name, sets: map[string]*set{}, asks: map[string]*place.Ask{}}
		c.services[name] = s
	}
	return s
}

// ask is what a set of a template needs of its host; sets of one template share it.
func (s *service) ask(hash string, template *spec.Set) (*place.Ask, error) {
	if a := s.asks[hash]; a != nil {
		return a, nil
	}
	of := s.Service
	if of == nil { // it is gone, and its sets will be
		of = &api.Service{Meta: api.Meta{Name: s.name}}
	}
	a, err := scheduler.Ask(of, template)
	if err == nil {
		s.asks[hash] = a
	}
	return a, err
}

func (c *cache) setSet(i *api.SetInstance) {
	to := &set{SetInstance: i}
	was := c.sets[i.Name]
	switch {
	case was != nil && was.Spec.ServiceGeneration == i.Spec.ServiceGeneration && was.UID == i.UID:
		to.hash = was.hash
	default:
		to.hash = c.hashOf(i.Spec.Set)
	}
	if was != nil && was.Spec.Host != i.Spec.Host {
		c.leave(was)
	}
	c.holdSet(was, to)
	if stops(i) {
		to.stopAt = i.Revision
		if was != nil && was.UID == i.UID && was.Spec.Host == i.Spec.Host && was.stopAt > 0 {
			to.stopAt = was.stopAt
		}
	}
	c.sets[i.Name] = to
	c.service(i.Spec.Service).sets[i.Name] = to
	c.dirty[i.Spec.Service] = true
	if i.Spec.Host == "" {
		c.cluster.Remove(place.SetID(i.Name))
		return
	}
	if c.onHost[i.Spec.Host] == nil {
		c.onHost[i.Spec.Host] = map[string]*set{}
	}
	c.onHost[i.Spec.Host][i.Name] = to
	if at, there := c.cluster.Where(place.SetID(i.Name)); !there || string(at) != i.Spec.Host || was == nil || was.hash != to.hash {
		c.book(to)
	}
	if was == nil || was.Spec.Host != i.Spec.Host || was.hash != to.hash || was.UID != i.UID ||
		was.Spec.ServiceGeneration != i.Spec.ServiceGeneration || stops(was.SetInstance) != stops(i) ||
		!slices.Equal(was.Spec.Addresses, i.Spec.Addresses) {
		c.tell(i.Spec.Host)
	}
}

// hashOf is the hash of a template; sets of one mostly come together.
func (c *cache) hashOf(t api.Template) string {
	if c.hash == "" || !reflect.DeepEqual(t, c.hashed) {
		c.hashed, c.hash = t, spec.Hash(t.Set)
	}
	return c.hash
}

// book has the core know that a set is on its host.
func (c *cache) book(s *set) {
	id := place.SetID(s.Name)
	c.cluster.Remove(id)
	if s.Spec.Host == "" {
		return
	}
	a, err := c.service(s.Spec.Service).ask(s.hash, &s.Spec.Set.Set)
	if err != nil {
		a = &place.Ask{Service: place.ServiceID(s.Spec.Service)} // it is there, whatever it needs
	}
	_ = c.cluster.Add(id, a, place.HostID(s.Spec.Host)) // of a host that is not known yet, it is booked with it
}

// leave takes a set off its host.
func (c *cache) leave(s *set) {
	if s.Spec.Host == "" {
		return
	}
	delete(c.onHost[s.Spec.Host], s.Name)
	if len(c.onHost[s.Spec.Host]) == 0 {
		delete(c.onHost, s.Spec.Host)
	}
	c.roomier = true
	c.tell(s.Spec.Host)
}

func (c *cache) remove(kind api.Kind, name string) {
	switch kind { //nolint:exhaustive // the others are not watched
	case api.Hosts:
		c.setVolumes(c.hosts[name], nil)
		c.setBlocks(c.hosts[name], nil)
		delete(c.hosts, name)
		delete(c.ended, name)
		c.ops.noteDrain(name, nil)
		c.settling[name] = true
		c.setHolding(name, nil)
		c.cluster.RemoveHost(place.HostID(name))
		c.tell(name)
		for _, s := range c.onHost[name] {
			c.dirty[s.Spec.Service] = true
		}
	case api.Services:
		c.services[name].Service = nil
		c.dirty[name] = true
		c.forget(name)
	case api.Networks:
		delete(c.networks, name)
		delete(c.endedNets, name)
		c.reblockAll()
		c.rehost(name)
	case api.Leftovers:
		c.removeLeftover(name)
	case api.Operations:
		c.ops.set(name, nil)
	case api.Quotas:
		c.setQuota(name, nil)
	case api.SetInstances:
		s := c.sets[name]
		c.leave(s)
		c.holdSet(s, nil)
		c.cluster.Remove(place.SetID(name))
		delete(c.sets, name)
		delete(c.services[s.Spec.Service].sets, name)
		c.dirty[s.Spec.Service] = true
		c.forget(s.Spec.Service)
	}
}

// forget drops a service of which nothing is left.
func (c *cache) forget(name string) {
	if s := c.services[name]; s.Service == nil && len(s.sets) == 0 {
		delete(c.services, name)
		delete(c.dirty, name)
	}
}

// tell wakes who watches the assignment of a host.
func (c *cache) tell(host string) {
	for w := range c.watchers[host] {
		signal(w)
	}
}

func (c *cache) subscribe(host string) (changed chan struct{}, end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := make(chan struct{}, 1)
	if c.watchers[host] == nil {
		c.watchers[host] = map[chan struct{}]bool{}
	}
	c.watchers[host][w] = true
	return w, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if delete(c.watchers[host], w); len(c.watchers[host]) == 0 {
			delete(c.watchers, host)
		}
	}
}

// named gives the values of a map in the order of their names.
func named[T any](m map[string]T) []T {
	all := make([]T, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[name])
	}
	return all
}
