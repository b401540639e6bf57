package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Suite says whether a store on this etcd keeps its promises. It compacts the history.
func Suite(t *testing.T, etcd *clientv3.Client) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *state.Store)
	}{
		{"LifeOfAHost", lifeOfAHost},
		{"StaleChangesAreRefused", staleChanges},
		{"ListsAreOfOneRevision", listsAreOfOneRevision},
		{"EditsAreAllMade", editsAreAllMade},
		{"BatchesAreWhole", batchesAreWhole},
		{"ThingsHaveOneHolder", thingsHaveOneHolder},
		{"OnlyHoldersRelease", onlyHoldersRelease},
		{"NoWriteSkew", noWriteSkew},
		{"WatchMissesNothing", watchMissesNothing},
		{"WatchSaysWhatIsGone", func(t *testing.T, s *state.Store) { watchSaysWhatIsGone(t, s, etcd) }},
		{"FormerLeadersWriteNothing", formerLeadersWriteNothing},
		{"MembersExpire", membersExpire},
		{"HealthIsSeen", healthIsSeen},
		{"BadBatchesAreRefused", badBatches},
		{"BackupsAreWhole", backupsAreWhole},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t, etcd)) })
	}
}

// open opens a store with keys of its own.
func open(t *testing.T, etcd *clientv3.Client) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), etcd, state.Options{Prefix: "/" + t.Name() + "/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Host is a small resource.
func Host(name string) *api.Host {
	return &api.Host{Meta: api.Meta{Name: name}, Spec: api.HostSpec{Room: "r1"}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lifeOfAHost(t *testing.T, s *state.Store) {
	ctx := t.Context()
	h := Host("h1.example")
	h.Labels = map[string]string{"disk": "ssd"}
	must(t, s.Create(ctx, h))
	if h.UID == "" || h.Revision == 0 || h.Created.IsZero() || h.Generation != 1 {
		t.Errorf("a new host is not filled in: %+v", h.Meta)
	}
	got, err := state.Get[api.Host](ctx, s, "h1.example")
	must(t, err)
	if d := cmp.Diff(h, got); d != "" {
		t.Errorf("read back (-written +read):\n%s", d)
	}
	if err := s.Create(ctx, Host("h1.example")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a second one of the name: %v", err)
	}
	before := got.Revision
	got.Spec.Room = "r2"
	must(t, s.Update(ctx, got))
	if got.Revision <= before {
		t.Errorf("revision %d follows %d", got.Revision, before)
	}
	must(t, s.Delete(ctx, got))
	if _, err := state.Get[api.Host](ctx, s, "h1.example"); !errdefs.IsNotFound(err) {
		t.Errorf("deleted: %v", err)
	}
	if err := s.Update(ctx, got); !errdefs.IsNotFound(err) {
		t.Errorf("update of what is gone: %v", err)
	}
	again := Host("h1.example")
	must(t, s.Create(ctx, again))
	if again.UID == h.UID {
		t.Error("another host of the name has the same UID")
	}
}

func staleChanges(t *testing.T, s *state.Store) {
	ctx := t.Context()
	h := Host("h")
	must(t, s.Create(ctx, h))
	old := *h
	must(t, s.Update(ctx, h))
	for what, err := range map[string]error{"update": s.Update(ctx, &old), "delete": s.Delete(ctx, &old)} {
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), `host "h" was changed meanwhile`) {
			t.Errorf("%s of an old revision: %v", what, err)
		}
	}
	unread := Host("h")
	for what, err := range map[string]error{"update": s.Update(ctx, unread), "delete": s.Delete(ctx, unread)} {
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s of what was not read: %v", what, err)
		}
	}
	b := s.Batch(nil)
	b.Require(&old)
	b.Create(Host("other"))
	if _, err := b.Commit(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a batch that requires an old revision: %v", err)
	}
	if _, err := state.Get[api.Host](ctx, s, "other"); !errdefs.IsNotFound(err) {
		t.Errorf("it was made all the same: %v", err)
	}
}

func listsAreOfOneRevision(t *testing.T, s *state.Store) {
	ctx := t.Context()
	b := s.Batch(nil)
	for i := range 7 {
		b.Create(Host(fmt.Sprintf("h%d", i)))
	}
	revision, err := b.Commit(ctx)
	must(t, err)
	must(t, s.Create(ctx, &api.Operation{Meta: api.Meta{Name: "h9"}})) // of another kind
	var names []string
	page := state.Page{Limit: 3}
	for range 3 {
		l, err := state.All[api.Host](ctx, s, page)
		must(t, err)
		for _, h := range l.Items {
			names = append(names, h.Name)
			if h.Revision != revision {
				t.Errorf("%s is of revision %d, want %d", h.Name, h.Revision, revision)
			}
		}
		must(t, s.Create(ctx, Host(fmt.Sprintf("h%d-later", len(names)))))
		page.More = l.More
	}
	if got := strings.Join(names, " "); got != "h0 h1 h2 h3 h4 h5 h6" || page.More != "" {
		t.Errorf("three pages have %s, and more is %q", got, page.More)
	}
	whole, err := state.All[api.Host](ctx, s, state.Page{})
	must(t, err)
	if len(whole.Items) != 10 || whole.More != "" {
		t.Errorf("there are %d hosts, more is %q", len(whole.Items), whole.More)
	}
	past, err := state.All[api.Host](ctx, s, state.Page{At: revision})
	must(t, err)
	if len(past.Items) != 7 || past.Revision != revision {
		t.Errorf("at revision %d there were %d hosts", past.Revision, len(past.Items))
	}
	first, err := state.All[api.Host](ctx, s, state.Page{Limit: 1})
	must(t, err)
	for _, bad := range []string{"x", "e30", first.More[1:]} {
		if _, err := state.All[api.Host](ctx, s, state.Page{More: bad}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("page %q: %v", bad, err)
		}
	}
	if _, err := state.All[api.Service](ctx, s, state.Page{More: first.More}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a page of another kind: %v", err)
	}
}

func editsAreAllMade(t *testing.T, s *state.Store) {
	ctx := t.Context()
	must(t, s.Create(ctx, Host("h")))
	const editors, each = 8, 5
	var all sync.WaitGroup
	for range editors {
		all.Go(func() {
			for range each {
				if _, err := state.Edit(ctx, s, "h", func(h *api.Host) error {
					h.Spec.Overcommit.CPU++
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	h, err := state.Edit(ctx, s, "h", func(h *api.Host) error {
		h.Status.Health, h.UID, h.Generation = api.Healthy, "other", 99
		return nil
	})
	must(t, err)
	if h.Spec.Overcommit.CPU != editors*each || h.Generation != editors*each+1 || h.UID == "other" {
		t.Errorf("after %d edits: %+v", editors*each, h)
	}
	same, err := state.Edit(ctx, s, "h", func(*api.Host) error { return nil })
	must(t, err)
	if same.Revision != h.Revision {
		t.Error("an edit of nothing was written")
	}
	no := errors.New("no")
	if _, err := state.Edit(ctx, s, "h", func(*api.Host) error { return no }); !errors.Is(err, no) {
		t.Errorf("an edit that gives up: %v", err)
	}
}

func healthIsSeen(t *testing.T, s *state.Store) {
	h, err := s.Health(t.Context())
	must(t, err)
	leaders := 0
	for _, server := range h.Servers {
		if server.Err != nil || server.Size <= 0 || server.InUse <= 0 || server.Quota != 8<<30 || server.Version == "" {
			t.Errorf("%+v", server)
		}
		if server.Leader {
			leaders++
		}
	}
	if leaders != 1 || len(h.Alarms) > 0 {
		t.Errorf("%d of %d lead, alarms: %q", leaders, len(h.Servers), h.Alarms)
	}
}

func backupsAreWhole(t *testing.T, s *state.Store) {
	must(t, s.Create(t.Context(), Host("just-now")))
	path := filepath.Join(t.TempDir(), "backup")
	b, err := s.Backup(t.Context(), path)
	must(t, err)
	again, err := state.Verify(path)
	if err != nil || again != b {
		t.Errorf("made %+v, read %+v: %v", b, again, err)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(data, []byte("/"+t.Name()+"/v1/hosts/just-now")) {
		t.Error("what was acknowledged before is not in it")
	}
}
