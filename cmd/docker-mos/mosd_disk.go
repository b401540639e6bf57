package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// taken is one row of docker mos host disk. Sizes are in bytes, -1 for what there is not.
type taken struct {
	kind, name       string
	size, used, free int64
	part             float64 // how full, 0 to 1; below 0 nobody can tell
	detail           string
}

// disk is the command docker mos host disk.
func (m *mosd) disk() *cobra.Command {
	l := diskList()
	cmd := &cobra.Command{
		Use: "disk [OPTIONS]", Short: "Show what takes the space of this host: the Engine's store, images, pools and volumes of mos-lvm",
		Long: "mosd looks at the slow interval of its agent, and walks no folders. The store is the file system of the Engine's folder; images, what containers write into their own file systems, and volumes of the driver \"local\" are in it. FREE of a thin pool or volume group is in the pool; what the group has left for it to grow stands in DETAIL.",
		Args: exactly(), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.check(); err != nil {
			return err
		}
		d, err := api.New(m.socket).Disk(cmd.Context())
		if err != nil {
			return err
		}
		for _, what := range slices.Sorted(maps.Keys(d.Faults)) {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), what+" cannot be told: "+d.Faults[what]) // the exit code tells it, too
		}
		if err := l.print(cmd, rows(d)); err != nil {
			return err
		}
		if len(d.Faults) > 0 {
			return errBadNews
		}
		return nil
	}
	l.flags(cmd)
	return cmd
}

// rows are all of a report.
func rows(d api.Disk) (out []taken) {
	part := func(used, size uint64) float64 {
		if size == 0 {
			return -1
		}
		return float64(used) / float64(size)
	}
	if s := d.Store; s.Size > 0 {
		out = append(out, taken{
			kind: "store", name: s.Path, size: int64(s.Size), used: int64(s.Used), free: int64(s.Available), part: part(s.Used, s.Used+s.Available),
			detail: strconv.FormatUint(s.InodesFree, 10) + " inodes free",
		})
	}
	if d.Images != nil {
		out = append(out, taken{kind: "images", name: "-", size: -1, used: int64(d.Images.Size), free: -1, part: -1, detail: strconv.Itoa(d.Images.Count) + " images"})
	}
	for _, p := range d.Pools {
		what := []string{strings.Join(p.Types, ","), binary(p.Promised) + " promised"}
		if p.Free > 0 {
			what = append(what, binary(p.Free)+" free in the group")
		}
		if p.Meta > 0 {
			what = append(what, "metadata "+share(p.Meta))
		}
		if p.Error != "" {
			what = append(what, p.State+": "+p.Error)
		}
		out = append(out, taken{
			kind: "pool", name: p.Name, size: int64(p.Size), used: int64(p.Used), free: int64(p.Size) - int64(p.Used), part: p.Data,
			detail: strings.Join(what, ", "),
		})
	}
	for _, v := range d.Volumes {
		x := taken{kind: "volume", name: v.Name, size: int64(v.Size), used: -1, free: -1, part: -1, detail: v.Type + ", takes " + binary(v.Allocated)}
		if !v.Seen.IsZero() {
			x.used, x.free, x.part = int64(v.Used), int64(v.Available), part(v.Used, v.Used+v.Available)
		} else {
			x.detail += ", never mounted"
		}
		out = append(out, x)
	}
	return out
}

func diskList() *list[taken] {
	type r = taken
	size := func(n int64) string {
		if n < 0 {
			return "-"
		}
		return binary(uint64(n))
	}
	return &list[r]{
		id: func(x r) string { return x.name }, named: true, empty: "mosd has not looked yet",
		columns: []column[r]{
			{name: "Kind", header: "KIND", value: func(x r) string { return x.kind }},
			{name: "Name", header: "NAME", value: func(x r) string { return x.name }},
			{name: "Size", header: "SIZE", value: func(x r) string { return size(x.size) }},
			{name: "Used", header: "USED", value: func(x r) string { return size(x.used) }},
			{name: "Free", header: "FREE", value: func(x r) string { return size(x.free) }},
			{name: "Percent", header: "USE%", value: func(x r) string {
				if x.part < 0 {
					return "-"
				}
				return share(x.part)
			}},
			{name: "Detail", header: "DETAIL", value: func(x r) string { return dash(x.detail) }},
		},
		filters: []filter[r]{
			byName(func(x r) string { return x.name }),
			{key: "kind", matches: func(x r, v string) bool { return x.kind == v }},
		},
	}
}
