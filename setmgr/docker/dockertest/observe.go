package dockertest

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Observe implements [setmgr.Engine]. The fake sees its own processes: it knows who
// is stranded.
func (f *Fake) Observe(ctx context.Context, set string, want *spec.Set) (o plan.Observed, err error) {
	o = plan.Observed{Taken: map[string]string{}, Networks: map[string]bool{}, Volumes: map[string]bool{}, Images: map[string]string{}, Checked: map[string]bool{}}
	err = f.ask(ctx, func() error {
		o.Facts = f.facts
		for _, v := range slices.Sorted(maps.Keys(f.volumes)) {
			if f.volumes[v] == set {
				o.Left = append(o.Left, v)
			}
		}
		for _, b := range f.boxes {
			switch c := f.seen(b); {
			case set == "" || render.Owner(b.config.Labels, b.name) != set:
			case c.Member == "":
				o.Infra = &c
			default:
				o.Members = append(o.Members, c)
			}
		}
		if want != nil {
			f.look(*want, &o)
		}
		return nil
	})
	return o, err
}

// look looks for what a set names.
func (f *Fake) look(s spec.Set, o *plan.Observed) {
	names, images := []string{render.InfraName(s.Name)}, []string{s.Infra.Image}
	for _, c := range s.Containers {
		names, images = append(names, render.MemberName(s.Name, c.Name)), append(images, c.Image)
	}
	for _, n := range names {
		if b := f.byID(n); b != nil && render.Owner(b.config.Labels, b.name) != s.Name {
			o.Taken[n] = b.id
		}
	}
	for _, ref := range images {
		if i, there := f.store[ref]; there {
			o.Images[ref], o.Checked[ref] = i.ID, len(i.Health) > 0
		}
	}
	for _, n := range append([]spec.Network{s.Network}, s.Networks...) {
		if f.networks[n.Name] {
			o.Networks[n.Name] = true
		}
	}
	v := render.Volume(s)
	if _, there := f.volumes[v]; there {
		o.Volumes[v] = true
	}
}

func (f *Fake) seen(b *box) plan.Container {
	l := b.config.Labels
	c := plan.Container{
		ID: b.id, Name: b.name, Member: l[label.Member], Hash: l[label.Hash], Spec: l[label.Spec], History: l[label.History], Cluster: l[label.Cluster], Owner: l[label.Owner],
		Image: b.config.Image, ImageID: b.image.ID, State: b.state, ExitCode: b.code, Failed: b.failed, Health: b.health(),
		Started: b.started, Finished: b.finished, Created: b.created, Restarts: b.restarts, PID: b.pid, NetOf: b.netOf, Stranded: f.stranded(b),
		Restart: b.policy(), Unnamed: slices.Clone(b.unnamed), Limits: b.limits(), Nano: b.host.NanoCPUs > 0, Nets: maps.Clone(b.nets),
	}
	c.Index, _ = strconv.Atoi(l[label.Index]) // an infra container has none
	c.Rev, _ = strconv.Atoi(l[label.Rev])
	return c
}

func (f *Fake) stranded(b *box) bool {
	donor := f.byID(b.netOf)
	return b.state == plan.Running && donor != nil && donor.state == plan.Running && donor.ns != b.ns
}

// Clustered does as Clustered of package docker.
func (f *Fake) Clustered(ctx context.Context) (map[string]string, error) {
	marks := map[string]string{}
	return marks, f.ask(ctx, func() error {
		for _, b := range f.boxes {
			set, mark := render.Owner(b.config.Labels, b.name), b.config.Labels[label.Cluster]
			if set != "" && mark != "" {
				marks[set] = mark
			}
		}
		return nil
	})
}

// Sets implements [setmgr.Engine].
func (f *Fake) Sets(ctx context.Context) (names []string, err error) {
	err = f.ask(ctx, func() error {
		for _, b := range f.boxes {
			if s := render.Owner(b.config.Labels, b.name); s != "" {
				names = append(names, s)
			}
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names), err
}
