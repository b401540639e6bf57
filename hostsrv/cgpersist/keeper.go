package cgpersist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/docker"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// Config says where things are.
type Config struct {
	Records string // folder of what is to be, which lasts
	State   string // file of what was before, which need not outlive the host's start
	Engine  docker.Dirs
	// Volumes lists those of mos-lvm.
	Volumes func(ctx context.Context) ([]volume.Volume, error)
	// Note tells what was done of itself, for docker mos host events; set is "" for a
	// container of none.
	Note func(ctx context.Context, set, text string)
}

// The times of a keeper.
const (
	every  = 10 * time.Second       // between two looks without a cause
	atMost = 20 * time.Millisecond  // a look, however often files are written to
	settle = 100 * time.Millisecond // the first look after a cgroup came, which the runtime still fills
)

// Keeper keeps the settings of one host. Its methods may be called at once.
type Keeper struct {
	cfg     Config
	log     *slog.Logger
	records records
	kernel  kernel
	dirs    *cgroup.Watch
	files   *cgroup.Watch
	kick    chan struct{} // of capacity 1: look at once
	ask     chan struct{} // of capacity 1: learn of volumes

	mu      sync.Mutex // guards all below
	want    map[Target]map[string]string
	faults  map[string]error // of records, by their file
	held    *held
	known   map[string]known  // containers that run, by their id
	limits  map[string]limits // of volumes by their name, nil while mos-lvm was not heard
	rows    []api.CgroupSetting
	waits   bool // for a container to be started
	repairs map[repaired]count
	said    map[string]string // faults that were logged, by target and setting
}

// known is a container as its Engine's files have it.
type known struct {
	docker.Container

	stamp docker.Stamp
	spec  map[string]string // settings that a set's file gives it
}

// repaired names what is counted, and count is how often and when last.
type (
	repaired struct {
		target  Target
		setting string
	}
	count struct {
		n    int
		last time.Time
	}
)

// Open reads the records. The caller closes it.
func Open(cfg Config, log *slog.Logger) (*Keeper, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	tree, err := cgroup.Mounted(string(mounts))
	if err != nil {
		return nil, err
	}
	return open(cfg, tree, log)
}

func open(cfg Config, tree cgroup.Tree, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{
		cfg: cfg, log: log, records: records{cfg.Records}, kernel: kernel{tree, openSystemd()}, kick: make(chan struct{}, 1), ask: make(chan struct{}, 1),
		known: map[string]known{}, repairs: map[repaired]count{}, said: map[string]string{}, rows: []api.CgroupSetting{},
	}
	var err error
	if k.want, k.faults, err = k.records.load(); err != nil {
		return nil, err
	}
	for _, f := range k.faults {
		log.Error("settings of a cgroup are not kept", "err", f)
	}
	if k.held, err = loadHeld(cfg.State); err != nil {
		log.Warn("what was in force before is not known", "err", err)
	}
	if k.dirs, err = cgroup.NewWatch(); err != nil {
		return nil, err
	}
	if k.files, err = cgroup.NewFileWatch(); err != nil {
		return nil, errors.Join(err, k.dirs.Close())
	}
	return k, nil
}

// Run keeps settings in force until ctx ends. What is in force stays so.
func (k *Keeper) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { k.learn(ctx) })
	tick := time.NewTicker(every)
	defer tick.Stop()
	follow := time.NewTimer(0) // a first look at once
	defer follow.Stop()
	next := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.dirs.C:
			next = settle
			follow.Reset(next)
		case <-follow.C:
			if next > 0 {
				if next *= 3; next < 4*time.Second {
					follow.Reset(next)
				}
			}
		case <-k.files.C:
		case <-k.kick:
		case <-tick.C:
		}
		k.mu.Lock()
		k.look(ctx)
		if k.waits {
			next = settle
			follow.Reset(next)
		}
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(atMost):
		}
	}
}

// Close ends the watches. Run must have ended.
func (k *Keeper) Close() error { return errors.Join(k.dirs.Close(), k.files.Close()) }

// look compares all that is wanted with what is, and mends it. The caller holds mu.
func (k *Keeper) look(ctx context.Context) {
	found, err := k.scan()
	if err != nil {
		k.log.WarnContext(ctx, "cgroups cannot be looked at", "err", err)
		return
	}
	k.waits = false
	rows, wanted, files := []api.CgroupSetting{}, map[string]map[string]bool{}, []string{}
	for _, s := range k.subjects(found) {
		for _, w := range s.wants {
			row := api.CgroupSetting{Target: string(s.target), Setting: w.name, Value: w.value, Source: w.source}
			row.State, row.Kernel, row.Detail = k.keep(ctx, s, w, wanted, &files)
			r := k.repairs[repaired{s.target, w.name}]
			row.Repairs, row.Repaired = r.n, r.last
			rows = append(rows, row)
		}
	}
	for name, err := range k.faults {
		rows = append(rows, api.CgroupSetting{Target: name, Source: "record", State: api.CgroupFaulty, Detail: err.Error()})
	}
	k.takeBack(ctx, wanted)
	if err := k.held.save(); err != nil {
		k.log.WarnContext(ctx, "a later unset may not find what was before", "err", err)
	}
	if _, err := k.files.Follow(files); err != nil {
		k.log.WarnContext(ctx, "changes by others are seen late", "err", err)
	}
	k.rows = rows
}

// scan finds the containers that run, and watches where further ones may appear.
func (k *Keeper) scan() ([]cgroup.Found, error) {
	for range 5 {
		found, dirs, err := k.kernel.tree.Scan()
		if err != nil {
			return nil, err
		}
		if added, err := k.dirs.Follow(dirs); err != nil || !added {
			return found, err
		}
	}
	found, _, err := k.kernel.tree.Scan()
	return found, err
}

// keep makes one setting so at one cgroup. It notes in wanted which values are its, and
// in files where they are.
func (k *Keeper) keep(ctx context.Context, s subject, w want, wanted map[string]map[string]bool, files *[]string) (state, value, detail string) {
	atoms, err := k.kernel.atoms(w.name, w.value)
	if err == nil && k.kernel.version() == 1 && s.target.Set() != "" {
		err = notForSets(w.name)
	}
	if err == nil {
		err = s.fault
	}
	if err == nil && s.path == "" {
		return api.CgroupWaiting, "", "it does not run"
	}
	repairs := 0
	for _, a := range atoms {
		if err != nil {
			break
		}
		if wanted[s.path] == nil {
			wanted[s.path] = map[string]bool{}
		}
		if wanted[s.path][a.Key()] {
			continue // by somebody before it
		}
		wanted[s.path][a.Key()] = true
		var repair bool
		var got string
		got, repair, err = k.hold(ctx, s, a, w)
		if repair {
			repairs++
		}
		if value != "" {
			value += " "
		}
		value += got
		if p, perr := k.kernel.path(s.path, a); perr == nil {
			*files = append(*files, p)
		}
	}
	if repairs > 0 {
		k.repaired(ctx, s, w)
	}
	key := string(s.target) + " " + w.name
	if errors.Is(err, errNoGroup) {
		return api.CgroupWaiting, "", "it does not run"
	}
	if err != nil {
		if k.said[key] != err.Error() {
			k.said[key] = err.Error()
			k.log.ErrorContext(ctx, "a setting is not in force", "target", string(s.target), "setting", w.name, "err", err)
			k.note(ctx, s, fmt.Sprintf("%s of %s is not in force: %v", w.name, s.target, err))
		}
		return api.CgroupFaulty, value, err.Error()
	}
	delete(k.said, key)
	return api.CgroupHeld, value, ""
}

// hold makes one value so. repair says that somebody had changed it since it was so.
func (k *Keeper) hold(ctx context.Context, s subject, a setting.Atom, w want) (got string, repair bool, err error) {
	now, err := k.kernel.get(s.path, a)
	if err != nil {
		return "", false, err
	}
	g := k.held.of(s.path, k.kernel.inode(s.path), s.unit)
	h := g.Atoms[a.Key()]
	unit, ask := s.unit, s.unit != "" && a.Property != ""
	if s.starting {
		unit, k.waits = "", k.waits || ask
	}
	if h != nil && h.Value == a.Value && h.Kernel == now && (h.Asked || !ask || unit == "") {
		return now, false, nil
	}
	k.held.dirty = true
	switch {
	case h == nil:
		h = &atom{Before: now}
		g.Atoms[a.Key()] = h
	case h.Kernel != "" && h.Kernel != now:
		h.Before, repair = now, !s.starting // what others want now; a runtime at its start is nobody to repair
	}
	// Before the act, so that a daemon that dies here is followed by one that knows.
	h.Atom, h.Source, h.Kernel, h.Asked = a, w.source, "", false
	if err := k.held.save(); err != nil {
		return now, false, err
	}
	got, err = k.kernel.put(ctx, s.path, unit, a, a.Value)
	if err != nil {
		return now, false, err
	}
	h.Kernel, h.Asked, k.held.dirty = got, unit != "", true
	if got != now {
		k.log.InfoContext(ctx, "set", "target", string(s.target), "file", a.File, "was", now, "is", got, "by", w.source, "repair", repair)
	}
	return got, repair && got != now, nil
}

// repaired counts and tells that somebody had changed a setting.
func (k *Keeper) repaired(ctx context.Context, s subject, w want) {
	key := repaired{s.target, w.name}
	r := k.repairs[key]
	k.repairs[key] = count{r.n + 1, time.Now().UTC()}
	k.note(ctx, s, fmt.Sprintf("%s of %s was changed by somebody, and is %s again", w.name, s.target, w.value))
}

func (k *Keeper) note(ctx context.Context, s subject, text string) {
	if k.cfg.Note != nil {
		k.cfg.Note(ctx, s.set, text)
	}
}

// takeBack undoes what nobody wants any more, where nobody else changed it since.
func (k *Keeper) takeBack(ctx context.Context, wanted map[string]map[string]bool) {
	for p, g := range k.held.Groups {
		if k.kernel.inode(p) != g.Inode {
			delete(k.held.Groups, p) // the cgroup is gone
			k.held.dirty = true
			continue
		}
		// The last first: a partition that loses its processors before it is none any more
		// is one that is invalid.
		for _, key := range slices.Backward(slices.Sorted(maps.Keys(g.Atoms))) {
			h := g.Atoms[key]
			if wanted[p][key] || h.Source == api.CgroupByVolume && k.limits == nil {
				continue
			}
			if err := k.restore(ctx, p, g, h); err != nil {
				k.log.WarnContext(ctx, "a setting that was unset is still in force", "cgroup", p, "file", h.File, "err", err)
			}
			delete(g.Atoms, key)
			k.held.dirty = true
		}
		if len(g.Atoms) == 0 {
			delete(k.held.Groups, p)
		}
	}
}

func (k *Keeper) restore(ctx context.Context, p string, g *group, h *atom) error {
	now, err := k.kernel.get(p, h.Atom)
	if errors.Is(err, errNoGroup) {
		return nil
	}
	if err != nil || h.Kernel != "" && now != h.Kernel || now == h.Before {
		return err
	}
	got, err := k.kernel.put(ctx, p, g.Unit, h.Atom, h.Before)
	if err == nil {
		k.log.InfoContext(ctx, "taken back", "cgroup", p, "file", h.File, "was", now, "is", got)
	}
	return err
}

func contains(list []int, n int) bool {
	_, there := slices.BinarySearch(list, n)
	return there
}

// parentOf is the cgroup around a container's.
func parentOf(container string) string { return path.Dir(container) }
