package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestHistoryIsKept: containers tell what they were before, over updates of every
// strategy and over a new infra; each revision can be had again.
func TestHistoryIsKept(t *testing.T) {
	w, s := newWorld(), web(t)
	w.up(t, s)
	s.Containers[0].Image = "shop/app:42"
	w.up(t, s)
	s.Containers[0].Options.Env, s.Containers[0].Options.Update.Strategy = map[string]string{"A": "1"}, spec.Overlap
	w.up(t, s)
	s.Network.IP = "10.9.0.22"
	p, err := Up(s, w.seen(), Options{InfraImage: "mos-infra:1", Recreate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.run(p, 0); err != nil {
		t.Fatal(err)
	}
	s.CPU = 2
	w.up(t, s)
	var said strings.Builder
	for _, r := range History("web", w.seen()) {
		fmt.Fprintf(&said, "%s %d %s %v: %s\n", r.Member, r.Rev, r.Image(), r.Current, r.Change)
	}
	want := `app 4 shop/app:42 true: another Env
app 2 shop/app:42 false: image shop/app:42, was shop/app:41
app 1 shop/app:41 false: 
cache 2 redis:8 true: 
log 2 shop/log:7 true: 
`
	if said.String() != want {
		t.Errorf("got\n%s, want\n%s", &said, want)
	}
	now, err := Spec(w.seen(), "web")
	if err != nil {
		t.Fatal(err)
	}
	for rev, image := range map[int]string{0: "shop/app:42", 2: "shop/app:42", 1: "shop/app:41"} {
		c, r, err := Revert(now, w.seen(), "app", rev)
		if err != nil || c.Image != image || len(c.Options.Env) > 0 || c.Options.CPU != 60 || c.Options.Update.Strategy != spec.Overlap || r.ImageID != "sha256:"+image {
			t.Errorf("revision %d is %+v of %s, %v", rev, c, r.ImageID, err)
		}
	}
	for member, rev := range map[string]int{"app": 3, "cache": 0, "nobody": 0} {
		if _, _, err := Revert(now, w.seen(), member, rev); !errdefs.IsNotFound(err) {
			t.Errorf("revision %d of %s: %v", rev, member, err)
		}
	}
}

// TestHistoryHasAnEnd: a label holds so many revisions, in so many bytes.
func TestHistoryHasAnEnd(t *testing.T) {
	for _, tt := range []struct{ pad, want int }{{0, historyLength}, {historyBytes / 4, 3}} {
		w, s := newWorld(), web(t)
		s.Containers[1].Options.Env = map[string]string{"PAD": strings.Repeat("x", tt.pad)}
		for i := range historyLength + 3 {
			s.Containers[1].Image = fmt.Sprint("redis:", i)
			w.up(t, s)
		}
		var of []Revision
		for _, c := range w.o.Members {
			if c.Member == "cache" {
				of = c.past()
				if len(c.History) > historyBytes {
					t.Errorf("a label of %d bytes", len(c.History))
				}
			}
		}
		if len(of) != tt.want || of[0].Rev != historyLength+2 {
			t.Errorf("with %d bytes each: %d revisions, want %d; the first is %d", tt.pad, len(of), tt.want, of[0].Rev)
		}
	}
}
