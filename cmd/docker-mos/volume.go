package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func (v volume) group() *cobra.Command {
	cmd := group("volume", "Volumes of mos-lvm")
	v.socketFlag(cmd.PersistentFlags(), "socket")
	cmd.AddCommand(v.ls(), v.inspect(), v.create(), v.rm(), v.resize(), v.snapshot(), v.clone(), v.usage(), v.trash(), v.pool(),
		v.export(), v.load(), v.events(), v.gc("Clear away at once what is left over"), doctor(v.daemon), v.status(), v.logLevel())
	return cmd
}

func (v volume) status() *cobra.Command {
	return statusCommand(v.daemon, (*lvm.Client).Status, func(w io.Writer, s lvm.Status) error {
		rows := [][2]string{
			{"version", s.Version},
			{"started", ago(s.Started)},
			{"default type", dash(s.Default)},
			{"volumes", fmt.Sprintf("%d, %d mounted", s.Volumes, s.Mounted)},
			{"recycle bin", fmt.Sprintf("%d volumes", s.Trashed)},
		}
		if s.Error != "" {
			rows = append(rows, [2]string{"cannot read", s.Error})
		}
		for _, p := range s.Pools {
			rows = append(rows, [2]string{"pool", fmt.Sprintf("%s: %s, %s of %s used", p.Name, p.State, binary(p.Used), binary(p.Size))})
			if p.Error != "" {
				rows = append(rows, [2]string{"", p.Error})
			}
		}
		return printLines(w, rows)
	})
}

func (v volume) events() *cobra.Command {
	type e = lvm.Event
	l := &list[e]{
		empty: "nothing happened since the daemon started",
		columns: []column[e]{
			{name: "Time", header: "TIME", value: func(x e) string { return x.Time.Local().Format(time.DateTime) }},
			{name: "Level", header: "LEVEL", value: func(x e) string { return x.Level }},
			{name: "Kind", header: "KIND", value: func(x e) string { return x.Kind }},
			{name: "Object", header: "OBJECT", whole: true, value: func(x e) string { return dash(x.Object) }},
			{name: "Detail", header: "DETAIL", value: func(x e) string { return x.Detail }},
		},
		filters: []filter[e]{
			{"kind", func(x e, v string) bool { return x.Kind == v }},
			{"level", func(x e, v string) bool { return x.Level == v }},
			{"object", func(x e, v string) bool { return x.Object == v }},
		},
	}
	return listCommand(v.daemon, l, "events", "List what the daemon did by itself", (*lvm.Client).Events)
}

// Where to look for what is not found.
const (
	volumesListed   = "docker mos volume ls lists the volumes, docker mos volume trash ls those that were removed"
	snapshotsListed = "docker mos volume snapshot ls lists the snapshots"
	trashListed     = "docker mos volume trash ls lists the recycle bin"
)

// lost adds to an error about what is not there where to look for it.
func lost(err error, where ...string) error {
	if err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	return hinted(err, where...)
}

// binary is a size on disk, as docker prints a container's memory.
func binary(bytes uint64) string { return units.BytesSize(float64(bytes)) }

// percent is a part of a whole; of nothing there is none.
func percent(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return share(float64(part) / float64(whole))
}

func share(part float64) string { return fmt.Sprintf("%.0f%%", 100*part) }

// used is the usage of a volume in words, dashes while it is not known.
func used(v lvm.Volume, f func(lvm.Usage) string) string {
	if v.Usage == nil {
		return "-"
	}
	return f(*v.Usage)
}

// users are who has a volume mounted, each container once.
func users(us []lvm.User) string {
	var out []string
	for _, u := range us {
		who := fmt.Sprintf("%s[%d]", u.Command, u.PID)
		if u.Container != "" {
			who = orShort(u.Name, u.Container)
		}
		if !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	return dash(strings.Join(out, ", "))
}
