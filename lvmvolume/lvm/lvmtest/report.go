package lvmtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

type row map[string]string

func num(n int64) string { return strconv.FormatInt(n, 10) }

// fullreport prints the groups with a listed device, or without a devices file
// all of them, in the form of lvm.
func (f *Fake) fullreport(k call, r *result) {
	var groups []map[string][]row
	for _, name := range sortedKeys(f.groups) {
		g := f.groups[name]
		if k.has("devicesfile") && !slices.ContainsFunc(g.pvs, func(p *pv) bool { return f.listed[p.device] }) {
			continue
		}
		groups = append(groups, map[string][]row{"vg": {g.row()}, "pv": g.pvRows(), "lv": g.lvRows(), "pvseg": {}, "seg": {}})
	}
	b, err := json.Marshal(map[string]any{"report": groups})
	if err != nil {
		r.fail("%v", err)
		return
	}
	r.out.Write(b)
}

func (g *group) row() row {
	missing := 0
	for _, p := range g.pvs {
		if p.missing {
			missing++
		}
	}
	return row{
		"vg_name": g.name, "vg_uuid": g.uuid, "vg_size": num(g.size()), "vg_free": num(g.free()), "vg_extent_size": num(g.extent),
		"vg_tags": strings.Join(g.tags, ","), "vg_mda_size": num(g.mda), "vg_mda_free": num(max(0, g.mda/2-g.metaUse())),
		"vg_missing_pv_count": strconv.Itoa(missing), "vg_seqno": strconv.Itoa(g.seqno),
	}
}

func (g *group) pvRows() []row {
	used := g.size() - g.free()
	var rows []row
	for _, p := range g.pvs {
		here := min(used, p.size) // LVM fills one device after the other
		used -= here
		r := row{"pv_name": p.device, "pv_uuid": p.uuid, "vg_name": g.name, "pv_size": num(p.size), "pv_free": num(p.size - here), "pv_missing": "0"}
		if p.missing {
			r["pv_name"], r["pv_missing"] = "[unknown]", "1"
		}
		rows = append(rows, r)
	}
	return rows
}

func (g *group) lvRows() []row {
	rows := []row{}
	for _, v := range g.sorted() {
		r := row{
			"lv_name": v.name, "lv_uuid": v.uuid, "vg_name": g.name, "lv_size": num(v.size), "lv_metadata_size": "", "lv_attr": g.attr(v),
			"lv_layout": map[string]string{thin: "thin,sparse", pool: "thin,pool"}[v.kind], "pool_lv": v.pool, "origin": v.origin,
			"lv_tags": strings.Join(v.tags, ","), "data_percent": "", "metadata_percent": "", "lv_kernel_major": "-1", "lv_kernel_minor": "-1",
		}
		if r["lv_layout"] == "" {
			r["lv_layout"] = v.kind
		}
		if v.kind == pool {
			r["lv_metadata_size"] = num(v.meta)
		}
		if v.active {
			r["lv_kernel_major"], r["lv_kernel_minor"] = "253", strconv.Itoa(v.minor)
			r["data_percent"], r["metadata_percent"] = g.percents(v)
		}
		rows = append(rows, r)
	}
	return rows
}

func (g *group) percents(v *lv) (data, meta string) {
	share := func(used, of int64) string {
		return fmt.Sprintf("%.2f", min(100, 100*float64(used)/float64(of)))
	}
	switch v.kind {
	case pool:
		return share(g.poolUsed(v), v.size), share(v.metaUsed, v.meta)
	case thin:
		return share(v.used, v.size), ""
	}
	return "", ""
}

// poolUsed is what the pool itself and its volumes use; snapshots share all of
// it with their origin.
func (g *group) poolUsed(p *lv) int64 {
	n := p.used
	for _, v := range g.lvs {
		if v.pool == p.name && v.origin == "" {
			n += v.used
		}
	}
	return min(n, p.size)
}

func (g *group) attr(v *lv) string {
	a := []byte("-wi-------")
	switch v.kind {
	case thin:
		a[0], a[6], a[7] = 'V', 't', 'z'
	case pool:
		if a[0], a[6] = 't', 't'; !v.dirty {
			a[7] = 'z'
		}
	}
	switch {
	case v.suspended:
		a[4] = 's'
	case v.unfinished:
		a[4] = 'd'
	case v.active && v.check:
		a[4] = 'c'
	case v.active:
		a[4] = 'a'
	}
	if v.open {
		a[5] = 'o'
	}
	switch {
	case slices.ContainsFunc(g.pvs, func(p *pv) bool { return p.missing }) && v.kind != thin:
		a[8] = 'p'
	case v.readOnly:
		a[8] = 'M'
	case v.kind == pool && v.active && g.poolUsed(v) >= v.size:
		a[8] = 'D'
	}
	return string(a)
}

// dmStatus prints what the kernel knows of active pools and thin volumes.
func (f *Fake) dmStatus(k call, r *result) {
	target := k.args[0]
	for _, name := range sortedKeys(f.groups) {
		g := f.groups[name]
		for _, v := range g.sorted() {
			// A pool is active under any of its volumes.
			active := v.active || slices.ContainsFunc(g.sorted(), func(o *lv) bool { return o.pool == v.name && o.active })
			if !active || v.kind != target {
				continue
			}
			if v.kind == thin {
				fmt.Fprintf(&r.out, "%s: 0 %d thin %d %d\n", lvm.DMName(g.name, v.name), v.size/512, v.used/512, v.used/512)
				continue
			}
			fmt.Fprintf(&r.out, "%s-tpool: 0 %d thin-pool 1 %s\n", lvm.DMName(g.name, v.name), v.size/512, g.poolLine(v))
		}
	}
	if r.out.Len() == 0 {
		fmt.Fprintln(&r.out, "No devices found")
	}
}

func (g *group) poolLine(v *lv) string {
	const chunk, block = 64 << 10, 4 << 10
	mode, check := "rw", "-"
	if g.poolUsed(v) >= v.size {
		mode = "out_of_data_space"
	}
	if v.readOnly {
		mode = "ro"
	}
	if v.check {
		check = "needs_check"
	}
	return fmt.Sprintf("%d/%d %d/%d - %s discard_passdown error_if_no_space %s 1024", (v.metaUsed+block-1)/block, v.meta/block,
		(g.poolUsed(v)+chunk-1)/chunk, v.size/chunk, mode, check)
}
