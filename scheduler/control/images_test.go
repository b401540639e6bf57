package control_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

const gib = 1 << 30

// shop is what a host tells that has the image, and that a container of its own is at port 8080.
func shop() *link.Holding {
	return &link.Holding{
		Images: []link.Image{{Names: []string{"shop/app:1"}, Layers: []link.Layer{{ID: "sha256:1", Bytes: gib}, {ID: "sha256:2", Bytes: gib}}}},
		Ports:  []string{"tcp/8080"},
	}
}

// TestSetsGoWhereTheirImageIs: also when another process has begun to lead, which hosts tell again.
func TestSetsGoWhereTheirImageIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, name := range []string{"h3", "h4"} {
		h := r.prepared(name)
		if name == "h3" {
			h.Holding = shop()
		}
		r.add(h)
	}
	stop := r.lead("c1")
	for i, name := range []string{"web", "shop"} {
		s := service(name, 1)
		r.create(s)
		r.ready(name)
		sets := r.sets()
		at := slices.IndexFunc(sets, func(s *api.SetInstance) bool { return s.Spec.Service == name })
		if on := sets[at].Spec.Host; on != "h3" {
			t.Errorf("under leader %d the set is on %s, and its image on h3", i+1, on)
		}
		if i == 0 {
			stop()
			r.lead("c2")
			testx.Eventually(t, patience, func() error {
				if !r.controllers[1].Leads() {
					return fmt.Errorf("c2 does not lead")
				}
				return r.explains(s, "h1", 2*gib)
			})
			if err := r.explains(s, "h3", 0); err != nil {
				t.Error(err)
			}
		}
	}
}

// explains compares what a host would have to pull.
func (r *rig) explains(s *api.Service, host string, want int64) error {
	c := r.controllers[len(r.controllers)-1]
	e, err := c.Explain(r.t.Context(), s, host, nil)
	if err != nil {
		return err
	}
	for _, b := range e.Best {
		if b.Host == host && b.Pull != e.Host.Pull {
			return fmt.Errorf("host %s would pull %d, and %d as one of the best", host, e.Host.Pull, b.Pull)
		}
	}
	if e.Best[0].Host != "h3" || e.Host.Pull != want {
		return fmt.Errorf("host %s would pull %d bytes, want %d; the best is %s", host, e.Host.Pull, want, e.Best[0].Host)
	}
	return nil
}

// TestPortsThatOthersHold: a set does not go where a container of its host has its port.
func TestPortsThatOthersHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	h := r.prepared("h1")
	h.Holding = shop()
	r.add(h)
	r.lead("c1")
	web := service("web", 1)
	web.Spec.Set.Ports = []string{"8080:80"}
	r.create(web)
	if e := r.happened("waits", "port rejects 1 (as h1: 8080/tcp)"); !strings.Contains(e.Spec.Text, "0 of 1 hosts fit") {
		t.Errorf("it says %q", e.Spec.Text)
	}
	e, err := r.controllers[0].Explain(t.Context(), web, "h1", nil)
	must(t, err)
	if len(e.Host.Reasons) != 1 || !strings.HasPrefix(e.Host.Reasons[0].Text, "port 8080/tcp is held by the host") {
		t.Errorf("the host's reasons are %+v", e.Host.Reasons)
	}
	r.edit("web", func(s *api.Service) { s.Spec.Set.Ports = []string{"8081:80"} })
	r.ready("web")
}

// telling has each host's reports say what it has.
type telling struct {
	link.Controller
	*atomic.Pointer[link.Holding]
}

func (c telling) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	if h := c.Load(); h != nil {
		r.Holding = h
	}
	return c.Controller.Report(ctx, r)
}

// TestAnUpdateKeepsItsPort: a set that has its port already is changed where it is, whoever else is
// said to have that. One that it asks for anew it does not get there.
func TestAnUpdateKeepsItsPort(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	var told atomic.Pointer[link.Holding]
	r.speak = func(c link.Controller) link.Controller { return telling{c, &told} }
	r.host("h1")
	r.lead("c1")
	web := service("web", 1)
	web.Spec.Set.Ports = []string{"127.0.0.1:8080:80"}
	r.create(web)
	r.ready("web")
	told.Store(&link.Holding{Ports: []string{"tcp/127.0.0.1:8080", "tcp/[::1]:8081"}})
	testx.Eventually(t, patience, func() error {
		e, err := r.controllers[0].Explain(t.Context(), web, "h1", nil)
		if err == nil && !strings.Contains(fmt.Sprint(e.Host.Reasons), "8080") {
			err = fmt.Errorf("the host's reasons are %+v", e.Host.Reasons)
		}
		return err
	})
	next := func(s *api.Service) { s.Spec.Set.Containers[0].Image = "shop/app:2" }
	forecast := *web
	forecast.Spec.Set.Containers = slices.Clone(web.Spec.Set.Containers)
	next(&forecast)
	if f, err := r.controllers[0].DryRun(t.Context(), &forecast, nil); err != nil || len(f.Updates) != 1 || f.Updates[0].Leaves != "" {
		t.Errorf("a dry run says %+v, %v", f, err)
	}
	r.edit("web", next)
	r.ready("web")
	r.edit("web", func(s *api.Service) { s.Spec.Set.Ports = []string{"127.0.0.1:8080:80", "127.0.0.1:8081:81"} })
	r.ready("web")
	if sets := r.sets(); len(sets) != 1 || sets[0].Spec.Host != "h1" {
		t.Errorf("the sets are %+v", sets)
	}
	r.edit("web", func(s *api.Service) { s.Spec.Set.Ports = []string{"127.0.0.1:8080:80", "8081:81"} })
	r.happened("leaves", "port 8081/tcp is held by the host")
}
