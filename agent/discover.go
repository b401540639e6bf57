package agent

import (
	"cmp"
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/docker"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/read"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// target is a container or set that is measured.
type target struct {
	source *read.Source
	found  cgroup.Found
	stamp  docker.Stamp
	known  docker.Container
	netns  uint64 // inode of the network namespace that is counted here, 0 for none
	seen   uint64 // number of the scan that saw it
	// fresh is when it was found, until it was looked at a second time: some of its folders, and its
	// limits, may have been made since.
	fresh time.Time
}

// measure takes the values; false says that it has ended.
func (t *target) measure(b *read.Buffer, now time.Time, slow bool) bool {
	if !t.source.Sample(b, now, slow) {
		return false
	}
	if slow && !t.known.Started.IsZero() {
		t.source.Point.Set(metric.StartTime, float64(t.known.Started.UnixMilli())/1000)
	}
	return true
}

// drop forgets a target that has ended. The caller arranges the sample.
func (a *Agent) drop(t *target) {
	a.errors += t.source.Errors
	t.source.Close()
	delete(a.targets, t.found.Path)
}

// scan makes the targets those of the cgroup tree. It reports whether some are new.
func (a *Agent) scan() (fresh bool, err error) {
	a.scans++
	if a.scans%256 == 0 {
		clear(a.warned)
	}
	found, err := a.find()
	if err != nil {
		return false, err
	}
	changed := false
	for _, f := range found {
		isNew, isChanged := a.container(f)
		fresh, changed = fresh || isNew, changed || isNew || isChanged
	}
	for _, t := range a.targets {
		if t.seen != a.scans && t.source.Point.Object.Scope == metric.Container {
			a.drop(t)
			changed = true
		}
	}
	a.networks()
	if a.sets() || changed {
		a.arrange()
	}
	a.surround()
	return fresh, nil
}

// many is how many containers are worth two files of the cgroup around them.
const many = 4

// surround tells containers of the cgroup around them: of those of a set the set, and of many
// with one parent that.
func (a *Agent) surround() {
	in := map[string]int{}
	for _, t := range a.targets {
		if t.source.Point.Object.Scope == metric.Container {
			in[path.Dir(t.found.Path)]++
		}
	}
	for p, s := range a.arounds {
		if in[p] < many || a.targets[p] != nil || !s.Open() {
			s.Close()
			delete(a.arounds, p)
		}
	}
	for p, n := range in {
		if n < many || p == "/" || a.targets[p] != nil || a.arounds[p] != nil {
			continue
		}
		if s, err := read.NewAround(a.tree, &metric.Object{Scope: metric.Set, Cgroup: p}); err == nil { // without it all are read
			a.arounds[p] = s
		}
	}
	for _, t := range a.targets {
		p := path.Dir(t.found.Path)
		around := a.arounds[p]
		if set := a.targets[p]; set != nil {
			around = set.source
		}
		t.source.Within(around)
	}
}

// find scans the tree until nothing can have been missed: folders that were not
// watched before are watched first and looked at after.
func (a *Agent) find() ([]cgroup.Found, error) {
	for range 5 {
		found, dirs, err := a.tree.Scan()
		if err != nil || a.watch == nil {
			return found, err
		}
		added, err := a.watch.Follow(dirs)
		if err != nil {
			a.warn("watch", "containers that start may be seen late", err)
		}
		if !added {
			return found, nil
		}
	}
	found, _, err := a.tree.Scan()
	return found, err
}

// container makes the target of a container's cgroup, or looks at what the Engine
// wrote about it since.
func (a *Agent) container(f cgroup.Found) (fresh, changed bool) {
	t := a.targets[f.Path]
	stamp := a.dirs.Stamp(f.ID)
	if t != nil {
		t.seen = a.scans
		switch {
		case t.fresh.IsZero():
		case time.Since(t.fresh) < again: // others had us look sooner
			fresh = true
		case t.source.Missing > 0 || !t.measure(&a.buf, time.Now(), true):
			a.drop(t)
			a.container(f)
			if t := a.targets[f.Path]; t != nil {
				t.fresh = time.Time{}
			}
			return false, true
		default:
			t.fresh = time.Time{}
		}
		if stamp == t.stamp || stamp == (docker.Stamp{}) {
			return fresh, false
		}
	}
	known, err := a.dirs.Read(f.ID)
	switch {
	case err == nil:
	case t != nil: // it is being removed, or written
		return fresh, false
	default:
		known.Name = f.ID[:12]
		if !errors.Is(err, os.ErrNotExist) {
			a.warn(f.ID, "a container is named by its id", err)
		}
	}
	o := &metric.Object{
		Scope: metric.Container, ID: f.ID, Cgroup: f.Path, Name: known.Name, Image: known.Image,
		Set: known.Labels[label.Set], Member: known.Labels[label.Member], Labels: known.Labels,
	}
	a.remember(o)
	if t != nil {
		t.stamp, t.known, t.source.Point.Object = stamp, known, o
		return fresh, true
	}
	source, err := read.NewContainer(a.tree, o)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			a.warn(f.ID, "a container cannot be measured", err)
		}
		return false, false
	}
	for _, v := range known.Volumes {
		if local(v.Source) {
			source.AddFileSystem(read.FileSystem{Name: v.Name, Path: v.Source})
		}
	}
	t = &target{source: source, found: f, stamp: stamp, known: known, seen: a.scans, fresh: time.Now()}
	if !t.measure(&a.buf, time.Now(), true) {
		source.Close()
		return false, false
	}
	a.targets[f.Path] = t
	return true, true
}

// networks gives each network namespace to one container: the one that does not
// share another's where it lives, else any that is in it.
func (a *Agent) networks() {
	owned := map[uint64]bool{0: true}
	if ino, ok := netns("self"); ok {
		owned[ino] = true // the host's own
	}
	var free []*target
	for _, t := range a.targets {
		switch {
		case t.source.Point.Object.Scope != metric.Container:
		case t.netns != 0:
			owned[t.netns] = true
		default:
			free = append(free, t)
		}
	}
	slices.SortFunc(free, func(x, y *target) int {
		if x.known.SharesNet != y.known.SharesNet {
			if y.known.SharesNet {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.found.ID, y.found.ID)
	})
	for _, t := range free {
		pid := a.pid(t)
		ino, ok := netns(strconv.Itoa(pid))
		if pid == 0 || !ok || owned[ino] {
			continue
		}
		if err := t.source.AddNet(pid, a.ends); err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				a.warn("net "+t.found.ID, "the network of a container is not counted", err)
			}
			continue
		}
		t.netns, owned[ino] = ino, true
	}
}

func (a *Agent) pid(t *target) int {
	procs, _ := os.ReadFile(path.Join(a.tree.Dir("memory", t.found.Path), "cgroup.procs")) // without it there is no pid
	return a.dirs.Pid(t.found.ID, string(procs))
}

// netns is the inode of a process's network namespace.
func netns(pid string) (ino uint64, ok bool) {
	var st unix.Stat_t
	err := unix.Stat("/proc/"+pid+"/ns/net", &st)
	return st.Ino, err == nil
}

// sets makes targets of the cgroups that hold the containers of sets. The set has
// the network of the container whose namespace its members share.
func (a *Agent) sets() (changed bool) {
	parents := map[string]*target{} // of sets, by their path: the infra container, or a member
	for _, t := range a.targets {
		o := t.source.Point.Object
		parent := path.Dir(o.Cgroup)
		if o.Scope != metric.Container || o.Set == "" || path.Base(parent) != path.Base(render.Parent(render.Facts{}, o.Set)) {
			continue
		}
		if old := parents[parent]; old == nil || t.netns != 0 && old.netns == 0 {
			parents[parent] = t
		}
	}
	for _, t := range a.targets {
		if t.source.Point.Object.Scope != metric.Set {
			continue
		}
		now := parents[t.found.Path]
		if now != nil && now.netns == t.netns {
			delete(parents, t.found.Path) // it is as it was
			continue
		}
		a.drop(t)
		changed = true
	}
	for p, infra := range parents {
		if t := a.set(p, infra); t != nil {
			a.targets[p] = t
			changed = true
		}
	}
	return changed
}

func (a *Agent) set(parent string, infra *target) *target {
	name := infra.source.Point.Object.Set
	source, err := read.NewContainer(a.tree, &metric.Object{Scope: metric.Set, ID: name, Name: name, Set: name, Cgroup: parent})
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			a.warn("set "+name, "a set cannot be measured", err)
		}
		return nil
	}
	t := &target{source: source, found: cgroup.Found{Path: parent}}
	if infra.netns != 0 {
		if err := source.AddNet(a.pid(infra), a.ends); err == nil {
			t.netns = infra.netns
		}
	}
	if !t.measure(&a.buf, time.Now(), true) {
		source.Close()
		return nil
	}
	return t
}

// arrange lists the points of all targets in a fixed order.
func (a *Agent) arrange() {
	a.sample.Points = append(a.sample.Points[:0], a.host.Point, a.self.Point)
	for _, t := range a.targets {
		a.sample.Points = append(a.sample.Points, t.source.Point)
	}
	slices.SortFunc(a.sample.Points[2:], func(x, y *metric.Point) int {
		return cmp.Or(cmp.Compare(y.Object.Scope, x.Object.Scope), strings.Compare(x.Object.Name, y.Object.Name), strings.Compare(x.Object.Cgroup, y.Object.Cgroup))
	})
	a.series = a.countSeries()
	a.sample.Generation++
}

// local says that a path is on a file system of this machine, whose space can be
// asked for: other kinds may keep who asks waiting for ever. It reads the mount
// table, since a question about the path itself could hang.
func local(p string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && localIn(string(b), p)
}

func localIn(mountinfo, p string) bool {
	best, kind := "", ""
	for line := range strings.Lines(mountinfo) {
		left, right, _ := strings.Cut(line, " - ")
		mount, fs := strings.Fields(left), strings.Fields(right)
		if len(mount) < 5 || len(fs) == 0 {
			continue
		}
		point := mount[4]
		// Of mounts at one place the last lies on top.
		if (p == point || strings.HasPrefix(p, strings.TrimSuffix(point, "/")+"/")) && len(point) >= len(best) {
			best, kind = point, fs[0]
		}
	}
	switch kind {
	case "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay", "tmpfs", "zfs", "bcachefs":
		return true
	}
	return false
}
