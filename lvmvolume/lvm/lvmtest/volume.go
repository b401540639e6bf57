package lvmtest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

const (
	linear  = "linear"
	striped = "striped"
	thin    = "thin"
	pool    = "thin-pool"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (g *group) sorted() []*lv {
	return slices.SortedFunc(maps.Values(g.lvs), func(a, b *lv) int { return cmp.Compare(a.name, b.name) })
}

func (g *group) size() int64 {
	var n int64
	for _, p := range g.pvs {
		n += p.size
	}
	return n
}

func (g *group) free() int64 {
	n := g.size()
	var spare int64 // one for all pools, as large as the largest metadata
	for _, v := range g.lvs {
		if v.kind != thin {
			n -= v.size + v.meta
		}
		spare = max(spare, v.meta)
	}
	return n - spare
}

func (g *group) round(n int64) int64 { return (n + g.extent - 1) / g.extent * g.extent }

// metaUse is the text that the group's metadata takes, by the figures of a real
// one.
func (g *group) metaUse() int64 {
	n := int64(1200)
	for _, v := range g.lvs {
		n += 330 + int64(len(v.name)) + int64(len(strings.Join(v.tags, `", "`)))
	}
	return n
}

// commit fails when the metadata area is too small for the group as it is.
func (g *group) commit(r *result) bool {
	if most := g.mda / 2; g.metaUse() > most {
		r.fail("VG %s %d metadata on %s (%d bytes) exceeds maximum metadata size (%d bytes)", g.name, g.seqno+1, g.pvs[0].device, g.metaUse(), most)
		return false
	}
	g.seqno++
	return true
}

func (f *Fake) lvcreate(k call, r *result) {
	vg, origin, _ := strings.Cut(k.args[0], "/")
	g := f.writable(vg, r)
	if g == nil {
		return
	}
	v := &lv{name: k.flag("name"), uuid: f.uuid(), kind: k.flag("type"), tags: sortedTags(nil, k.flags["addtag"], nil), active: k.flag("activate") == "y"}
	if g.lvs[v.name] != nil {
		r.fail("Logical Volume %q already exists in volume group %q", v.name, vg)
		return
	}
	if !g.shape(k, v, origin, r) {
		return
	}
	g.lvs[v.name] = v
	if !g.commit(r) {
		delete(g.lvs, v.name)
		return
	}
	f.ids++
	v.minor = f.ids
	r.say("Logical volume %q created.", v.name)
}

// shape fills in what the kind of volume asks for.
func (g *group) shape(k call, v *lv, origin string, r *result) bool {
	switch {
	case k.has("snapshot"):
		return g.snapshot(v, origin, r)
	case v.kind == thin:
		p := g.lvs[k.flag("thinpool")]
		if p == nil || p.kind != pool {
			r.fail("Pool %s not found in Volume group %s.", k.flag("thinpool"), g.name)
			return false
		}
		v.pool, v.size = p.name, g.round(k.bytes("virtualsize"))
		return g.sound(p, r)
	case v.kind == pool:
		v.meta, v.metaUsed = g.round(max(k.bytes("poolmetadatasize"), g.extent)), 10*4096
	case v.kind == striped && k.flag("stripes") > "1" && len(g.pvs) < 2:
		r.fail("Number of stripes (%s) must not exceed number of physical volumes (%d)", k.flag("stripes"), len(g.pvs))
		return false
	}
	v.size = g.round(k.bytes("size"))
	spare := v.meta
	for _, o := range g.lvs {
		spare = max(0, min(spare, v.meta-o.meta))
	}
	return g.fits(v.size+v.meta+spare, r)
}

func (g *group) snapshot(v *lv, origin string, r *result) bool {
	o := g.lvs[origin]
	switch {
	case o == nil:
		r.fail("Snapshot origin LV %s not found in Volume group %s.", origin, g.name)
		return false
	case o.kind != thin:
		r.fail("Please specify either size or extents with snapshots.")
		return false
	}
	v.kind, v.pool, v.origin, v.size, v.used = thin, o.pool, o.name, o.size, o.used
	return g.sound(g.lvs[o.pool], r)
}

// sound refuses a pool that takes no new volumes.
func (g *group) sound(p *lv, r *result) bool {
	if p.check {
		r.fail("Check of pool %s/%s failed (status:1). Manual repair required!", g.name, p.name)
	}
	return !p.check
}

func (g *group) fits(n int64, r *result) bool {
	if n > g.free() {
		r.fail("Volume group %q has insufficient free space (%d extents): %d required.", g.name, g.free()/g.extent, n/g.extent)
		return false
	}
	return true
}

// named calls do with each volume that the words "vg/lv" name, and goes on
// after one that is absent.
func (f *Fake) named(k call, r *result, do func(*group, *lv)) {
	for _, a := range k.args {
		vg, name, _ := strings.Cut(a, "/")
		g := f.group(vg, r)
		switch {
		case g == nil:
		case g.lvs[name] == nil:
			r.fail("Failed to find logical volume %q", a)
		default:
			do(g, g.lvs[name])
		}
	}
}

func (f *Fake) lvchange(k call, r *result) {
	f.named(k, r, func(g *group, v *lv) {
		switch {
		case k.has("refresh"):
			v.suspended = false
		case k.flag("activate") == "y" && v.absent:
			r.fail("device-mapper: reload ioctl on  (253:%d) failed: No data available", v.minor)
		case k.flag("activate") == "y":
			v.active, v.unfinished = true, false
		case k.has("activate"):
			if v.open {
				r.fail("Logical volume %s/%s contains a filesystem in use.", g.name, v.name)
				return
			}
			v.active, v.unfinished = false, false
		default:
			old := v.tags
			v.tags = sortedTags(old, k.flags["addtag"], k.flags["deltag"])
			if !g.commit(r) { // also while devices are missing
				v.tags = old
				return
			}
			r.say("Logical volume %s/%s changed.", g.name, v.name)
		}
	})
}

func sortedTags(old, add, del []string) []string {
	kept := slices.DeleteFunc(slices.Concat(old, add), func(t string) bool { return slices.Contains(del, t) })
	slices.Sort(kept)
	return slices.Compact(kept)
}

func (f *Fake) lvextend(k call, r *result) {
	f.named(k, r, func(g *group, v *lv) {
		if f.writable(g.name, r) == nil {
			return
		}
		field, size := &v.size, g.round(k.bytes("size"))
		if k.has("poolmetadatasize") {
			field, size = &v.meta, g.round(k.bytes("poolmetadatasize"))
		}
		old := *field
		switch {
		case size == old:
			r.fail("New size (%d extents) matches existing size (%d extents).", size/g.extent, old/g.extent)
		case size < old:
			r.fail("New size given (%d extents) not larger than existing size (%d extents)", size/g.extent, old/g.extent)
		case v.kind != thin && size-old > g.free():
			r.fail("Insufficient free space: %d extents needed, but only %d available", (size-old)/g.extent, g.free()/g.extent)
		default:
			*field = size
			if !g.commit(r) {
				*field = old
			}
		}
	})
}

func (f *Fake) lvrename(k call, r *result) {
	g := f.writable(k.args[0], r)
	if g == nil {
		return
	}
	from, to := k.args[1], k.args[2]
	switch v := g.lvs[from]; {
	case v == nil:
		r.fail("Existing logical volume %q not found in volume group %q", from, g.name)
	case g.lvs[to] != nil:
		r.fail("Logical Volume %q already exists in volume group %q", to, g.name)
	default:
		for _, o := range g.lvs {
			if o.origin == from {
				o.origin = to
			}
		}
		delete(g.lvs, from)
		v.name = to
		g.lvs[to] = v
		g.commit(r)
	}
}

func (f *Fake) lvremove(k call, r *result) {
	f.named(k, r, func(g *group, v *lv) {
		used := slices.ContainsFunc(g.sorted(), func(o *lv) bool { return v.kind == pool && o.pool == v.name })
		switch {
		case k.flag("select") == "lv_attr!~^t" && v.kind == pool, k.flag("select") == "thin_count=0" && used:
			return // not selected
		case v.open:
			r.fail("Logical volume %s/%s contains a filesystem in use.", g.name, v.name)
			return
		}
		delete(g.lvs, v.name) // also while devices are missing
		for _, o := range g.lvs {
			if o.origin == v.name {
				o.origin = ""
			}
		}
		g.seqno++
		r.say("Logical volume %q successfully removed.", v.name)
	})
}
