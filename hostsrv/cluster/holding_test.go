package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/docker"
)

// shelf is an Engine that has images: by their ids, how many layers each has, -1 if it cannot say.
type shelf struct {
	mu     sync.Mutex // guards all below
	images map[string]int
	names  []string // more, of each
	asked  map[string]int
	gone   bool
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Api-Version", "1.47")
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // after the version
	part := strings.Split(path, "/")
	switch {
	case path == "images/json":
		var all []string
		for _, id := range slices.Sorted(maps.Keys(s.images)) {
			tags := append([]string{id + ":1"}, s.names...)
			all = append(all, fmt.Sprintf(`{"Id": %q, "RepoTags": ["%s"], "Size": 1}`, id, strings.Join(tags, `", "`)))
		}
		_, _ = io.WriteString(w, "["+strings.Join(all, ", ")+"]")
	case len(part) == 3 && part[2] == "json" && part[0] == "images":
		s.asked[part[1]]++
		if s.gone {
			panic(http.ErrAbortHandler) // as an Engine that is killed
		}
		n := s.images[part[1]]
		if n < 0 {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message": "no such layer"}`)
			return
		}
		var all []string
		for l := range n {
			all = append(all, fmt.Sprintf("%q", fmt.Sprint(part[1], "-", l)))
		}
		_, _ = io.WriteString(w, `{"RootFS": {"Layers": [`+strings.Join(all, ", ")+`]}}`)
	default: // containers, and the steps of a build
		_, _ = io.WriteString(w, "[]")
	}
}

func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// open serves it.
func (s *shelf) open(t *testing.T) *docker.Engine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "x.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	e, err := docker.Open("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = e.Close(), server.Close() })
	return e
}

// TestAnImageIsAskedAboutOnce: also one that has no layers, and one whose layers are more than are
// told; one about which the Engine fails, again when it has another image.
func TestAnImageIsAskedAboutOnce(t *testing.T) {
	s := &shelf{images: map[string]int{"a": 2, "bare": 0, "bad": -1, "huge": link.MostLayers}, asked: map[string]int{}, names: []string{strings.Repeat("x", link.MostName+1)}}
	e := s.open(t)
	holds := HoldsOf(func() (*docker.Engine, error) { return e, nil }, slog.New(slog.DiscardHandler))
	look := func(want string, asked ...string) {
		t.Helper()
		h, err := holds(t.Context())
		var all []string
		for _, i := range h.Images {
			all = append(all, fmt.Sprintf("%s=%d", strings.Join(i.Names, ","), len(i.Layers)))
		}
		got := strings.Join(all, " ")
		if got != want || err != nil {
			t.Errorf("it has %q, want %q; %v", got, want, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if now := slices.Sorted(maps.Keys(s.asked)); !slices.Equal(now, asked) {
			t.Errorf("it is asked about %q, want %q", now, asked)
		}
		clear(s.asked)
	}
	look("a:1=2 bad:1=0 bare:1=0", "a", "bad", "bare", "huge")
	look("a:1=2 bad:1=0 bare:1=0")
	s.set(func() { s.images["b"] = 1 })
	look("a:1=2 b:1=1 bad:1=0 bare:1=0", "b", "bad")
	s.set(func() { s.images["bad"] = 3; delete(s.images, "a") })
	look("b:1=1 bad:1=3 bare:1=0", "bad")

	// What an Engine that goes away did not say is asked when it is back, with the same images.
	s.set(func() { s.gone, s.images["c"] = true, 1 })
	if _, err := holds(t.Context()); !errdefs.IsUnavailable(err) {
		t.Errorf("of an Engine that is gone: %v", err)
	}
	s.set(func() { s.gone = false; clear(s.asked) })
	look("b:1=1 bad:1=3 bare:1=0 c:1=1", "c")
}

// TestNamesOfImagesAreBounded: an image with more tags than a report has room for is told by some of
// them, those after it not at all.
func TestNamesOfImagesAreBounded(t *testing.T) {
	s := &shelf{images: map[string]int{"a": 1, "b": 1}, asked: map[string]int{}}
	for i := range 20_000 {
		s.names = append(s.names, fmt.Sprintf("n:%05d", i))
	}
	e := s.open(t)
	h, err := HoldsOf(func() (*docker.Engine, error) { return e, nil }, slog.New(slog.DiscardHandler))(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Images) != 1 || len(h.Images[0].Names) != link.MostTags || h.Images[0].Names[0] != "a:1" {
		t.Errorf("%d images are told, want one by %d names: %.1000v", len(h.Images), link.MostTags, h.Images)
	}
}

// TestAnotherImageIsToldInAWhile, and another port at once.
func TestAnotherImageIsToldInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := configured(t, t.TempDir())
		is := link.Holding{}
		h.Holds(func(context.Context) (link.Holding, error) { return is, nil })
		const kept = -1
		look := func(want int, after time.Duration, change func()) {
			t.Helper()
			time.Sleep(after)
			change()
			h.lookHeld(t.Context())
			got := 0
			if r := h.Report(t.Context()); r.Holding != nil && r.Holding.Kept && r.Holding.Images == nil {
				got = kept
			} else if r.Holding != nil {
				got = len(r.Holding.Images)
			}
			if got != want {
				t.Errorf("it tells %d images, want %d", got, want)
			}
			h.Linked("c1", link.Lease{Epoch: 7}, nil)
		}
		image := func() { is.Images = append(slices.Clone(is.Images), link.Image{}) }
		look(1, 0, image)
		look(0, holdingEvery, image)
		look(0, holdingEvery, func() {})
		look(3, imagesEvery-2*holdingEvery, image)
		look(0, holdingEvery, image)
		look(kept, 0, func() { is.Ports = []string{"tcp/1"} })
		look(4, imagesEvery, func() {})
		look(0, 2*imagesEvery, func() {})
		look(kept, 0, func() { is.Ports = nil })
		h.Linked("", link.Lease{}, nil)
		look(4, 0, func() {})
	})
}
