package lvmvolume

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
)

// newAdmin is a client of the driver's admin API, over a socket.
func newAdmin(t *testing.T, r *rig) *api.Client {
	t.Helper()
	s := pluginsrv.New(pluginsrv.Config{Log: testx.Logger(t), Registry: r.metrics.registry})
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(r.admin(s))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return api.New(path)
}

// must is a call that has to be well.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func steps(p api.Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.Op+" "+s.Object)
	}
	return strings.Join(out, ", ")
}

// TestAdminAPI is the life of a volume as docker mos volume makes it, each change
// as a dry run first.
func TestAdminAPI(t *testing.T) {
	r := newRig(t)
	c, ctx := newAdmin(t, r), t.Context()
	plan, volumes := must[api.Plan](t), must[[]api.Volume](t)
	size := map[string]string{"size": "1g"}
	for _, tt := range []struct {
		name, steps string
		do          func(dry bool) (api.Plan, error)
	}{
		{"create", "make data, format data, record data", func(dry bool) (api.Plan, error) {
			return c.Create(ctx, api.CreateRequest{Name: "data", Options: size, DryRun: dry})
		}},
		{"resize", "grow data, grow-fs data", func(dry bool) (api.Plan, error) {
			return c.Resize(ctx, api.ResizeRequest{Volume: "data", Size: "+1g", DryRun: dry})
		}},
		{"snapshot", "snapshot data@monday", func(dry bool) (api.Plan, error) {
			return c.Snapshot(ctx, api.SnapshotRequest{Volume: "data", Name: "monday", DryRun: dry})
		}},
		{"copy", "snapshot copy", func(dry bool) (api.Plan, error) {
			return c.Create(ctx, api.CreateRequest{Name: "copy", Options: map[string]string{"from": "data@monday"}, DryRun: dry})
		}},
		{"remove snapshot", "remove data@monday", func(dry bool) (api.Plan, error) {
			return c.RemoveSnapshot(ctx, api.SnapshotRequest{Volume: "data", Name: "monday", DryRun: dry})
		}},
		{"remove", "record data", func(dry bool) (api.Plan, error) { return c.Remove(ctx, api.RemoveRequest{Volume: "data", DryRun: dry}) }},
		{"restore", "record old", func(dry bool) (api.Plan, error) {
			return c.Restore(ctx, api.RestoreRequest{Volume: "data", As: "old", DryRun: dry})
		}},
		{"remove again", "record old", func(dry bool) (api.Plan, error) { return c.Remove(ctx, api.RemoveRequest{Volume: "old", DryRun: dry}) }},
		{"purge", "remove old", func(dry bool) (api.Plan, error) {
			return c.Purge(ctx, api.PurgeRequest{All: true, DryRun: dry}, func(api.Progress) {})
		}},
	} {
		before := r.lvm.String()
		if got := steps(plan(tt.do(true))); got != tt.steps || r.lvm.String() != before {
			t.Errorf("%s: the dry run says %s", tt.name, got)
		}
		p := plan(tt.do(false))
		if got := steps(p); got != tt.steps || r.lvm.String() == before {
			t.Errorf("%s: the plan was %s", tt.name, got)
		}
		if p.Volume != nil && p.Volume.Fault != "" {
			t.Errorf("%s: the volume is %+v", tt.name, p.Volume)
		}
	}
	if vs := volumes(c.Volumes(ctx)); len(vs) != 1 || vs[0].Name != "copy" || vs[0].From != "data@monday" {
		t.Errorf("volumes are %+v", vs)
	}
	if vs := volumes(c.Trash(ctx)); len(vs) != 0 {
		t.Errorf("in the bin are %+v", vs)
	}
}

func TestAdminErrors(t *testing.T) {
	r := newRig(t)
	c, ctx := newAdmin(t, r), t.Context()
	r.make("data", "size", "1g")
	notFound, invalid := errdefs.IsNotFound, errdefs.IsInvalidArgument
	for name, tt := range map[string]struct {
		class func(error) bool
		do    func() error
	}{
		"volume":   {notFound, func() error { _, err := c.Volume(ctx, "x"); return err }},
		"odd name": {notFound, func() error { _, err := c.Volume(ctx, "../a b/%2F"); return err }},
		"create":   {invalid, func() error { _, err := c.Create(ctx, api.CreateRequest{Name: "a b"}); return err }},
		"no size":  {invalid, func() error { _, err := c.Create(ctx, api.CreateRequest{Name: "one"}); return err }},
		"of itself": {invalid, func() error {
			_, err := c.Create(ctx, api.CreateRequest{Name: "data", Options: map[string]string{"from": "data"}})
			return err
		}},
		"copy of nothing": {notFound, func() error {
			_, err := c.Create(ctx, api.CreateRequest{Name: "copy", Options: map[string]string{"from": "nope"}})
			return err
		}},
		"huge": {errdefs.IsResourceExhausted, func() error {
			_, err := c.Create(ctx, api.CreateRequest{Name: "one", Options: map[string]string{"size": "1p"}})
			return err
		}},
		"shrink":   {invalid, func() error { _, err := c.Resize(ctx, api.ResizeRequest{Volume: "data", Size: "16m"}); return err }},
		"remove":   {notFound, func() error { _, err := c.Remove(ctx, api.RemoveRequest{Volume: "x"}); return err }},
		"snapshot": {notFound, func() error { _, err := c.Snapshot(ctx, api.SnapshotRequest{Volume: "x"}); return err }},
		"remove snapshot": {notFound, func() error {
			_, err := c.RemoveSnapshot(ctx, api.SnapshotRequest{Volume: "data", Name: "x"})
			return err
		}},
		"restore":       {notFound, func() error { _, err := c.Restore(ctx, api.RestoreRequest{Volume: "data"}); return err }},
		"purge":         {notFound, func() error { _, err := c.Purge(ctx, api.PurgeRequest{Volumes: []string{"data"}}, nil); return err }},
		"purge nothing": {invalid, func() error { _, err := c.Purge(ctx, api.PurgeRequest{}, nil); return err }},
		"log level":     {invalid, func() error { return c.SetLogLevel(ctx, api.LogLevel{Level: "loud"}) }},
		"export":        {notFound, func() error { _, err := c.Export(ctx, "x", io.Discard); return err }},
	} {
		err := tt.do()
		if said := fmt.Sprint(err); (name == "restore" || name == "purge") && said != "the recycle bin has no volume data" {
			t.Errorf("%s: %s, and there is a volume data", name, said)
		}
		if !tt.class(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, stream := range []string{"", "no stream", strings.Repeat("\x00", 100_000)} {
		if _, err := c.Import(ctx, strings.NewReader(stream), api.CreateRequest{Name: "in"}, nil); err == nil {
			t.Errorf("%.10q is imported", stream)
		}
	}
	if len(r.ours()) != 1 {
		t.Errorf("there are %v", r.ours())
	}
}

// TestExportOfAVolumeTakesItsSnapshotBack, also when the device cannot be read, as
// here.
func TestExportOfAVolumeTakesItsSnapshotBack(t *testing.T) {
	r := newRig(t)
	c := newAdmin(t, r)
	r.make("data", "size", "1g")
	var b bytes.Buffer
	if _, err := c.Export(t.Context(), "data", &b); err == nil {
		t.Error("exported from a device that is not there")
	}
	if b.Len() != 0 || len(r.ours()) != 1 || r.titles(isSnapshot) != "" {
		t.Errorf("%d bytes came, there are %v", b.Len(), r.ours())
	}
}

// TestAdminRemarks what a user may not have meant.
func TestAdminRemarks(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, set)
	c, ctx := newAdmin(t, r), t.Context()
	r.make("data", "size", "1g")
	p := must[api.Plan](t)(c.Create(ctx, api.CreateRequest{Name: "data", Options: map[string]string{"size": "512m"}}))
	if !strings.Contains(p.Note, "is there already, with 1GiB") {
		t.Errorf("made again it says %q", p.Note)
	}
	f.PutContainer(enginetest.Container{ID: "web", Name: "web", State: "exited", Volumes: []enginetest.Volume{{Name: "data", Driver: "mos-lvm"}}})
	f.PutContainer(enginetest.Container{ID: "other", Name: "other", State: "exited", Volumes: []enginetest.Volume{{Name: "data", Driver: "local"}}})
	p = must[api.Plan](t)(c.Remove(ctx, api.RemoveRequest{Volume: "data"}))
	if !strings.Contains(p.Note, "is of container web, which cannot start") {
		t.Errorf("removed it says %q", p.Note)
	}
}

// TestNoVolumeThatContainersDoNotGet: where Docker has a volume of that name by another
// driver, it gives containers that one, and ours would seem to be empty.
func TestNoVolumeThatContainersDoNotGet(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, set)
	c, ctx := newAdmin(t, r), t.Context()
	f.PutVolume("cache", "local")
	for name, do := range map[string]func(dry bool) error{
		"create": func(dry bool) error {
			_, err := c.Create(ctx, api.CreateRequest{Name: "cache", Options: map[string]string{"size": "1g"}, DryRun: dry})
			return err
		},
		"restore": func(dry bool) error {
			r.make("data", "size", "1g")
			r.remove("data")
			_, err := c.Restore(ctx, api.RestoreRequest{Volume: string(r.idx.all(inTrash)[0].v.ID), As: "cache", DryRun: dry})
			return err
		},
		"import": func(dry bool) error {
			_, err := c.Import(ctx, bytes.NewReader(streamOf(t)), api.CreateRequest{Name: "cache", DryRun: dry}, nil)
			return err
		},
	} {
		for _, dry := range []bool{true, false} {
			if err := do(dry); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "docker has a volume cache of driver local") {
				t.Errorf("%s, dry run %v: %v", name, dry, err)
			}
		}
	}
	if r.titles(inService) != "" {
		t.Errorf("made are %s", r.titles(inService))
	}
	f.PutVolume("ours", "127.0.0.1:5000/mos-lvm:latest") // Docker's word for a managed plugin
	must[api.Plan](t)(c.Create(ctx, api.CreateRequest{Name: "ours", Options: map[string]string{"size": "1g"}}))
	shadow := func() (out api.Check) {
		for _, one := range must[api.Doctor](t)(c.Doctor(ctx)).Checks {
			if one.Name == "docker gives containers our volumes" {
				out = one
			}
		}
		return out
	}
	if one := shadow(); !one.OK {
		t.Errorf("the doctor says %+v", one)
	}
	f.PutVolume("ours", "local") // as a container makes it that starts while ours is in the bin
	if one := shadow(); one.OK || !strings.HasSuffix(one.Detail, ": ours") || one.Hint == "" {
		t.Errorf("the doctor says %+v", one)
	}
}

func TestAdminTellsHowThingsAre(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, set, noExtend)
	c, ctx := newAdmin(t, r), t.Context()
	r.make("v", "size", "1g")
	f.PutContainer(enginetest.Container{ID: "writer", Name: "web", State: "running"})
	s := must[api.Status](t)(c.Status(ctx))
	if s.Default != "thin" || s.Volumes != 1 || s.Error != "" || len(s.Pools) != 3 {
		t.Errorf("the status is %+v", s)
	}
	r.fill(0.85, 0.1)
	pools := must[[]api.Pool](t)(c.Pools(ctx))
	if p := pools[0]; p.Name != "vg0/mos-pool" || !p.Default || p.State != api.PoolWarn || p.Volumes != 1 || p.Virtual != gib || p.Limit != 20*gib || !p.Snapshots {
		t.Errorf("the pool is %+v", p)
	}
	if es := must[[]api.Event](t)(c.Events(ctx)); len(es) != 1 || es[0].Kind != "pool" {
		t.Errorf("the events are %+v", es)
	}
	d := must[api.Doctor](t)(c.Doctor(ctx))
	checks := map[string]api.Check{}
	for _, one := range d.Checks {
		checks[one.Name] = one
	}
	if !checks["docker answers"].OK || !checks["all volumes are known"].OK || checks["pool vg0/mos-pool"].OK || checks["plugin socket is there"].OK {
		t.Errorf("the doctor says %+v", d.Checks)
	}
	for _, one := range d.Checks {
		if !one.OK && one.Hint == "" {
			t.Errorf("%s is wrong (%s), and nothing is said about it", one.Name, one.Detail)
		}
	}
	if a := must[api.Audit](t)(c.Audit(ctx)); len(a.Findings) != 0 {
		t.Errorf("the audit says %+v", a.Findings)
	}
	if g := must[api.GC](t)(c.GC(ctx, api.GCRequest{})); len(g.Objects) != 0 {
		t.Errorf("collected are %+v", g.Objects)
	}
	if err := c.SetLogLevel(ctx, api.LogLevel{Level: "warn"}); err != nil {
		t.Error(err)
	}
	resp, err := c.Do(ctx, "GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(text, []byte(`mos_volume_pool_state{pool="vg0/mos-pool",state="warn"} 1`)) {
		t.Errorf("the metrics are %.300s, %v", text, err)
	}
}
