package lvmvolume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// look reads all places and takes over what they list.
func (d *Driver) look(ctx context.Context) error {
	d.looking.Lock()
	defer d.looking.Unlock()
	var errs []error
	listed := map[string]bool{}
	for _, l := range d.list(ctx) {
		listed[l.place.name()] = true
		for _, change := range d.idx.take(l) {
			d.log.WarnContext(ctx, "volume is not as it was", "volume", change.object, "detail", change.detail)
			d.event("warn", "volume", change.object, change.detail)
		}
		if l.err != nil {
			errs = append(errs, l.err)
		}
	}
	d.groups.only(listed)
	d.idx.only(listed)
	d.lookForOrphans()
	d.loadedOnce.Do(func() { close(d.idx.loaded) })
	return errors.Join(errs...)
}

// lookForOrphans looks for mounts of ours that no record tells of. Such a one says
// that records are missing here, as when a disk that is mounted late hides them.
func (d *Driver) lookForOrphans() {
	ms, err := mounts.Own()
	orphan := ""
	for _, m := range ms {
		id, ok := spec.ParseLabel(spec.ID(filepath.Base(m.Point)).Label())
		if filepath.Dir(m.Point) != d.cfg.mountDir() || !ok || d.idx.strayed(id) {
			continue
		}
		// A volume that was removed meanwhile was unmounted before.
		if _, known := d.idx.entry(id); !known && isMountPoint(m.Point) {
			orphan = m.Point
		}
	}
	if err != nil {
		return // who reads them next tells
	}
	d.idx.mu.Lock()
	defer d.idx.mu.Unlock()
	d.idx.orphan = orphan
}

// list asks the places, those of LVM by one report.
func (d *Driver) list(ctx context.Context) []listing {
	out := []listing{d.loops.list()}
	return append(out, d.groups.list(ctx)...)
}

// take puts a listing into the index. What we changed after the look began is
// left; what is gone from the place is forgotten and told.
func (x *index) take(l listing) (gone []stray) {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := l.place.name()
	if l.err != nil {
		x.broken[name] = l.err
		return nil
	}
	delete(x.broken, name)
	x.places[name] = l.place
	x.strays = slices.DeleteFunc(x.strays, func(s stray) bool { return s.place == name })
	x.strays = append(x.strays, l.strays...)
	seen := map[spec.ID]bool{}
	for _, f := range l.volumes {
		seen[f.v.ID] = true
		x.takeOne(f, l.began)
	}
	for _, s := range l.strays {
		// It is there, whatever its record says: who knew it goes on knowing it.
		seen[s.id] = true
		if e := x.byID[s.id]; e != nil && !e.pending {
			e.fault = fmt.Errorf("its record cannot be read: %s", s.detail)
		}
	}
	for id, e := range maps.Clone(x.byID) {
		if e.v.Place == name && !seen[id] && !e.pending && e.touched.Before(l.began) {
			gone = append(gone, stray{place: name, object: e.v.Title(), detail: "the volume is gone, and not by us"})
			x.forget(id)
		}
	}
	maps.DeleteFunc(x.gone, func(_ spec.ID, at time.Time) bool { return time.Since(at) > 2*lookLimit })
	x.nameAll()
	return gone
}

// only forgets the places that are no longer ours, with what is in them.
func (x *index) only(listed map[string]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, e := range maps.Clone(x.byID) {
		if !listed[e.v.Place] && !e.pending {
			x.forget(id)
		}
	}
	maps.DeleteFunc(x.places, func(name string, _ place) bool { return !listed[name] })
	maps.DeleteFunc(x.broken, func(name string, _ error) bool { return !listed[name] })
}

func (x *index) takeOne(f found, began time.Time) {
	e := x.byID[f.v.ID]
	if e == nil {
		if !x.gone[f.v.ID].Before(began) {
			return // removed since the look began
		}
		e = &entry{}
		x.byID[f.v.ID] = e
	}
	e.allocated, e.active = f.allocated, f.active
	if e.doubt.Before(began) && !e.doubt.IsZero() {
		e.v, e.doubt = f.v, time.Time{}
	}
	if e.pending || !e.touched.Before(began) {
		return
	}
	e.v, e.fault, e.held = f.v, f.fault, 0
}

// nameAll gives names to the volumes in service. Of two with one name, which a
// restored backup or a moved disk can bring, the older one keeps it; one that is
// not whole yields, since nobody had it. Of two that are not whole the older one is
// what a failed making left, and the caller was told of the younger.
func (x *index) nameAll() {
	clear(x.byName)
	ids := slices.SortedFunc(maps.Keys(x.byID), func(a, b spec.ID) int {
		one, other := x.byID[a], x.byID[b]
		age := one.v.Created.Compare(other.v.Created)
		if unborn(one)+unborn(other) == 2 {
			age = -age
		}
		return cmp.Or(cmp.Compare(unborn(one), unborn(other)), age)
	})
	for _, id := range ids {
		e := x.byID[id]
		if e.pending || !inService(e.v) || e.v.State == spec.Filling {
			continue
		}
		if _, taken := x.byName[e.v.Name]; taken {
			e.fault = errTwice
			continue
		}
		if errors.Is(e.fault, errTwice) {
			e.fault = nil
		}
		x.byName[e.v.Name] = id
	}
}

// unborn is 1 for a volume whose making was cut off, else 0.
func unborn(e *entry) int {
	if e.v.State == spec.Creating && !e.whole {
		return 1
	}
	return 0
}

var errTwice = errors.New("another, older volume has its name: rename one of them by docker volume rm and docker mos volume trash restore --as")
