package hostsrv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// wish is that of a set named web, of an image of app.
func wish(t *testing.T, uid string, generation int64, image string) map[string]hostsrv.Wish {
	t.Helper()
	s, err := spec.Decode("web.json", []byte(strings.Replace(fmt.Sprintf(web, ""), "app:1", image, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]hostsrv.Wish{"web": {Set: s, UID: uid, Generation: generation}}
}

// tells waits until a set of the cluster is told of in a way.
func (h host) tells(t *testing.T, name string, want func(hostsrv.Told) bool) {
	t.Helper()
	testx.Eventually(t, 15*time.Second, func() error {
		got, there := h.s.Told()[name]
		if !there || !want(got) {
			return fmt.Errorf("%s: %+v in\n%s", name, got, h.f)
		}
		return nil
	})
}

func ready(uid string, generation int64) func(hostsrv.Told) bool {
	return func(t hostsrv.Told) bool { return t.Ready && !t.Gone && t.UID == uid && t.Generation == generation }
}

// TestAClusterHasItsSets: they are made, changed in place, and removed; and a new daemon
// goes on with what it is told.
func TestAClusterHasItsSets(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.Keep = "declared"
	f := newFake()
	f.Publish(dockertest.Image{Ref: "app:2"})
	h := start(t, f, cfg)
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
	h.is(t, api.Right, appRuns, logRuns)
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 2, "app:2"))
	h.tells(t, "web", ready("u1", 2))
	h.is(t, api.Right, "container web.app sha256:app:2 running", logRuns)
	h.end()
	h = start(t, f, cfg)
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 2, "app:2"))
	h.tells(t, "web", ready("u1", 2))
	gone := wish(t, "u1", 2, "app:2")
	gone["web"] = hostsrv.Wish{UID: "u1"}
	h.s.Wish(t.Context(), "c1", gone)
	h.tells(t, "web", func(t hostsrv.Told) bool { return t.Gone && t.UID == "u1" })
	if have := f.String(); strings.Contains(have, "container web.") {
		t.Errorf("left:\n%s", have)
	}
}

// TestWhyAClustersSetFailsIsTold: with the generation that it fails at, or nobody hears of it.
func TestWhyAClustersSetFailsIsTold(t *testing.T) {
	t.Parallel()
	f := newFake()
	h := start(t, f, settings(t))
	fails := func(generation int64) func(hostsrv.Told) bool {
		return func(t hostsrv.Told) bool {
			return t.State == api.Failing && !t.Ready && t.Generation == generation && strings.Contains(t.Detail, "none:1")
		}
	}
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "none:1"))
	h.tells(t, "web", fails(1))
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 2, "app:1"))
	h.tells(t, "web", ready("u1", 2))
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 3, "none:1"))
	h.tells(t, "web", fails(3))
	testx.Eventually(t, 15*time.Second, func() error { // while it is tried again, too
		if got := h.s.Told()["web"]; !fails(3)(got) {
			t.Fatalf("told is %+v", got)
		}
		if n := h.s.Status().Sets[0].Failures; n < 3 {
			return fmt.Errorf("tried %d times", n)
		}
		return nil
	})
}

// TestOldSetsGoBeforeOthersStart: also one whose name is wanted for another.
func TestOldSetsGoBeforeOthersStart(t *testing.T) {
	t.Parallel()
	f := newFake()
	h := start(t, f, settings(t))
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
	h.end()
	h = start(t, f, settings(t))
	next := wish(t, "u2", 1, "app:1")
	other := *next["web"].Set
	other.Name = "db"
	next["db"] = hostsrv.Wish{Set: &other, UID: "u3", Generation: 1}
	calls := len(f.Calls())
	h.s.Wish(t.Context(), "c1", next)
	h.tells(t, "web", ready("u2", 1))
	h.tells(t, "db", ready("u3", 1))
	order := f.Calls()[calls:]
	last := slices.IndexFunc(order, func(s string) bool { return strings.HasPrefix(s, "remove") && strings.Contains(s, "web.infra") })
	first := slices.IndexFunc(order, func(s string) bool { return strings.HasPrefix(s, "create") })
	if last < 0 || first < last {
		t.Errorf("old ones go first, not %q", order)
	}
}

// TestOwnSetsTakeOfTheHost: what a cluster has here does not count, what was stopped neither.
func TestOwnSetsTakeOfTheHost(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Publish(dockertest.Image{Ref: "app:2"})
	h := start(t, f, settings(t))
	own := func(want plan.Limits) {
		t.Helper()
		testx.Eventually(t, 15*time.Second, func() error {
			if got := h.s.Own(); got != want {
				return fmt.Errorf("own sets take %+v, want %+v", got, want)
			}
			return nil
		})
	}
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
	own(plan.Limits{})
	for name, limits := range map[string]string{"whole": `"CPU": 2, "MEM": "1g"`, "parts": `"Network": {"Name": "none"}`} {
		s, err := spec.Decode("own.json", []byte(`{"Name": "`+name+`", `+limits+`, "Containers": [
			{"Name": "aa", "Image": "app:1", "Options": {"Cores": 0.5, "Memory": "256m"}}, {"Name": "bb", "Image": "app:2", "Options": {"Cores": 0.25, "Memory": "256m"}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		h.doTo(t, name, h.m.Up(*s, plan.Options{}), s)
	}
	own(plan.Limits{CPU: 2.75, MEM: 1536 << 20})
	h.doTo(t, "parts", h.m.Stop("parts"), nil)
	own(plan.Limits{CPU: 2, MEM: 1 << 30})
	h.doTo(t, "whole", h.m.Remove("whole", true, false), nil)
	own(plan.Limits{})
	if got := h.s.Told()["web"]; !got.Ready {
		t.Errorf("the cluster's set is %+v", got)
	}
}

// TestLocalSetsAreNotTheClusters: one of a wanted name stays as it is, and that is told.
func TestLocalSetsAreNotTheClusters(t *testing.T) {
	t.Parallel()
	h := start(t, newFake(), settings(t))
	h.up(t, "")
	h.is(t, api.Right, appRuns)
	before := h.f.String()
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", func(t hostsrv.Told) bool {
		return t.State == api.Failing && !t.Ready && t.Generation == 1 && strings.Contains(t.Detail, "is not of the cluster: docker set rm -f web")
	})
	h.s.Wish(t.Context(), "c1", nil)
	time.Sleep(2 * time.Second) // two looks
	if after := h.f.String(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	h.do(t, h.m.Remove("web", true, false), nil)
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
}

// TestASetOfAClusterThatWasNotHeardIsLeftAlone: it may be elsewhere by now.
func TestASetOfAClusterThatWasNotHeardIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFake()
	h := start(t, f, settings(t))
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
	h.end()
	if err := f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	h = start(t, f, settings(t), "c1")
	time.Sleep(2 * time.Second) // some looks
	if !strings.Contains(f.String(), "stranded") {
		t.Errorf("it was healed:\n%s", f)
	}
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
	h.is(t, api.Right, appRuns, logRuns)
}

// TestSetsOfAnotherClusterAreNotOurs and stay.
func TestSetsOfAnotherClusterAreNotOurs(t *testing.T) {
	t.Parallel()
	h := start(t, newFake(), settings(t))
	h.s.Wish(t.Context(), "c1", wish(t, "u1", 1, "app:1"))
	h.tells(t, "web", ready("u1", 1))
	h.s.Wish(t.Context(), "c2", nil)
	time.Sleep(2 * time.Second)
	h.is(t, api.Right, appRuns, logRuns)
}

// TestAnOldContainerServesUntilTheNewOneIsReady: when they overlap, in a cluster as by docker set up. An
// update that is taken back finds the old one as it was.
func TestAnOldContainerServesUntilTheNewOneIsReady(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Publish(dockertest.Image{Ref: "app:2"})
	h := start(t, f, settings(t))
	update := func(generation int64, image string) {
		s, err := spec.Decode("web.json", []byte(strings.Replace(fmt.Sprintf(web, `, "Ready": {"Exec": ["test", "-e", "/ok"]}, "Update": {"Strategy": "overlap"}`), "app:1", image, 1)))
		if err != nil {
			t.Fatal(err)
		}
		h.s.Wish(t.Context(), "c1", map[string]hostsrv.Wish{"web": {Set: s, UID: "u1", Generation: generation}})
	}
	getsReady := func(container string) {
		t.Helper()
		if _, _, err := f.Exec(t.Context(), container, []string{"touch", "/ok"}); err != nil {
			t.Fatalf("%v\n%s", err, f)
		}
	}
	stopped := func() bool {
		return slices.ContainsFunc(f.Calls(), func(call string) bool { return slices.Equal(strings.Fields(call)[:2], []string{"stop", "web.app"}) })
	}
	waits := api.Waiting + " app waits for its new container, which is to be ready"
	update(1, "app:1")
	h.is(t, api.Waiting, appRuns)
	getsReady("web.app")
	h.tells(t, "web", ready("u1", 1))

	update(2, "app:2")
	h.is(t, waits, appRuns, "container web.app.r2 sha256:app:2 running")
	h.tells(t, "web", func(t hostsrv.Told) bool { return !t.Ready && t.Generation == 2 })
	if err := f.Die("web.app.r2"); err != nil {
		t.Fatal(err)
	}
	h.is(t, waits, appRuns, "container web.app.r2 sha256:app:2 running")
	if stopped() {
		t.Fatalf("the old one was stopped before the new one was ready:\n%q", f.Calls())
	}
	update(3, "app:1")
	h.tells(t, "web", ready("u1", 3))
	if s := f.String(); strings.Contains(s, "app:2 running") || stopped() {
		t.Errorf("after the update was taken back: %q\n%s", f.Calls(), s)
	}

	update(4, "app:2")
	h.is(t, waits, appRuns, "sha256:app:2 running")
	getsReady("web.app.r2")
	h.tells(t, "web", ready("u1", 4))
	h.is(t, api.Right, "container web.app sha256:app:2 running", logRuns)
	if !slices.ContainsFunc(f.Calls(), func(call string) bool { return strings.HasPrefix(call, "stop web.app") }) {
		t.Errorf("nobody stopped the old one gracefully: %q", f.Calls())
	}
	if s := f.String(); strings.Contains(s, "sha256:app:1 running") {
		t.Errorf("the old one is there still:\n%s", s)
	}
}
