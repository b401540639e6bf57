package lvmvolume

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/drivername"
	"github.com/mosdocker/mosdocker/internal/engine"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// isMountPoint says whether something is mounted at dir, by one system call: Get
// has no time to read all mounts.
func isMountPoint(dir string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// usage is how full a volume's file system is: at this moment when it is
// mounted, else when it was last.
func (d *Driver) usage(e entry) *api.Usage {
	if dir := d.dirOf(e.v); isMountPoint(dir) {
		if u, err := usageOf(dir); err == nil {
			d.idx.change(e.v.ID, func(e *entry) { e.usage = &u })
			return &u
		}
	}
	return e.usage
}

func usageOf(dir string) (api.Usage, error) {
	u, err := filesystem.UsageOf(dir)
	return api.Usage{
		Size: uint64(u.Total), Used: uint64(u.Used), Free: uint64(u.Free),
		Inodes: uint64(u.Inodes), InodesUsed: uint64(u.InodesUsed), At: time.Now(),
	}, err
}

func shortUser(u api.User) string {
	if u.Container != "" {
		return u.Container[:min(12, len(u.Container))]
	}
	return fmt.Sprintf("process %d", u.PID)
}

// show is a volume as the admin API tells it.
func (d *Driver) show(e entry) api.Volume {
	v := e.v
	out := api.Volume{
		Name: v.Name, ID: string(v.ID), Type: string(v.Type), FS: string(v.FS), State: string(e.state()), Size: v.Size,
		Usage: d.usage(e), Allocated: e.allocated, Mountpoint: d.mountpoint(v), Users: append([]api.User{}, e.users...),
		UID: v.UID, GID: v.GID, Mode: fmt.Sprintf("%04o", v.Mode), MountOpts: v.MountOpts, IOPS: v.IOPS, BPS: v.BPS,
		From: v.From, Snapshots: []api.Snapshot{}, Created: v.Created,
	}
	if v.Type == spec.Loop {
		out.Image = d.loops.image(v)
	} else {
		out.VG, out.LV = v.Place, v.ID.Label()
	}
	if e.fault != nil {
		out.Fault = e.fault.Error()
	}
	if v.State == spec.Trashed {
		at, end := v.Since, v.Since.Add(d.cfg.Trash.Keep.Duration)
		out.Trashed, out.Expires = &at, &end
	}
	return out
}

// showAll adds the snapshots to what show tells.
func (d *Driver) showAll(es []entry) []api.Volume {
	snaps := map[spec.ID][]api.Snapshot{}
	for _, s := range d.idx.all(isSnapshot) {
		snaps[s.v.Of] = append(snaps[s.v.Of], showSnapshot(s))
	}
	out := []api.Volume{}
	for _, e := range es {
		v := d.show(e)
		v.Snapshots = append(v.Snapshots, snaps[e.v.ID]...)
		out = append(out, v)
	}
	return out
}

func showSnapshot(e entry) api.Snapshot {
	return api.Snapshot{Volume: e.v.Name, Name: e.v.Snapshot, ID: string(e.v.ID), Size: e.v.Size, Allocated: e.allocated, Created: e.v.Created}
}

func (d *Driver) snapshots() []api.Snapshot {
	out := []api.Snapshot{}
	for _, e := range d.idx.all(d.idx.served) {
		out = append(out, showSnapshot(e))
	}
	return out
}

// nameUsers asks Docker for the names of the containers that have a volume.
func (d *Driver) nameUsers(ctx context.Context, vs []api.Volume) {
	if !slices.ContainsFunc(vs, func(v api.Volume) bool { return len(v.Users) > 0 }) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cs, err := d.engine.Containers(ctx)
	if err != nil {
		return // ids do
	}
	names := map[string]string{}
	for _, c := range cs {
		names[c.ID] = c.Name
	}
	for _, v := range vs {
		for i := range v.Users {
			v.Users[i].Name = names[v.Users[i].Container]
		}
	}
}

// neededBy tells which containers Docker keeps that cannot start without a volume, ""
// when there are none or Docker does not answer.
func (d *Driver) neededBy(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cs, err := d.engine.Containers(ctx)
	if err != nil {
		return ""
	}
	var who []string
	for _, c := range cs {
		if slices.ContainsFunc(c.Volumes, func(u engine.VolumeUse) bool { return u.Name == name && drivername.Is(u.Driver, "mos-lvm") }) {
			who = append(who, c.Name)
		}
	}
	if len(who) == 0 {
		return ""
	}
	slices.Sort(who)
	note := "volume " + name + " is of container " + strings.Join(who, ", ") + ", which cannot start without it"
	if d.cfg.Trash.Keep.Duration > 0 {
		note += ": docker mos volume trash restore " + name + " brings it back"
	}
	return note
}

// shadowed refuses a name by which Docker gives containers a volume of another driver:
// they would not get ours. It needs no answer of Docker, and must not be asked while
// Docker waits for one of ours.
func (d *Driver) shadowed(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	drivers, err := d.engine.Volumes(ctx)
	if have, there := drivers[name]; err == nil && there && !drivername.Is(have, "mos-lvm") {
		return fault.Exists("docker has a volume %s of driver %s, and gives containers that one: choose another name, or remove it (docker volume rm %s)", name, have, name)
	}
	return nil
}

// hidden tells which of our volumes containers do not get, since Docker has others of
// their names.
func (d *Driver) hidden(ctx context.Context) error {
	drivers, _ := d.engine.Volumes(ctx) // none without Docker, of which another check tells
	var names []string
	for _, e := range d.idx.all(inService) {
		if have, there := drivers[e.v.Name]; there && !drivername.Is(have, "mos-lvm") {
			names = append(names, e.v.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fault.Conflict("docker has volumes of other drivers with these names, and gives containers those: %s", strings.Join(names, ", "))
}

func (d *Driver) overview() api.Status {
	s := api.Status{
		Version: version.String(), Started: d.started, Default: string(d.defaultType()),
		Volumes: len(d.idx.all(inService)), Trashed: len(d.idx.all(inTrash)), Pools: d.pools(),
	}
	for _, e := range d.idx.all(inService) {
		if isMountPoint(d.dirOf(e.v)) {
			s.Mounted++
		}
	}
	if err := d.idx.whole(); err != nil {
		s.Error = err.Error()
	}
	return s
}

// pools lists where volumes get their space.
func (d *Driver) pools() []api.Pool {
	out := []api.Pool{}
	def := d.defaultType()
	home, _ := d.chooseGroup(spec.Volume{}) // nil without one
	for _, g := range d.groups.all() {
		s := g.read()
		if s.pool.Name != "" {
			out = append(out, d.poolOf(g, spec.Thin, g == home && def == spec.Thin))
		}
		out = append(out, d.poolOf(g, spec.Linear, g == home && (def == spec.Linear || def == spec.Striped)))
	}
	return append(out, d.poolOf(d.loops, spec.Loop, def == spec.Loop))
}

func (d *Driver) poolOf(at place, t spec.Type, def bool) api.Pool {
	d.idx.mu.RLock()
	promised, _, _ := d.idx.promised(at.name(), t)
	broken := d.idx.broken[at.name()]
	p := api.Pool{Name: at.name(), Types: []string{string(t)}, Default: def, State: api.PoolOK, Virtual: promised, Paused: []api.User{}}
	for _, e := range d.idx.byID {
		if e.v.Place == at.name() && (e.v.Type == spec.Thin) == (t == spec.Thin) {
			p.Used += e.allocated
			if inTrash(e.v) {
				p.Trash += e.v.Size
			} else if inService(e.v) {
				p.Volumes++
			}
		}
	}
	d.idx.mu.RUnlock()
	s := at.space(t, promised)
	p.Size, p.Ratio, p.Spare, p.Limit, p.Snapshots = s.Size, s.Ratio, s.Spare, s.Limit(), at.snapshots(t) == nil
	if s.Refuse != "" {
		p.State, p.Error = api.PoolRefuse, s.Refuse
	}
	if t == spec.Loop && (def || p.Volumes > 0) && s.Refuse == "" && s.Limit() <= promised && p.Trash == 0 {
		p.State, p.Error = api.PoolRefuse, fmt.Sprintf("its file system has %s free, of which %s stay so", spec.Bytes(s.Free), spec.Bytes(s.Spare))
	}
	if broken != nil {
		p.Error = broken.Error()
	}
	if g, ok := at.(*group); ok {
		d.groupPool(g, t, &p)
	} else {
		p.Size = p.Used + s.Free // what images have, and what they can have
	}
	if p.Size > 0 {
		p.Overcom = float64(promised) / float64(p.Size)
		if p.Data == 0 {
			p.Data = float64(p.Used) / float64(p.Size)
		}
	}
	return p
}

// groupPool adds what only volume groups have.
func (d *Driver) groupPool(g *group, t spec.Type, p *api.Pool) {
	s := g.read()
	p.VG, p.VGFree = g.vg, uint64(s.vg.Free)
	if t != spec.Thin {
		p.Types = nil
		for _, t := range g.types() {
			if t != spec.Thin {
				p.Types = append(p.Types, string(t))
			}
		}
		p.Size = uint64(s.vg.Size)
		p.Used = p.Size - min(p.Size, uint64(s.vg.Free))
		if s.vg.MDASize > 0 {
			p.Meta = 1 - float64(s.vg.MDAFree)/float64(s.vg.MDASize)
		}
		return
	}
	p.Name = g.vg + "/" + s.pool.Name
	p.Used = uint64(s.status.DataUsed)
	p.Data, p.Meta = s.fill().Data, s.fill().Meta
	if s.level != "" && s.level != plan.OK {
		p.State = string(s.level)
	}
	for _, id := range d.watch.of(p.Name) {
		p.Paused = append(p.Paused, api.User{Container: id})
	}
}

func apiPlan(p plan.Plan) api.Plan {
	out := api.Plan{Steps: []api.Step{}}
	for _, s := range p {
		cause := s.Cause
		if s.Later {
			cause += " (later)"
		}
		out.Steps = append(out.Steps, api.Step{Op: string(s.Op), Object: s.Object(), Detail: s.Detail(), Cause: cause})
	}
	return out
}
