package control_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// measuring has hosts report what they use: another figure each time.
type measuring struct{ link.Controller }

func (m measuring) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	if r.Host != "h3" { // whose mosd is an older one
		r.Usage = &link.Usage{At: r.Sent, Host: api.Use{CPU: r.Seq, Memory: 7, Received: -1}}
		for _, s := range r.Sets {
			r.Usage.Sets = append(r.Usage.Sets, link.SetUsage{Name: s.Name, Use: api.Use{CPU: 3, Memory: 5, Received: -1, Sent: 2, Read: 1, Written: 4}})
		}
	}
	return m.Controller.Report(ctx, r)
}

// lines are of a page, in short.
func lines(p *api.Page[api.Measured]) (out []string) {
	for _, m := range p.Items {
		line := m.Host + " " + m.Set
		if m.Set == "" {
			line += fmt.Sprintf("%d sets", m.Sets)
		}
		if m.Use == nil {
			line += " unknown"
		}
		out = append(out, line)
	}
	return out
}

// TestUsageIsKeptByTheLeader: as hosts told it last, in memory only, and not of those that are
// lost or removed.
func TestUsageIsKeptByTheLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.speak = func(c link.Controller) link.Controller { return measuring{c} }
	r.lead("c1")
	web := service("acme-web", 3)
	web.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, MaxSkew: 1}}
	r.create(web)
	r.ready("acme-web")
	r.settled()
	c := r.controllers[0]
	usage := func(q api.MeasuredQuery) *api.Page[api.Measured] {
		p, err := c.Usage(t.Context(), q)
		must(t, err)
		return p
	}
	on := func(host string) string {
		for _, s := range r.sets() {
			if s.Spec.Host == host {
				return host + " " + s.Name
			}
		}
		t.Fatalf("no set is on %s", host)
		return ""
	}
	want := []string{"h1 1 sets", on("h1"), "h2 1 sets", on("h2"), "h3 1 sets unknown", on("h3") + " unknown"}
	testx.Eventually(t, patience, func() error {
		if got := lines(usage(api.MeasuredQuery{})); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
	for of, want := range map[string]string{api.OnlyHosts: "h1 1 sets", api.OnlySets: on("h1")} {
		if got := lines(usage(api.MeasuredQuery{Of: of, Host: "h1"})); !slices.Equal(got, []string{want}) {
			t.Errorf("only %s: %q, want %q", of, got, want)
		}
	}
	of := usage(api.MeasuredQuery{Host: "h1"}).Items
	if h := of[0]; h.Use.Memory != 7 || h.Use.Received != -1 || h.Capacity.CPU != 8000 || h.Given.CPU != 1000 || h.Given.Memory != 1<<30 || h.Measured.IsZero() {
		t.Errorf("the host is %+v, %+v", h, h.Use)
	}
	if s := of[1]; *s.Use != (api.Use{CPU: 3, Memory: 5, Received: -1, Sent: 2, Read: 1, Written: 4}) || s.Service != "acme-web" || s.Given.CPU != 1000 {
		t.Errorf("the set is %+v, %+v", s, s.Use)
	}
	// Figures change with each report, and nothing is written for that.
	had, err := state.All[api.Host](t.Context(), r.store, state.Page{})
	must(t, err)
	first := of[0].Use.CPU
	testx.Eventually(t, patience, func() error {
		if is := usage(api.MeasuredQuery{Host: "h1"}).Items[0].Use.CPU; is < first+5 {
			return fmt.Errorf("it is of report %d, and was of %d", is, first)
		}
		return nil
	})
	has, err := state.All[api.Host](t.Context(), r.store, state.Page{})
	must(t, err)
	if had.Revision != has.Revision {
		t.Errorf("the store went from revision %d to %d", had.Revision, has.Revision)
	}
	r.hosts["h1"].Kill()
	testx.Eventually(t, patience, func() error {
		_, kept := c.Heard()
		if got := usage(api.MeasuredQuery{Host: "h1"}); got.Items[0].Use != nil || !slices.Equal(kept, []string{"h2"}) {
			return fmt.Errorf("of the lost one: %q, kept of %q", lines(got), kept)
		}
		return nil
	})
	r.hosts["h2"].Kill()
	_, err = state.Edit(t.Context(), r.store, "h2", func(h *api.Host) error { h.Deleted = time.Now(); return nil })
	must(t, err)
	testx.Eventually(t, patience, func() error {
		if heard, kept := c.Heard(); !slices.Equal(heard, []string{"h1", "h3"}) || len(kept) > 0 {
			return fmt.Errorf("when one was removed: heard of %q, kept of %q", heard, kept)
		}
		return nil
	})
}

// TestUsageByPages: each is there once, in the order of hosts, whatever a page has.
func TestUsageByPages(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for _, name := range []string{"h1", "h1-a", "h1.b", "h2"} { // - and . come before the / of a place
		r.host(name)
	}
	r.lead("c1")
	r.create(service("acme-web", 6))
	r.create(service("acme", 2)) // which is of no tenant, as its sets are not
	r.ready("acme-web")
	r.ready("acme")
	c := r.controllers[0]
	all := func(q api.MeasuredQuery) (out []string) {
		for {
			p, err := c.Usage(t.Context(), q)
			must(t, err)
			if out = append(out, lines(p)...); p.Continue == "" {
				return out
			}
			if len(p.Items) != q.Limit {
				t.Fatalf("%+v: a page of %q", q, lines(p))
			}
			q.Continue = p.Continue
		}
	}
	count := func(lines []string, what string) (n int) {
		for _, l := range lines {
			if strings.Contains(l, what) {
				n++
			}
		}
		return n
	}
	for _, x := range []struct {
		q                api.MeasuredQuery
		hosts, web, acme int
	}{
		{api.MeasuredQuery{}, 4, 6, 2},
		{api.MeasuredQuery{Of: api.OnlyHosts}, 4, 0, 0},
		{api.MeasuredQuery{Of: api.OnlySets}, 0, 6, 2},
		{api.MeasuredQuery{Service: "acme-web"}, 0, 6, 0},
		{api.MeasuredQuery{Service: "acme"}, 0, 0, 2},
		{api.MeasuredQuery{Service: "none"}, 0, 0, 0},
		{api.MeasuredQuery{Tenant: "acme"}, 0, 6, 0},
		{api.MeasuredQuery{Tenant: "other"}, 0, 0, 0},
	} {
		whole := all(x.q)
		if h, w, a := count(whole, " sets"), count(whole, "acme-web-"), count(whole, " acme-")-count(whole, " acme-web-"); h != x.hosts || w != x.web || a != x.acme || len(whole) != h+w+a {
			t.Errorf("%+v: %q", x.q, whole)
		}
		for x.q.Limit = 1; x.q.Limit <= 13; x.q.Limit++ {
			if got := all(x.q); !slices.Equal(got, whole) {
				t.Errorf("%+v: %q, whole %q", x.q, got, whole)
			}
		}
	}
	r.lead("c2")
	if _, err := r.controllers[1].Usage(t.Context(), api.MeasuredQuery{}); !errdefs.IsUnavailable(err) {
		t.Errorf("one that does not lead: %v", err)
	}
}
