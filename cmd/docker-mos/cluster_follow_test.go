package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// answering is a client of a scheduler that answers by path.
func answering(t *testing.T, answers map[string]any) *client.Client {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			a = api.ProblemOf(http.StatusNotFound, "there is none")
		}
		_ = json.NewEncoder(w).Encode(a)
	}))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	cl, err := client.New(l.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestOneSetIsWatchedFromNow: not from its own last change, which the store may have forgotten.
func TestOneSetIsWatchedFromNow(t *testing.T) {
	var sets []*api.SetInstance
	for _, name := range []string{"web-1", "web-2"} {
		sets = append(sets, &api.SetInstance{Meta: api.Meta{Name: name, Revision: 7}, Spec: api.SetSpec{Service: "web", Host: "h1"}})
	}
	answers := map[string]any{
		"/v1/sets/web-1": sets[0],
		"/v1/sets":       api.Page[api.SetInstance]{Revision: 4711, Items: sets},
	}
	cl := answering(t, answers)
	got, revision, err := setsOf(t.Context(), cl, "web-1")
	if err != nil || len(got) != 1 || got[0].Name != "web-1" || revision != 4711 {
		t.Errorf("%d sets at revision %d, %v", len(got), revision, err)
	}
}

// TestStampsAreTakenOff: of lines, of none, of those longer than an Engine's pieces, however
// they are cut.
func TestStampsAreTakenOff(t *testing.T) {
	const at = "2026-11-29T02:03:04.00000000"
	stamp := func(n string) string { return at + n + "Z " }
	piece := strings.Repeat("x", longestPiece)
	in := stamp("1") + "one\n" + stamp("2") + "\n" + stamp("3") + piece + stamp("3") + piece + stamp("3") + "end of a long one\n" +
		stamp("4") + piece + "\n" + stamp("5") + "2026-01-01T00:00:00Z is a user's\n" + stamp("6") + "no end"
	plain := "one\n\n" + piece + piece + "end of a long one\n" + piece + "\n2026-01-01T00:00:00Z is a user's\nno end"
	for _, cut := range []int{1, 7, 31, 4096, len(in)} {
		for _, shown := range []bool{false, true} {
			var out bytes.Buffer
			s := &stamped{w: &out, shown: shown}
			for text := []byte(in); len(text) > 0; {
				n := min(cut, len(text))
				if wrote, err := s.Write(text[:n]); wrote != n || err != nil {
					t.Fatalf("in pieces of %d: wrote %d of %d: %v", cut, wrote, n, err)
				}
				text = text[n:]
			}
			want := plain
			if shown {
				want = in
			}
			if got := out.String(); got != want {
				t.Errorf("in pieces of %d, shown %v: %d bytes, want %d: %.200q", cut, shown, len(got), len(want), got)
			}
			if got := s.last.Format(time.RFC3339Nano); got+" " != stamp("5") { // the next one is cut off, as far as is known
				t.Errorf("in pieces of %d: the last time is %s", cut, got)
			}
			s.end()
			if got := s.last.Format(time.RFC3339Nano); got+" " != stamp("6") {
				t.Errorf("in pieces of %d: the last time is %s at the end", cut, got)
			}
		}
	}
}

// TestStampsOfAStreamThatBroke: the next one begins with a time again.
func TestStampsOfAStreamThatBroke(t *testing.T) {
	var out bytes.Buffer
	s := &stamped{w: &out}
	for _, text := range []string{"2026-11-29T02:03:04Z half of a li", "2026-11-29T02:03:05Z next\n", "2026-11-29T02:0", "2026-11-29T02:03:06Z last\n"} {
		s.begin()
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "half of a li\nnext\nlast\n"; got != want || s.last.Second() != 6 {
		t.Errorf("%q, %v; want %q", got, s.last, want)
	}
}

// TestTextWithoutStampsStays is of who writes none.
func TestTextWithoutStampsStays(t *testing.T) {
	var out bytes.Buffer
	s := &stamped{w: &out}
	const text = "a line that has no time in front\n\nand one\n"
	if _, err := s.Write([]byte(text)); err != nil || out.String() != text || !s.last.IsZero() {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestTheLastWordOfASet that is not ready is told to who waited in vain.
func TestTheLastWordOfASet(t *testing.T) {
	sets := []*api.SetInstance{
		{Meta: api.Meta{Name: "web-1"}, Status: api.SetStatus{Phase: api.Ready, Message: "fine"}},
		{Meta: api.Meta{Name: "web-2"}, Status: api.SetStatus{Phase: api.Starting, Message: "pull shop/none:1: not found"}},
	}
	ended, end := context.WithCancel(t.Context())
	end()
	cl := answering(t, map[string]any{"/v1/sets": api.Page[api.SetInstance]{Items: sets}})
	if got, want := lastWord(ended, cl, "web", "0 of 1 sets are ready"), "; web-2: pull shop/none:1: not found"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := lastWord(ended, cl, "web", "web-2 does not get ready: pull shop/none:1: not found"); got != "" {
		t.Errorf("said twice: %q", got)
	}
	if got := lastWord(ended, answering(t, nil), "web", ""); got != "" {
		t.Errorf("of one that does not answer: %q", got)
	}
}

// TestARefusedConnectionSaysWhatToDo is of a socket that nobody listens at any more.
func TestARefusedConnectionSaysWhatToDo(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	cl, err := client.New(socket, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = cl.Status(t.Context())
	var told *hintedError
	if err = clusterError(cl, err); !errors.As(err, &told) || !strings.Contains(told.hints[0], "systemctl start mos-scheduler") {
		t.Errorf("%v", err)
	}
}

// TestTheInfraIsNoCommand in the only container of a set.
func TestTheInfraIsNoCommand(t *testing.T) {
	set := &api.SetInstance{Meta: api.Meta{Name: "web-1"}, Spec: api.SetSpec{Set: api.Template{Set: spec.Set{Containers: []spec.Container{{Name: "app"}}}}}}
	if name, _, err := takeContainer(set, []string{"infra", "ps"}); err == nil || !strings.Contains(err.Error(), "name one of app") {
		t.Errorf("in %q: %v", name, err)
	}
	if name, rest, err := takeContainer(set, []string{"sh"}); err != nil || name != "app" || len(rest) != 1 {
		t.Errorf("in %q: %q, %v", name, rest, err)
	}
}
