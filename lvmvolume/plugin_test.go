package lvmvolume

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/volume"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// plugin is the driver behind a socket, as Docker has it.
type plugin struct {
	*rig
	http http.Client
}

func newPlugin(t *testing.T, r *rig) *plugin {
	t.Helper()
	s := pluginsrv.New(pluginsrv.Config{Log: testx.Logger(t), Registry: r.metrics.registry})
	r.Register(s)
	path := filepath.Join(t.TempDir(), "mos-lvm.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(s.Handler())
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &plugin{r, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// post sends bytes to a call and returns what comes back.
func (p *plugin) post(call, body string) (answer string, status int, err error) {
	resp, err := p.http.Post("http://plugin/"+call, "application/json", strings.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b)), resp.StatusCode, err
}

// call asks as go-plugins-helpers would and reads the answer into its types; the
// error is what Docker would show.
func call[Answer any](p *plugin, name string, req any) (Answer, string) {
	p.t.Helper()
	var out struct{ Err string }
	var answer Answer
	b, err := json.Marshal(req)
	if err != nil {
		p.t.Fatal(err)
	}
	text, _, err := p.post("VolumeDriver."+name, string(b))
	if err != nil {
		return answer, "transport: " + err.Error()
	}
	for _, dst := range []any{&out, &answer} {
		if err := json.Unmarshal([]byte(text), dst); err != nil {
			p.t.Fatalf("%s: %s: %v", name, text, err)
		}
	}
	return answer, out.Err
}

type nothingMore struct{}

func TestCallsAsDockerMakesThem(t *testing.T) {
	p := newPlugin(t, newRig(t))
	text, status, err := p.post("Plugin.Activate", "")
	if err != nil || status != 200 || !strings.Contains(text, "VolumeDriver") {
		t.Errorf("activate: %s, %d, %v", text, status, err)
	}
	if c, e := call[volume.CapabilitiesResponse](p, "Capabilities", nothingMore{}); c.Capabilities.Scope != "local" || e != "" {
		t.Errorf("capabilities: %+v, %s", c, e)
	}
	if l, e := call[volume.ListResponse](p, "List", nothingMore{}); len(l.Volumes) != 0 || e != "" {
		t.Errorf("list: %+v, %s", l, e)
	}
	req := volume.CreateRequest{Name: "data", Options: map[string]string{"size": "1g"}}
	for range 2 { // Docker repeats after a lost answer
		if _, e := call[nothingMore](p, "Create", req); e != "" {
			t.Errorf("create: %s", e)
		}
	}
	req.Options["size"] = "2g"
	if _, e := call[nothingMore](p, "Create", req); !strings.Contains(e, "exists with another size") {
		t.Errorf("create with another size: %s", e)
	}
	g, e := call[volume.GetResponse](p, "Get", volume.GetRequest{Name: "data"})
	if e != "" || g.Volume == nil || g.Volume.Name != "data" || g.Volume.Mountpoint != "" || g.Volume.Status["size"] != "1GiB" || g.Volume.Status["state"] != "ready" {
		t.Errorf("get: %+v, %s", g.Volume, e)
	}
	if at, err := time.Parse(time.RFC3339, g.Volume.CreatedAt); err != nil || time.Since(at) > time.Minute {
		t.Errorf("created at %s", g.Volume.CreatedAt)
	}
	if l, e := call[volume.ListResponse](p, "List", nothingMore{}); e != "" || len(l.Volumes) != 1 || l.Volumes[0].Name != "data" {
		t.Errorf("list: %+v, %s", l, e)
	}
	if m, e := call[volume.PathResponse](p, "Path", volume.PathRequest{Name: "data"}); e != "" || m.Mountpoint != "" {
		t.Errorf("path: %+v, %s", m, e)
	}
	for range 2 {
		if _, e := call[nothingMore](p, "Unmount", volume.UnmountRequest{Name: "data", ID: "1"}); e != "" {
			t.Errorf("unmount: %s", e)
		}
		if _, e := call[nothingMore](p, "Remove", volume.RemoveRequest{Name: "data"}); e != "" {
			t.Errorf("remove: %s", e)
		}
	}
	if _, e := call[volume.GetResponse](p, "Get", volume.GetRequest{Name: "data"}); e != "there is no volume data" {
		t.Errorf("get of a removed volume: %s", e)
	}
}

// TestBodiesThatAreNone: nothing is taken for a request, and nothing is said
// about a volume.
func TestBodiesThatAreNone(t *testing.T) {
	p := newPlugin(t, newRig(t))
	before := len(p.lvm.Lines())
	for _, name := range []string{"Create", "Remove", "Mount", "Unmount", "Path", "Get"} {
		for _, body := range []string{
			"", "{", `{"Name":"da`, "null", "[]", `"x"`, "{}", `{"Name":""}`, `{"Name":7}`, `{"Name":"a"}{"Name":"b"}`, "\x00\xff", strings.Repeat("[", 100_000), `{"Name":"` + strings.Repeat("x", 2<<20) + `"}`,
		} {
			text, status, err := p.post("VolumeDriver."+name, body)
			if name == "Get" && err != nil {
				continue // not answered, since Docker would take the error for "absent"
			}
			if err != nil || status == 200 || strings.Contains(text, "there is no volume") {
				t.Errorf("%s with %.30q: %d %.100s, %v", name, body, status, text, err)
			}
			if len(text) > 2000 {
				t.Errorf("%s with %.30q: an answer of %d bytes", name, body, len(text))
			}
		}
	}
	if len(p.lvm.Lines()) != before || p.titles(anything) != "" {
		t.Error("something was done")
	}
}

// TestOddNames: what Docker does not check is refused at creation, and absent
// else.
func TestOddNames(t *testing.T) {
	p := newPlugin(t, newRig(t))
	for _, name := range []string{"../x", "/etc", ".", "..", "a b", "a\nb", "-rf", "ä", "a\x00b", "a@b", "mos-", strings.Repeat("x", 300), strings.Repeat("x", 100_000), "%s%n", "$(id)", "<b>"} {
		if _, e := call[nothingMore](p, "Create", volume.CreateRequest{Name: name, Options: map[string]string{"size": "1g"}}); e == "" && name != "mos-" || len(e) > 400 {
			t.Errorf("create %.20q: %d bytes: %.400s", name, len(e), e)
		}
		if _, e := call[nothingMore](p, "Remove", volume.RemoveRequest{Name: name}); e != "" {
			t.Errorf("remove %.20q: %s", name, e)
		}
		if _, e := call[nothingMore](p, "Unmount", volume.UnmountRequest{Name: name, ID: "1"}); e != "" {
			t.Errorf("unmount %.20q: %s", name, e)
		}
		for _, question := range []string{"Get", "Path", "Mount"} {
			if _, e := call[nothingMore](p, question, volume.MountRequest{Name: name, ID: "1"}); !strings.Contains(e, "there is no volume") || len(e) > 400 {
				t.Errorf("%s %.20q: %.400s", question, name, e)
			}
		}
	}
}

// TestUnsureAnswersAreNotGiven: Docker would forget the volume, so that the
// connection is closed instead.
func TestUnsureAnswersAreNotGiven(t *testing.T) {
	p := newPlugin(t, newRig(t))
	p.make("known", "size", "1g")
	p.lvm.FailNext(1, 0)
	_ = p.look(t.Context())
	for _, question := range []string{"Get", "Path"} {
		if _, e := call[nothingMore](p, question, volume.GetRequest{Name: "other"}); !strings.HasPrefix(e, "transport: ") {
			t.Errorf("%s is answered with %q", question, e)
		}
		if _, e := call[nothingMore](p, question, volume.GetRequest{Name: "known"}); e != "" {
			t.Errorf("%s of a known volume: %s", question, e)
		}
	}
	if _, e := call[nothingMore](p, "Remove", volume.RemoveRequest{Name: "other"}); e == "" {
		t.Error("the removal of what may be there is well")
	}
}

func TestManyGetsAtOnce(t *testing.T) {
	p := newPlugin(t, newRig(t))
	p.make("data", "size", "1g")
	var work sync.WaitGroup
	for range 100 {
		work.Go(func() {
			for range 10 {
				if g, e := call[volume.GetResponse](p, "Get", volume.GetRequest{Name: "data"}); e != "" || g.Volume == nil {
					t.Errorf("%+v, %s", g, e)
				}
			}
		})
	}
	work.Wait()
}

// shown is a host with one volume of each kind, at fixed times.
func shown(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	day := time.Unix(1764226800, 0).UTC()
	thin, linear, img, old := ready("a", "data", 0), ready("b", "flat", 0), ready("c", "img", 0), ready("d", "old", 0)
	linear.Type, linear.FS = spec.Linear, spec.XFS
	img.Type, img.Place = spec.Loop, r.cfg.loopDir()
	snap := ready("e", "data", 0)
	snap.Of, snap.Snapshot = thin.ID, "monday"
	thin.UID, thin.GID, thin.Mode, thin.MountOpts, thin.IOPS, thin.BPS, thin.From = 999, 998, 0o750, "noatime", 500, 100*mib, "base@s"
	old.State, old.Since = spec.Trashed, day.Add(time.Hour)
	for _, v := range []*spec.Volume{&thin, &linear, &img, &old, &snap} {
		v.Created = day
	}
	now := time.Now().Add(time.Second)
	r.idx.take(at(r.group(), now, thin, linear, old, snap))
	r.idx.take(at(r.loops, now, img))
	r.idx.change(thin.ID, func(e *entry) {
		e.usage = &api.Usage{Size: 950 * mib, Used: 100 * mib, Free: 850 * mib, Inodes: 65536, InodesUsed: 12, At: day}
		e.users = []api.User{{Container: strings.Repeat("0123456789ab", 5), PID: 7, Command: "postgres", Mountpoint: "/data"}, {PID: 8, Command: "tar"}}
		e.allocated = 120 * mib
	})
	r.idx.change(linear.ID, func(e *entry) { e.fault = errTwice })
	return r
}

// TestWhatDockerShows is the JSON of all answers about volumes.
func TestWhatDockerShows(t *testing.T) {
	r := shown(t)
	p := newPlugin(t, r)
	var b bytes.Buffer
	for _, q := range [][2]string{{"List", ""}, {"Get", "data"}, {"Get", "img"}, {"Get", "flat"}, {"Get", "old"}, {"Path", "data"}, {"Capabilities", ""}} {
		text, _, err := p.post("VolumeDriver."+q[0], `{"Name":"`+q[1]+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(q[0] + " " + q[1] + "\n")
		if err := json.Indent(&b, []byte(strings.ReplaceAll(text, r.cfg.StateDir, "STATE")), "", "  "); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n\n")
	}
	testx.Golden(t, "docker.golden", b.String())
}

// TestWhatTheAdminAPIShows is the JSON behind docker mos volume ls, inspect,
// trash and snapshot.
func TestWhatTheAdminAPIShows(t *testing.T) {
	r := shown(t)
	var b strings.Builder
	for _, part := range []any{r.showAll(r.idx.all(inService)), r.showAll(r.idx.all(inTrash)), r.snapshots()} {
		text, err := json.MarshalIndent(part, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.ReplaceAll(string(text), r.cfg.StateDir, "STATE") + "\n")
	}
	testx.Golden(t, "admin.golden", b.String())
}

func TestMetricsAreSound(t *testing.T) {
	r := shown(t)
	got, err := r.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range got {
		names = append(names, m.GetName())
		if m.GetHelp() == "" || !strings.HasPrefix(m.GetName(), "mos_volume_") {
			t.Errorf("%s: %s", m.GetName(), m.GetHelp())
		}
	}
	want := []string{"mos_volume_size_bytes", "mos_volume_fs_used_bytes", "mos_volume_pool_data_ratio", "mos_volume_trashed", "mos_volume_known"}
	for _, w := range want {
		if !strings.Contains(strings.Join(names, " "), w) {
			t.Errorf("%s is missing in %v", w, names)
		}
	}
	if d := cmp.Diff(1, len(r.idx.all(inTrash))); d != "" {
		t.Error(d)
	}
}
