package lvmvolume

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mib = 1 << 20
	gib = 1 << 30
)

// rig is a driver on a machine in memory. Its devices have names and file
// systems, but cannot be mounted.
type rig struct {
	*Driver
	t    *testing.T
	lvm  *lvmtest.Fake
	disk *fakeDisk
	cfg  Config
}

// vg0 is the group of most rigs: two disks of 40 GiB with a pool of 20 GiB.
const vg0 = "vg0"

func newRig(t *testing.T, set ...func(*Config)) *rig {
	t.Helper()
	r := bareRig(t, set...)
	r.makeGroup(vg0, 20*gib, "/dev/sda", "/dev/sdb")
	r.mustLook()
	return r
}

// bareRig is a rig without a group, that did not look yet.
func bareRig(t *testing.T, set ...func(*Config)) *rig {
	t.Helper()
	cfg := Defaults()
	cfg.StateDir, cfg.LVMDir, cfg.DockerHost = t.TempDir(), t.TempDir(), "unix:///nonexistent/docker.sock"
	cfg.Socket = "/nonexistent/mos-lvm.sock" // this machine may run a mos-lvm
	cfg.LoopSpare = 0
	for _, f := range set {
		f(&cfg)
	}
	f := lvmtest.NewFake(40*gib, 40*gib, 40*gib)
	r := &rig{t: t, lvm: f, disk: &fakeDisk{lvm: f, made: map[string]int{}, text: map[string]string{}}, cfg: cfg}
	r.restart()
	return r
}

// restart puts a new driver on the same machine, as after a kill.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.cfg.Check(); err != nil {
		r.t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Linger = config.Duration{} // nobody's containers start here
	log, err := logx.New(io.Discard, logx.Config{Level: "debug", Format: "text"})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.Driver, err = open(cfg, log, machine{run: r.lvm, disk: r.disk}); err != nil {
		r.t.Fatal(err)
	}
}

// makeGroup makes a group that is ours; without a size of the pool it has none.
func (r *rig) makeGroup(vg string, pool int64, disks ...string) {
	r.t.Helper()
	c, ctx := r.Driver.lvm, r.t.Context()
	if err := c.CreateVG(ctx, lvm.Group{Name: vg, Devices: disks}); err != nil {
		r.t.Fatal(err)
	}
	if pool > 0 {
		p := lvm.Pool{VG: vg, Name: r.cfg.Pool, Size: pool, MetadataSize: 64 * mib}
		if err := c.CreatePool(ctx, p); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.groups.expected.set(vg, true); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mustLook() {
	r.t.Helper()
	if err := r.look(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) group() *group { return r.groups.group(vg0) }

// make makes a volume, which must be well.
func (r *rig) make(name string, kv ...string) spec.Volume {
	r.t.Helper()
	if _, err := r.create(r.t.Context(), request(name, kv...), false); err != nil {
		r.t.Fatalf("create %s: %v", name, err)
	}
	return r.volume(name)
}

func request(name string, kv ...string) spec.Request {
	q := spec.Request{Name: name, Options: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		q.Options[kv[i]] = kv[i+1]
	}
	return q
}

func (r *rig) volume(name string) spec.Volume {
	r.t.Helper()
	e, ok := r.idx.named(name)
	if !ok {
		r.t.Fatalf("there is no volume %s", name)
	}
	return e.v
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := r.trash(r.t.Context(), name); err != nil {
		r.t.Fatalf("remove %s: %v", name, err)
	}
}

func (r *rig) snap(name, snapshot string) spec.Volume {
	r.t.Helper()
	_, v, err := r.takeSnapshot(r.t.Context(), name, snapshot, false)
	if err != nil {
		r.t.Fatalf("snapshot %s@%s: %v", name, snapshot, err)
	}
	return v
}

// wipeNow overwrites what waits for that, also what failed just now.
func (r *rig) wipeNow() {
	for _, e := range r.idx.all(toWipe) {
		r.wipe(r.t.Context(), e.v)
	}
}

// titles are the volumes of one kind, as NAME or NAME@SNAPSHOT.
func (r *rig) titles(among func(spec.Volume) bool) string {
	var out []string
	for _, e := range r.idx.all(among) {
		out = append(out, e.v.Title())
	}
	return strings.Join(out, " ")
}

// ours are the logical volumes of ours that the machine has.
func (r *rig) ours() (labels []string) {
	for line := range strings.Lines(r.lvm.String()) {
		if f := strings.Fields(line); len(f) > 1 {
			if _, ok := spec.ParseLabel(f[1]); ok {
				labels = append(labels, f[1])
			}
		}
	}
	return labels
}

// commands counts the commands of LVM by name since the given number of lines.
func (r *rig) commands(since int, name string) (n int) {
	for _, l := range r.lvm.Lines()[since:] {
		if strings.HasPrefix(l, "lvm "+name+" ") {
			n++
		}
	}
	return n
}

// fakeDisk is the block devices of the active volumes of a fake LVM.
type fakeDisk struct {
	lvm   *lvmtest.Fake
	grow  func(context.Context) error // makes the file systems, which are too small, fit
	piece func(int64)                 // is told of each piece of four before it is zeroed

	mu   sync.Mutex // guards all below
	made map[string]int
	text map[string]string // what users wrote, by label; format loses it
	held []mounts.Holder   // of every device
	fail error             // what format says
	dark error             // what there says
	sick string            // why the file systems must be checked
}

func (d *fakeDisk) label(device string) string {
	_, lv, _, _ := lvm.SplitDMName(path.Base(device))
	return lv
}

func (d *fakeDisk) there(device string) (bool, error) {
	d.mu.Lock()
	dark := d.dark
	d.mu.Unlock()
	if dark != nil {
		return false, dark
	}
	vg, lv, _, _ := lvm.SplitDMName(path.Base(device))
	in := ""
	for line := range strings.Lines(d.lvm.String()) {
		f := strings.Fields(line)
		switch {
		case f[0] == "vg":
			in = f[1]
		case in == vg && f[1] == lv:
			return slices.Contains(f, "active") && !slices.Contains(f, "unfinished"), nil
		}
	}
	return false, nil
}

func (d *fakeDisk) holders(context.Context, string, string) ([]mounts.Holder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held, nil
}

func (d *fakeDisk) format(_ context.Context, _ filesystem.Type, device string, _ bool) error {
	if there, _ := d.there(device); !there {
		return fmt.Errorf("format: device %s is not there", device)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	d.made[d.label(device)]++
	delete(d.text, d.label(device))
	return nil
}

func (d *fakeDisk) zero(ctx context.Context, device string, from int64, said func(done, total int64)) error {
	if there, _ := d.there(device); !there {
		return fmt.Errorf("zero: device %s is not there", device)
	}
	for done := from; done < 4; done++ {
		if d.piece != nil {
			d.piece(done)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		said(done+1, 4)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made[d.label(device)] = 0
	delete(d.text, d.label(device))
	return nil
}

func (d *fakeDisk) needsCheck(string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sick, nil
}

func (d *fakeDisk) mend(context.Context, filesystem.Type, string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sick = ""
	return "it is mended", nil
}

func (d *fakeDisk) needsGrow(string) (bool, error) { return d.grow != nil, nil }

func (d *fakeDisk) growOffline(ctx context.Context, _ filesystem.Type, _ string) error {
	return d.grow(ctx)
}

func (d *fakeDisk) image(string) (loop.Info, error)    { return loop.Info{}, os.ErrNotExist }
func (d *fakeDisk) images(string) ([]loop.Info, error) { return nil, nil }

func (d *fakeDisk) formatted(v spec.Volume) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.made[v.ID.Label()] > 0
}

// withEngine gives the driver an engine in memory.
func withEngine(t *testing.T) (*enginetest.Fake, func(*Config)) {
	t.Helper()
	f := enginetest.Start(t)
	return f, func(c *Config) { c.DockerHost = f.Host }
}

func resizeRequest(name, size string) api.ResizeRequest {
	return api.ResizeRequest{Volume: name, Size: size}
}
