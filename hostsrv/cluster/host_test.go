package cluster

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/hostsrv"
	hostapi "github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/hostsrv/names"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// wishes is what a supervisor would be told.
type wishes struct {
	cluster string
	all     map[string]hostsrv.Wish
	times   int
	told    map[string]hostsrv.Told
	trouble string
	known   chan struct{}
	changed chan struct{}
}

func (w *wishes) Cluster(mark string) { w.cluster = mark }
func (w *wishes) Wish(_ context.Context, cluster string, all map[string]hostsrv.Wish) {
	w.cluster, w.all, w.times = cluster, all, w.times+1
}
func (w *wishes) Told() map[string]hostsrv.Told                { return w.told }
func (w *wishes) Changed() <-chan struct{}                     { return w.changed }
func (w *wishes) Trouble() string                              { return w.trouble }
func (w *wishes) Known() <-chan struct{}                       { return w.known }
func (w *wishes) Note(context.Context, string, string, string) {}

func open(t *testing.T, dir string) (*Host, *wishes) {
	t.Helper()
	w := &wishes{changed: make(chan struct{}, 1), known: make(chan struct{})}
	close(w.known)
	cfg := Defaults()
	cfg.State, cfg.Name, cfg.Labels, cfg.Endpoints = dir, "h1", []string{"rack=k2"}, nil
	facts := func(context.Context) (api.HostStatus, error) { return api.HostStatus{Engine: "29.1"}, nil }
	h, err := Open(cfg, w, facts, func() (names.Engine, error) { return nil, errors.New("no Engine") }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h, w
}

// configured is a host whose configuration names the cluster's scheduler.
func configured(t *testing.T, dir string) (*Host, *wishes) {
	t.Helper()
	h, w := open(t, dir)
	h.cfg.Endpoints = []string{"unix:///nonexistent/s"}
	return h, w
}

func set(t *testing.T, options string) api.Template {
	t.Helper()
	s, err := spec.DecodePart(`{"CPU": 1, "MEM": "64m", "Containers": [{"Name": "app", "Image": "i:1", "Options": {"CPU": 80, "MEM": 70` + options + `}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	return api.Template{Set: s}
}

func assignment(t *testing.T, epoch, revision int64) link.Assignment {
	t.Helper()
	return link.Assignment{Cluster: "c1", Host: "h1", Epoch: epoch, Revision: revision, Sets: []link.Assigned{
		{Name: "web-1", UID: "u1", Service: "web", Generation: 3, Set: set(t, "")},
		{Name: "web-2", UID: "u2", Service: "web", Generation: 3, Set: set(t, ""), Stop: true},
		{Name: "web-3", UID: "u3", Service: "web", Generation: 3, Set: set(t, `, "EnvFiles": ["secret"]`)},
	}}
}

func TestStaleAssignmentsAreRefused(t *testing.T) {
	h, w := configured(t, t.TempDir())
	if err := h.Assign(t.Context(), assignment(t, 7, 9)); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*link.Assignment){
		"it is of epoch 6, revision 99, and the host has epoch 7, revision 9": func(a *link.Assignment) { a.Epoch, a.Revision = 6, 99 },
		"it is of epoch 7, revision 8,":                                       func(a *link.Assignment) { a.Revision = 8 },
		"it is of cluster c2, and this host is of cluster c1":                 func(a *link.Assignment) { a.Cluster, a.Epoch = "c2", 100 },
		`it is of host "h2"`:                                                  func(a *link.Assignment) { a.Host, a.Epoch = "h2", 100 },
	} {
		a := assignment(t, 7, 9)
		change(&a)
		a.Sets = nil
		if err := h.Assign(t.Context(), a); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
	if w.times != 1 || len(w.all) != 2 {
		t.Errorf("wished %d times, at last %+v", w.times, w.all)
	}
	if err := h.Assign(t.Context(), assignment(t, 8, 1)); err != nil {
		t.Error(err)
	}
}

func TestAssignmentsAreOnDiskBeforeTheyAreWished(t *testing.T) {
	dir := t.TempDir()
	h, w := configured(t, dir)
	if w.cluster != "" {
		t.Errorf("a new host is of %q", w.cluster)
	}
	machine := h.Report(t.Context()).Status.Machine
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.Assign(t.Context(), assignment(t, 7, 9)); err != nil {
		t.Fatal(err)
	}
	h, w = configured(t, dir)
	if w.cluster != "c1" || w.times != 0 {
		t.Errorf("after a restart: %+v", w)
	}
	h.fromDisk(t.Context())
	h.fromDisk(t.Context())
	if w.times != 1 || w.all["web-1"].UID != "u1" || w.all["web-1"].Set.Name != "web-1" || w.all["web-2"].Set != nil {
		t.Errorf("from disk: %+v", w)
	}
	r := h.Report(t.Context())
	if r.Epoch != 7 || r.Revision != 9 || r.Status.Machine != machine || len(machine) != 32 {
		t.Errorf("report %+v, machine was %s", r, machine)
	}
	// What cannot be kept is not done.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next := assignment(t, 7, 10)
	next.Sets = nil
	if err := h.Assign(t.Context(), next); err == nil || w.times != 1 {
		t.Errorf("got %v, wished %d times", err, w.times)
	}
}

func TestARecordOfALaterVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(`{"version": 2, "machine": "m", "new": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "run a newer one") {
		t.Errorf("got %v", err)
	}
}

func TestHowSetsAreReported(t *testing.T) {
	h, w := configured(t, t.TempDir())
	if err := h.Assign(t.Context(), assignment(t, 7, 9)); err != nil {
		t.Fatal(err)
	}
	w.told = map[string]hostsrv.Told{
		"web-1": {UID: "u1", Generation: 2, State: hostapi.Healing, Detail: "it fails\nthe old one serves"}, // lists have one line for it
		"web-2": {UID: "u2", Gone: true, State: hostapi.Stopped},
		"old-1": {UID: "u9", State: hostapi.Removing},
	}
	first := h.Report(t.Context())
	got := map[string]link.SetReport{}
	for _, s := range first.Sets {
		got[s.Name] = s
	}
	if s := got["web-1"]; s.Phase != api.Starting || s.Generation != 2 || s.Message != "it fails; the old one serves" || s.Since.IsZero() {
		t.Errorf("web-1: %+v", s)
	}
	if s := got["web-2"]; !s.Gone || s.Phase != api.Stopped {
		t.Errorf("web-2: %+v", s)
	}
	if s := got["web-3"]; s.Phase != api.Failed || s.Generation != 3 || !strings.Contains(s.Message, "EnvFiles") {
		t.Errorf("web-3: %+v", s)
	}
	if s := got["old-1"]; s.UID != "u9" || s.Phase != api.Running {
		t.Errorf("old-1: %+v", s)
	}
	time.Sleep(5 * time.Millisecond)
	w.told = map[string]hostsrv.Told{"web-1": {UID: "u1", Generation: 3, State: hostapi.Right, Ready: true}, "web-2": {UID: "u0", Gone: true}}
	second := h.Report(t.Context())
	for _, s := range second.Sets {
		switch s.Name {
		case "web-1":
			if s.Phase != api.Ready || s.Generation != 3 || !s.Since.After(got["web-1"].Since) {
				t.Errorf("web-1: %+v", s)
			}
		case "web-2":
			if s.Gone {
				t.Errorf("another web-2 is gone, and this one is told so: %+v", s)
			}
		case "web-3":
			if !s.Since.Equal(got["web-3"].Since) {
				t.Errorf("web-3 is failed since %v, not %v", got["web-3"].Since, s.Since)
			}
		}
	}
	if second.Seq != first.Seq+1 || second.Status.Labels["rack"] != "k2" || second.Boot == "" {
		t.Errorf("report %+v", second)
	}
}

// TestUsageIsReportedUntilALeaderHasIt: of each sample once, of this host and of its sets of the
// cluster, and no report is made for it.
func TestUsageIsReportedUntilALeaderHasIt(t *testing.T) {
	h, w := configured(t, t.TempDir())
	if err := h.Assign(t.Context(), assignment(t, 7, 9)); err != nil {
		t.Fatal(err)
	}
	<-h.Changed()
	told := map[string]hostsrv.Told{"web-1": {UID: "u1"}, "web-2": {UID: "u0"}}
	report := func() *link.Usage {
		w.told = maps.Clone(told) // which is the report's
		return h.Report(t.Context()).Usage
	}
	if u := report(); u != nil {
		t.Errorf("before anything is measured: %+v", u)
	}
	at := time.Now()
	measured := make(chan hostapi.Top)
	h.Usage(func() (hostapi.Top, bool) { top, ok := <-measured; return top, ok })
	sample := func() {
		at = at.Add(5 * time.Second)
		measured <- hostapi.Top{At: at, Uses: []hostapi.Use{
			{Scope: "host", Name: "h1", CPU: 1.2345, Memory: 1e9, Received: 10.6, Sent: 20, Read: -1, Written: 0},
			{Scope: "set", Name: "web-1", CPU: -1, Memory: 5, Received: -1, Sent: -1},
			{Scope: "set", Name: "web-2", CPU: 1},                         // another one of the name
			{Scope: "set", Name: "local", CPU: 1},                         // of nobody's cluster
			{Scope: "container", Name: "web-1.app", Set: "web-1", CPU: 9}, // of which nothing is told
		}}
	}
	h.Linked("https://c1:7443", link.Lease{}, nil)
	go h.measureAlways(t.Context())
	sample()
	var got *link.Usage
	testx.Eventually(t, 10*time.Second, func() error {
		if got = report(); got == nil {
			return errors.New("it is not reported")
		}
		return nil
	})
	want := &link.Usage{
		At: at.UTC().Truncate(time.Millisecond), Host: api.Use{CPU: 1235, Memory: 1e9, Received: 11, Sent: 20, Read: -1},
		Sets: []link.SetUsage{{Name: "web-1", Use: api.Use{CPU: -1, Memory: 5, Received: -1, Sent: -1}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got = report(); got == nil {
		t.Error("nobody answered, and it is not told again")
	}
	h.Linked("https://c1:7443", link.Lease{}, nil)
	if got = report(); got != nil {
		t.Errorf("it is told again: %+v", got)
	}
	h.Linked("", link.Lease{}, errors.New("gone"))
	if got = report(); got == nil {
		t.Error("the next leader is not told")
	}
	select {
	case <-h.Changed():
		t.Error("a report is made for it")
	default:
	}
}

// TestEachLeaderIsToldOfImagesOnce: and after a change, also by a process that led before.
func TestEachLeaderIsToldOfImagesOnce(t *testing.T) {
	h, _ := configured(t, t.TempDir())
	port := ""
	h.Holds(func(context.Context) (link.Holding, error) {
		return link.Holding{Ports: []string{port}}, nil
	})
	lease := link.Lease{Epoch: 7}
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "nothing"},
		{func() { port = "tcp/1"; h.lookHeld(t.Context()) }, "tcp/1"},
		{func() {}, "tcp/1"}, // nobody answered
		{func() { h.Linked("c1", lease, nil) }, "nothing"},
		{func() { h.lookHeld(t.Context()) }, "nothing"},
		{func() { port = "tcp/2"; h.lookHeld(t.Context()) }, "tcp/2"},
		{func() { h.Linked("c1", lease, nil) }, "nothing"},
		{func() { h.Linked("", link.Lease{}, errors.New("gone")) }, "tcp/2"},
		{func() { h.Linked("c1", lease, nil) }, "nothing"},
		{func() { lease.Epoch = 8; h.Linked("c1", lease, nil) }, "tcp/2"},
		{func() { h.Linked("c1", lease, nil) }, "nothing"},
	} {
		step.do()
		told := "nothing"
		if r := h.Report(t.Context()); r.Holding != nil {
			told = r.Holding.Ports[0]
		}
		if told != step.want {
			t.Errorf("report %d tells of %s, want %s", i, told, step.want)
		}
	}
}

func TestLeave(t *testing.T) {
	h, w := configured(t, t.TempDir())
	if err := h.Leave(t.Context(), true); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("of no cluster: %v", err)
	}
	if err := h.Assign(t.Context(), assignment(t, 7, 9)); err != nil {
		t.Fatal(err)
	}
	h.cfg.Endpoints = nil
	if err := h.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "has 2 sets here") {
		t.Errorf("with sets: %v", err)
	}
	if err := errors.Join(h.Leave(t.Context(), true)); err != nil || w.cluster != "" || w.all != nil || h.Status().Cluster != "" {
		t.Errorf("%v, %+v, %+v", err, w, h.Status())
	}
	// The stream of the cluster's link may end a moment later.
	if err := h.Assign(t.Context(), assignment(t, 7, 10)); !errdefs.IsFailedPrecondition(err) || w.cluster != "" || h.Status().Cluster != "" {
		t.Errorf("after it left, the cluster gives it an assignment: %v, %+v", err, w)
	}
}

// TestAHostIsSilentUntilItKnows whether there is trouble, for a while: its first report says that.
func TestAHostIsSilentUntilItKnows(t *testing.T) {
	for known, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: knownLimit} {
		synctest.Test(t, func(t *testing.T) {
			h, w := configured(t, t.TempDir())
			w.known = make(chan struct{})
			log := tried{slog.DiscardHandler, make(chan time.Time, 1)}
			h.log = slog.New(log)
			ctx, end := context.WithCancel(t.Context())
			var work sync.WaitGroup
			begun := time.Now()
			work.Go(func() { h.Run(ctx) })
			work.Go(func() {
				select {
				case <-time.After(known):
					close(w.known)
				case <-ctx.Done():
				}
			})
			if took := (<-log.at).Sub(begun); took != want {
				t.Errorf("it is known after %v, and the cluster was asked for after %v, want %v", known, took, want)
			}
			end()
			work.Wait()
		})
	}
}

// tried tells when the link was tried first.
type tried struct {
	slog.Handler
	at chan time.Time
}

func (l tried) Enabled(context.Context, slog.Level) bool { return true }

func (l tried) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "not linked" {
		select {
		case l.at <- time.Now():
		default:
		}
	}
	return nil
}
