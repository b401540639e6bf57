package lvmtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

// ErrKilled is behind the error of a command that [Fake.FailNext] cut.
var ErrKilled = errors.New("signal: killed")

// Failure says how a command of the fake fails.
type Failure int

// The ways to fail. A killed command has no exit code.
const (
	Refuse          Failure = iota // exit code 5, nothing done
	KillBefore                     // killed, nothing done
	KillCommitted                  // killed after the metadata was written: what was to become active is not
	KillUnfinished                 // as before, but with devices that have no table
	KillAfter                      // killed when all was done
	LockUnavailable                // exit code 5 as LVM's lock could not be had
	// PowerLoss is KillCommitted of a host: the thin pool never had the device of a new
	// volume, and all commands are killed until [Fake.Reboot].
	PowerLoss
)

func (f Failure) String() string {
	return [...]string{"refused", "killed before", "killed when committed", "killed unfinished", "killed after", "no lock", "loss of power"}[f]
}

// Fake is a machine with LVM and device mapper in memory. It implements
// [xexec.Runner]. Each method may be called by several goroutines.
type Fake struct {
	mu       sync.Mutex // guards all below
	devices  map[string]int64
	listed   map[string]bool // the devices file
	groups   map[string]*group
	ids      int
	commands int
	fails    map[int]Failure
	off      bool // the power is
	lines    []string
}

type group struct {
	name, uuid string
	extent     int64
	mda        int64
	tags       []string
	pvs        []*pv
	lvs        map[string]*lv
	seqno      int
}

type pv struct {
	device, uuid string
	size         int64
	missing      bool
}

type lv struct {
	name, uuid, kind, pool, origin string
	size, meta                     int64
	used, metaUsed                 int64 // of a pool, or of a thin volume
	tags                           []string
	active, open, suspended        bool
	dirty                          bool // of a pool: it does not zero its chunks
	unfinished, readOnly, check    bool
	absent                         bool // of a thin volume: its pool has no device for it
	minor                          int
}

// NewFake returns a machine with devices of the given sizes in bytes, named
// /dev/sda, /dev/sdb and so on.
func NewFake(sizes ...int64) *Fake {
	f := &Fake{devices: map[string]int64{}, listed: map[string]bool{}, groups: map[string]*group{}, fails: map[int]Failure{}}
	for i, s := range sizes {
		f.devices["/dev/sd"+string(rune('a'+i))] = s
	}
	return f
}

// Client returns a client of the fake, with a system folder of its own.
func (f *Fake) Client(tb testing.TB) *lvm.Client {
	tb.Helper()
	return client(tb, lvm.Config{Runner: f, DevicesFile: lvm.DevicesFile, SystemDir: tb.TempDir()})
}

func client(tb testing.TB, cfg lvm.Config) *lvm.Client {
	tb.Helper()
	c, err := lvm.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Run implements [xexec.Runner].
func (f *Fake) Run(ctx context.Context, c xexec.Cmd) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, &xexec.Error{Argv: c.Argv, Code: -1, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands++
	f.lines = append(f.lines, c.String())
	failure, fail := f.fails[f.commands]
	if fail {
		f.lines[len(f.lines)-1] += " # " + failure.String()
	}
	delete(f.fails, f.commands)
	killed := &xexec.Error{Argv: c.Argv, Code: -1, Stderr: "", Err: ErrKilled}
	if f.off {
		return nil, killed
	}
	if fail {
		switch failure {
		case Refuse:
			return nil, exit(c, 5, xexec.ErrFake.Error())
		case LockUnavailable:
			return nil, exit(c, 5, "  Can't get lock for vg.")
		case KillBefore:
			return nil, killed
		case PowerLoss:
			f.off = true
		case KillCommitted, KillUnfinished, KillAfter:
		}
	}
	before, had := f.names(func(v *lv) bool { return v.active }), f.names(func(*lv) bool { return true })
	r := f.run(parse(c))
	if fail {
		f.cut(failure, before, had)
		return nil, killed
	}
	if r.code != 0 {
		return []byte(r.out.String()), exit(c, r.code, r.err.String())
	}
	return []byte(r.out.String()), nil
}

func exit(c xexec.Cmd, code int, stderr string) error {
	return &xexec.Error{Argv: c.Argv, Code: code, Stderr: strings.TrimSpace(stderr), Err: fmt.Errorf("exit status %d", code)}
}

// names are those of volumes, VG/LV.
func (f *Fake) names(which func(*lv) bool) map[string]bool {
	names := map[string]bool{}
	for _, g := range f.groups {
		for _, v := range g.lvs {
			if which(v) {
				names[g.name+"/"+v.name] = true
			}
		}
	}
	return names
}

// cut takes back what a killed command would not have come to.
func (f *Fake) cut(how Failure, before, had map[string]bool) {
	if how == KillAfter {
		return
	}
	for _, g := range f.groups {
		for _, v := range g.lvs {
			if v.active && !before[g.name+"/"+v.name] {
				v.active, v.unfinished = false, how == KillUnfinished
			}
			v.absent = v.absent || how == PowerLoss && v.kind == thin && !had[g.name+"/"+v.name]
		}
	}
}

// FailNext makes the n-th command from here on fail, counted from 1.
func (f *Fake) FailNext(n int, how Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[f.commands+n] = how
}

// Lines returns the commands so far, with how they failed by [Fake.FailNext].
func (f *Fake) Lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

// change calls set with a volume, under the lock.
func (f *Fake) change(vg, name string, set func(*lv)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.groups[vg]
	if !ok || g.lvs[name] == nil {
		panic(fmt.Sprintf("the fake has no volume %s/%s", vg, name))
	}
	set(g.lvs[name])
}

// SetOpen says that something holds a volume's device, such as a mount.
func (f *Fake) SetOpen(vg, lvName string, open bool) {
	f.change(vg, lvName, func(v *lv) { v.open = open })
}

// SetSuspended suspends a volume's device, as a killed snapshot leaves it.
func (f *Fake) SetSuspended(vg, lvName string, suspended bool) {
	f.change(vg, lvName, func(v *lv) { v.suspended = suspended })
}

// SetUsed says how many bytes of a thin volume are mapped; for a pool how many
// of its data are used beyond those of its volumes.
func (f *Fake) SetUsed(vg, lvName string, bytes int64) {
	f.change(vg, lvName, func(v *lv) { v.used = bytes })
}

// SetMetadataUsed says how many bytes of a pool's metadata are used.
func (f *Fake) SetMetadataUsed(vg, pool string, bytes int64) {
	f.change(vg, pool, func(v *lv) { v.metaUsed = bytes })
}

// SetZeroing says whether a pool zeroes its chunks.
func (f *Fake) SetZeroing(vg, pool string, zeroes bool) {
	f.change(vg, pool, func(v *lv) { v.dirty = !zeroes })
}

// SetBroken puts a pool's metadata to read-only, with a check due.
func (f *Fake) SetBroken(vg, pool string, broken bool) {
	f.change(vg, pool, func(v *lv) { v.readOnly, v.check = broken, broken })
}

// SetMissing takes a device away from the machine, or brings it back.
func (f *Fake) SetMissing(device string, missing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		for _, p := range g.pvs {
			if p.device == device {
				p.missing = missing
			}
		}
	}
}

// Reboot takes all devices of volumes away, as a power cut does.
func (f *Fake) Reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = false
	for _, g := range f.groups {
		for _, v := range g.lvs {
			v.active, v.open, v.suspended, v.unfinished = false, false, false, false
		}
	}
}

// String prints all groups with their devices and volumes.
func (f *Fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.groups)) {
		g := f.groups[name]
		fmt.Fprintf(&b, "vg %s size %d free %d tags %s\n", g.name, g.size(), g.free(), strings.Join(g.tags, ","))
		for _, p := range g.pvs {
			fmt.Fprintf(&b, "  pv %s size %d%s\n", p.device, p.size, word(p.missing, " missing"))
		}
		for _, v := range g.sorted() {
			fmt.Fprintf(&b, "  %s %s size %d%s%s tags %s%s\n", v.kind, v.name, v.size, named(" pool ", v.pool), named(" origin ", v.origin),
				strings.Join(v.tags, ","), word(v.active, " active")+word(v.open, " open")+word(v.suspended, " suspended")+word(v.unfinished, " unfinished"))
		}
	}
	return b.String()
}

func word(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

func named(what, s string) string { return word(s != "", what+s) }
