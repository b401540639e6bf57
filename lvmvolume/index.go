package lvmvolume

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// index is all volumes in memory. Docker's questions are answered from it.
type index struct {
	mu     sync.RWMutex // guards all below
	byID   map[spec.ID]*entry
	byName map[string]spec.ID // volumes in service
	places map[string]place
	broken map[string]error // places that could not be read, by name
	strays []stray
	orphan string                // where a volume is mounted that no record tells of, "" is nowhere
	gone   map[spec.ID]time.Time // what we removed: a look of before may list it still
	loaded chan struct{}         // closed after the first look
}

// entry is one volume or snapshot.
type entry struct {
	v         spec.Volume
	allocated uint64
	active    bool
	fault     error
	// pending entries are being made or removed: nobody sees them, but their
	// space is taken.
	pending bool
	made    bool      // of a pending one: its blocks are there
	freeing bool      // of a pending one: its purge is under way
	wiped   int64     // bytes that are overwritten, of one that is purged
	growing uint64    // of its size, what is not there yet
	held    uint64    // beyond its size: a growth that failed may have been done all the same
	doubt   time.Time // since when its record may be another than we know; zero is never
	over    time.Time // since when its time in the recycle bin is seen to be over
	stuck   time.Time // it could not be purged when its space was needed
	doomed  bool      // its making failed and it could not be removed yet
	touched time.Time // of the last change by us
	whole   bool      // formatted in this daemon's life, though the record says creating

	hints   map[string]time.Time // mount ids by Docker's word, since when
	mounted time.Time            // last Mount
	usage   *api.Usage
	users   []api.User // at the last look
}

// state is the state as people are told it: what is whole is ready, though the
// record may follow.
func (e entry) state() spec.State {
	if e.v.State == spec.Creating && e.whole {
		return spec.Ready
	}
	return e.v.State
}

// unfinished says that the making, filling or purge of a volume was cut off, if
// nobody is at it.
func (e entry) unfinished() bool {
	return e.v.State == spec.Filling || e.v.State == spec.Creating && !e.whole
}

func newIndex() *index {
	return &index{
		byID: map[spec.ID]*entry{}, byName: map[string]spec.ID{}, places: map[string]place{},
		broken: map[string]error{}, gone: map[spec.ID]time.Time{}, loaded: make(chan struct{}),
	}
}

// named returns a volume in service.
func (x *index) named(name string) (entry, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	id, ok := x.byName[name]
	if !ok {
		return entry{}, false
	}
	return x.copyOf(id)
}

func (x *index) entry(id spec.ID) (entry, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.copyOf(id)
}

func (x *index) copyOf(id spec.ID) (entry, bool) {
	e := x.byID[id]
	if e == nil {
		return entry{}, false
	}
	c := *e
	if of := x.byID[c.v.Of]; of != nil {
		c.v.Name = of.v.Name // it may have been restored under another
	}
	c.hints = nil // shared, and guarded
	c.users = slices.Clone(e.users)
	return c, true
}

// find resolves a reference among volumes of one kind: a name, an id or its
// beginning. Of several volumes with that name it wants the id.
func (x *index) find(ref string, among func(spec.Volume) bool) (entry, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var byName, byID []spec.ID
	start := strings.TrimPrefix(ref, "mos-")
	for id := range x.byID {
		e, _ := x.copyOf(id)
		if e.pending || !among(e.v) {
			continue
		}
		if e.v.Title() == ref && e.v.State != spec.Filling { // its name is free
			byName = append(byName, id)
		}
		if len(start) >= 4 && strings.HasPrefix(string(id), start) {
			byID = append(byID, id)
		}
	}
	hits := byName
	if len(hits) == 0 {
		hits = byID
	}
	switch len(hits) {
	case 0:
		return entry{}, fault.NotFound("there is no volume %.80s", ref)
	case 1:
		e, _ := x.copyOf(hits[0])
		return e, nil
	}
	slices.Sort(hits)
	var ids []string
	for _, id := range hits {
		ids = append(ids, string(id))
	}
	return entry{}, fault.Invalid("%.80s means %d volumes: give the id of the one you mean: %s", ref, len(hits), strings.Join(ids, ", "))
}

// all returns copies of the entries that among lets through, by name.
func (x *index) all(among func(spec.Volume) bool) []entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []entry
	for id, e := range x.byID {
		if !e.pending && among(e.v) {
			c, _ := x.copyOf(id)
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.v.Title(), b.v.Title()), a.v.Since.Compare(b.v.Since), strings.Compare(string(a.v.ID), string(b.v.ID)))
	})
	return out
}

// Kinds of entries, for find and all.
func inService(v spec.Volume) bool  { return v.Snapshot == "" && v.State != spec.Trashed }
func inTrash(v spec.Volume) bool    { return v.Snapshot == "" && v.State == spec.Trashed }
func isSnapshot(v spec.Volume) bool { return v.Snapshot != "" }
func anything(spec.Volume) bool     { return true }

// served are the snapshots of volumes in service, and of none. It is for find and
// all, which have the lock.
func (x *index) served(v spec.Volume) bool {
	of := x.byID[v.Of]
	return isSnapshot(v) && (of == nil || inService(of.v))
}

func volumesOf(es []entry) []spec.Volume {
	var vs []spec.Volume
	for _, e := range es {
		vs = append(vs, e.v)
	}
	return vs
}

// promised is the sum of the sizes in a place that compete with a type: thin
// volumes for the pool, the others for what the pool leaves. Unborn is the part
// whose blocks are still to be had, so that the place does not see it, and coming
// what is given back as soon as it is purged.
func (x *index) promised(p string, t spec.Type) (sum, unborn, coming uint64) {
	for _, e := range x.byID {
		if e.v.Place == p && (e.v.Type == spec.Thin) == (t == spec.Thin) {
			sum += e.v.Size + e.held
			if e.freeing || e.v.State == spec.Filling && !e.pending {
				coming += e.v.Size
			}
			// A copy of an image shares blocks, and needs its own as it is written to.
			shares := e.v.Type == spec.Loop && (e.v.Snapshot != "" || e.v.From != "")
			if shares || !e.born() {
				unborn += e.v.Size
			}
			unborn += e.growing + e.held
		}
	}
	return sum, unborn, coming
}

// born says whether a volume has its blocks.
func (e entry) born() bool { return !e.pending || e.made || e.v.State == spec.Trashed }

// space is what a place has to give to a type.
func (x *index) space(p place, t spec.Type) plan.Space {
	sum, unborn, coming := x.promised(p.name(), t)
	s := p.space(t, sum)
	// A pool that grows and volumes beside it take from the same group.
	if t == spec.Thin {
		// A purge may fail: what it was stays promised, or all could not be kept.
		s.Promised, s.Coming = s.Promised-min(s.Promised, coming), coming
		_, beside, _ := x.promised(p.name(), spec.Linear)
		s.Growth -= min(s.Growth, beside)
		return s
	}
	s.Free, s.Coming = s.Free+coming, coming
	s.Free -= min(s.Free, unborn)
	if g, ok := p.(*group); ok {
		thin, _, _ := x.promised(p.name(), spec.Thin)
		s.Free -= min(s.Free, g.poolLacks(thin))
	}
	return s
}

// bin is what of the recycle bin can make room for a type. A snapshot of a
// trashed volume is as old as that is in the bin.
func (x *index) bin(p string, t spec.Type) []spec.Volume {
	var out []spec.Volume
	for _, e := range x.byID {
		v := e.v
		if of := x.byID[v.Of]; v.Snapshot != "" && of != nil && of.v.State == spec.Trashed && !of.pending {
			v.State, v.Since = spec.Trashed, of.v.Since
		}
		if time.Since(e.stuck) < stuckFor {
			v.Since = e.stuck // it comes last
		}
		if !e.pending && v.State == spec.Trashed && v.Place == p && (v.Type == spec.Thin) == (t == spec.Thin) {
			out = append(out, v)
		}
	}
	return out
}

// stuckFor is how long a volume of the recycle bin that could not be purged comes
// behind all others when space is needed: somebody holds it, such as a copy of
// our mounts.
const stuckFor = 10 * time.Minute

// stick marks the first of what should have been purged and is there still. It
// says whether there is one that was not marked since.
func (x *index) stick(purge []spec.Volume, since time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, v := range purge {
		if e := x.byID[v.ID]; e != nil {
			again := e.stuck.After(since)
			e.stuck = time.Now()
			return !again
		}
	}
	return false
}

// admit promises a place's space to v and takes it, in one act. It returns what
// must be purged to make that true, with the records that these have: bin orders them
// by others. With dry nothing is taken.
func (x *index) admit(p place, v spec.Volume, more uint64, dry bool) ([]spec.Volume, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	need, e := more, x.byID[v.ID]
	if _, gone := x.gone[v.ID]; gone && e == nil {
		return nil, fault.NotFound("volume %s is gone", v.Title())
	}
	if e != nil {
		need -= min(need, e.held) // asked for again
	}
	purge, err := x.space(p, v.Type).Admit(need, x.bin(v.Place, v.Type))
	if err != nil {
		return nil, err
	}
	for i, old := range purge {
		purge[i] = x.byID[old.ID].v
	}
	if dry {
		return purge, nil
	}
	for _, old := range purge {
		x.byID[old.ID].pending, x.byID[old.ID].freeing = true, true
	}
	if e != nil {
		e.v.Size += more
		e.growing += more
		e.held -= min(more, e.held)
		e.touched = time.Now()
	} else {
		x.byID[v.ID] = &entry{v: v, pending: true, touched: time.Now()}
	}
	return purge, nil
}

// put makes a volume what it is now. One that is being purged stays unseen.
func (x *index) put(v spec.Volume) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.byID[v.ID]
	if e == nil {
		e = &entry{}
		x.byID[v.ID] = e
	}
	freed := x.unname(e)
	e.v, e.pending, e.made, e.touched = v, e.pending && v.State == spec.Filling, true, time.Now()
	if inService(v) && v.State != spec.Filling {
		x.byName[v.Name] = v.ID
	}
	if freed && x.byName[e.v.Name] != v.ID {
		x.nameAll()
	}
}

// unname takes a volume's name away from it, if it has it.
func (x *index) unname(e *entry) bool {
	if e.v.ID == "" || x.byName[e.v.Name] != e.v.ID {
		return false
	}
	delete(x.byName, e.v.Name)
	return true
}

// drop forgets a volume whose blocks are removed.
func (x *index) drop(id spec.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[id]; e != nil {
		if g, ok := x.places[e.v.Place].(*group); ok && e.born() {
			g.took(e.v, -int64(e.v.Size))
		}
	}
	x.forget(id)
}

func (x *index) forget(id spec.ID) {
	e := x.byID[id]
	if e == nil {
		return
	}
	delete(x.byID, id)
	x.gone[id] = time.Now()
	if x.unname(e) {
		x.nameAll() // another may have waited for the name
	}
}

// claim takes a volume out of everybody else's sight, if it still is of the kind
// that the caller found; only one caller gets it, as it is now. release or put gives
// it back.
func (x *index) claim(id spec.ID, among func(spec.Volume) bool) (spec.Volume, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.byID[id]
	if e == nil || e.pending || !e.doubt.IsZero() || !among(e.v) {
		return spec.Volume{}, false
	}
	e.pending, e.made = true, true
	return e.v, true
}

// claimToFree is claim for what is to be removed for good: others may count on
// its space.
func (x *index) claimToFree(id spec.ID, among func(spec.Volume) bool) (spec.Volume, bool) {
	v, ok := x.claim(id, among)
	if ok {
		x.change(id, func(e *entry) { e.freeing = true })
	}
	return v, ok
}

// release gives back what was claimed, or marked by admit, and is there still. A
// look may have found meanwhile that it is in service: it has its name at once, else
// that could be given to another.
func (x *index) release(vs ...spec.Volume) {
	x.mu.Lock()
	defer x.mu.Unlock()
	served := false
	for _, v := range vs {
		if e := x.byID[v.ID]; e != nil {
			served = served || e.pending && inService(e.v)
			e.pending, e.freeing = false, false
		}
	}
	if served {
		x.nameAll()
	}
}

// starting says whether Docker was given the volume for a container that no
// process of may be seen yet.
func (x *index) starting(id spec.ID, within time.Duration) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e := x.byID[id]
	return e != nil && len(e.hints) > 0 && time.Since(e.mounted) < within
}

// change changes an entry in place.
func (x *index) change(id spec.ID, f func(*entry)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[id]; e != nil {
		f(e)
	}
}

// placeOf returns where a volume is.
func (x *index) placeOf(v spec.Volume) (place, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if err := x.broken[v.Place]; err != nil {
		return nil, fault.Unavailable("%s cannot be used: %w", v.Place, err)
	}
	p := x.places[v.Place]
	if p == nil {
		return nil, fault.Unavailable("%s, where volume %s is, is not there", v.Place, v.Title())
	}
	return p, nil
}

// readable says whether all places could be read.
func (x *index) readable() error {
	select {
	case <-x.loaded:
	default:
		return fault.Unavailable("the volumes are not read yet")
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for name, err := range x.broken {
		return fault.Unavailable("%s cannot be read: %w", name, err)
	}
	return nil
}

// whole says whether all volumes of the host are known by name: only then one that
// is not known is absent.
func (x *index) whole() error {
	if err := x.readable(); err != nil {
		return err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, s := range x.strays {
		if s.id != "" && x.byID[s.id] == nil {
			return fault.Unavailable("%s may be the record of any volume, and cannot be read (%s): mend it, or take it away together with its volume", s.object, s.detail)
		}
	}
	if x.orphan != "" {
		return fault.Unavailable("a volume is mounted at %s that nothing here is the record of: is another disk in front of the state directory? If not, %s unmounts it", x.orphan, gcHint)
	}
	return nil
}

// strayed says whether blocks of that id are there whose record cannot be read.
func (x *index) strayed(id spec.ID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.ContainsFunc(x.strays, func(s stray) bool { return s.id == id && id != "" })
}

// doomedOnes are what could not be removed yet.
func (x *index) doomedOnes() []entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []entry
	for id, e := range x.byID {
		if e.doomed {
			c, _ := x.copyOf(id)
			out = append(out, c)
		}
	}
	return out
}
