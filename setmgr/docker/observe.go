package docker

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Observe finds what there is of a set, and of what want, unless nil, names. All
// questions are asked at once.
func (e *Engine) Observe(ctx context.Context, set string, want *spec.Set) (plan.Observed, error) {
	o := plan.Observed{Taken: map[string]string{}, Networks: map[string]bool{}, Volumes: map[string]bool{}, Drivers: map[string]string{}, Sizes: map[string]spec.Bytes{}, Checked: map[string]bool{}, Images: map[string]string{}}
	var asked questions
	asked.ask(func() (err error) { o.Facts, err = e.facts(ctx); return err })
	var all []plan.Container
	var other map[string]string
	asked.ask(func() (err error) { all, other, err = e.containers(ctx, set); return err })
	asked.ask(func() (err error) { o.Left, err = e.volumes(ctx, set); return err })
	if want != nil {
		e.askFor(ctx, &asked, *want, &o)
	}
	if err := asked.wait(); err != nil {
		return o, err
	}
	for _, c := range all {
		if c.Member == "" {
			o.Infra = &c
		} else {
			o.Members = append(o.Members, c)
		}
	}
	if want != nil {
		for _, name := range names(*want) {
			if id, taken := other[name]; taken {
				o.Taken[name] = id
			}
		}
	}
	e.strand(&o)
	return o, nil
}

// volumes are those that were made for a set.
func (e *Engine) volumes(ctx context.Context, set string) ([]string, error) {
	out, err := e.c.VolumeList(ctx, client.VolumeListOptions{Filters: make(client.Filters).Add("label", label.Set+"="+set)})
	if err != nil {
		return nil, e.told(ctx, err)
	}
	var names []string
	for _, v := range out.Items {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names, nil
}

// names are those of the containers that a set wants.
func names(s spec.Set) []string {
	out := []string{render.InfraName(s.Name)}
	for _, c := range s.Containers {
		out = append(out, render.MemberName(s.Name, c.Name))
	}
	return out
}

// questions are asked at once; what they find is kept apart by mu.
type questions struct {
	wg   sync.WaitGroup
	mu   sync.Mutex // guards errs, and the maps that answers go into
	errs []error
}

func (q *questions) ask(f func() error) {
	q.wg.Go(func() {
		if err := f(); err != nil {
			q.mu.Lock()
			defer q.mu.Unlock()
			// An Engine that is absent gives one answer to all.
			if !slices.ContainsFunc(q.errs, func(e error) bool { return e.Error() == err.Error() }) {
				q.errs = append(q.errs, err)
			}
		}
	})
}

func (q *questions) wait() error {
	q.wg.Wait()
	return errors.Join(q.errs...)
}

// askFor asks for the images, networks and volumes of a set.
func (e *Engine) askFor(ctx context.Context, q *questions, s spec.Set, o *plan.Observed) {
	note := func(err error, found func()) error {
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err == nil {
			q.mu.Lock()
			defer q.mu.Unlock()
			found()
		}
		return err
	}
	images := []string{cmp.Or(s.Infra.Image, infra.Reference)}
	for _, c := range s.Containers {
		images = append(images, c.Image)
	}
	slices.Sort(images)
	for _, ref := range slices.Compact(images) { // an Engine takes its time for each
		q.ask(func() error {
			if ref == "" {
				return nil
			}
			i, err := e.c.ImageInspect(ctx, ref)
			return note(err, func() {
				o.Images[ref] = i.ID
				if i.Config != nil && i.Config.Healthcheck != nil {
					test := i.Config.Healthcheck.Test
					o.Checked[ref] = len(test) > 0 && test[0] != "NONE"
				}
			})
		})
	}
	for _, n := range append([]spec.Network{s.Network}, s.Networks...) {
		q.ask(func() error {
			if n.Name == "" {
				return nil
			}
			_, err := e.c.NetworkInspect(ctx, n.Name, client.NetworkInspectOptions{})
			return note(err, func() { o.Networks[n.Name] = true })
		})
	}
	if v := render.Volume(s); v != "" {
		q.ask(func() error {
			in, err := e.c.VolumeInspect(ctx, v, client.VolumeInspectOptions{})
			return note(err, func() {
				o.Volumes[v], o.Drivers[v] = true, in.Volume.Driver
				if n, ok := in.Volume.Status["bytes"].(float64); ok && n > 0 { // as mos-lvm tells it
					o.Sizes[v] = spec.Bytes(n)
				}
			})
		})
	}
}

// containers are those of a set, and the names of all others with their ids.
func (e *Engine) containers(ctx context.Context, set string) (ours []plan.Container, other map[string]string, err error) {
	out, err := e.c.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, nil, e.told(ctx, err)
	}
	other = map[string]string{}
	var ids []string
	for _, c := range out.Items {
		if set != "" && owner(c) == set {
			ids = append(ids, c.ID)
			continue
		}
		for _, n := range c.Names {
			other[strings.TrimPrefix(n, "/")] = c.ID
		}
	}
	found := make([]*plan.Container, len(ids))
	var q questions
	for i, id := range ids {
		q.ask(func() error {
			in, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
			if errdefs.IsNotFound(err) {
				return nil // it went away meanwhile
			}
			if err == nil {
				c := containerOf(in.Container)
				found[i] = &c
			}
			return err
		})
	}
	err = q.wait()
	for _, c := range found {
		if c != nil {
			ours = append(ours, *c)
		}
	}
	return ours, other, err
}

// owner is the set that a container is of. Names with a second slash are those that
// others have for it.
func owner(c container.Summary) string {
	for _, n := range c.Names {
		if set := render.Owner(c.Labels, strings.TrimPrefix(n, "/")); set != "" {
			return set
		}
	}
	return ""
}

func containerOf(in container.InspectResponse) plan.Container {
	l := in.Config.Labels
	c := plan.Container{
		ID: in.ID, Name: strings.TrimPrefix(in.Name, "/"), Member: l[label.Member], Hash: l[label.Hash], Spec: l[label.Spec], History: l[label.History], Cluster: l[label.Cluster], Owner: l[label.Owner],
		Image: in.Config.Image, ImageID: in.Image, Restarts: in.RestartCount, Created: when(in.Created), Nets: map[string]plan.Net{},
	}
	c.Index, _ = strconv.Atoi(l[label.Index]) // an infra container has none
	c.Rev, _ = strconv.Atoi(l[label.Rev])
	if s := in.State; s != nil {
		c.State, c.ExitCode, c.Failed, c.OOM, c.PID, c.Started = plan.State(s.Status), s.ExitCode, s.Error, s.OOMKilled, s.Pid, when(s.StartedAt)
		c.Finished = when(s.FinishedAt)
		if s.Health != nil && s.Health.Status != container.NoHealthcheck {
			c.Health = string(s.Health.Status)
		}
	}
	if h := in.HostConfig; h != nil {
		c.Limits, c.Nano = limits(h.Resources), h.NanoCPUs > 0
		c.Restart = string(h.RestartPolicy.Name)
		if h.RestartPolicy.MaximumRetryCount > 0 {
			c.Restart += ":" + strconv.Itoa(h.RestartPolicy.MaximumRetryCount)
		}
		if c.Restart == "" {
			c.Restart = "no"
		}
		if rest, shared := strings.CutPrefix(string(h.NetworkMode), "container:"); shared {
			c.NetOf = rest
		}
	}
	for _, m := range in.Mounts {
		if m.Type == mount.TypeVolume && unnamed(m.Name) {
			c.Unnamed = append(c.Unnamed, m.Destination)
		}
	}
	if in.NetworkSettings != nil {
		for name, n := range in.NetworkSettings.Networks {
			net := plan.Net{ID: n.NetworkID, MAC: n.MacAddress.String()}
			if n.IPAddress.IsValid() {
				net.IP = n.IPAddress.String()
			}
			if n.GlobalIPv6Address.IsValid() {
				net.IP6 = n.GlobalIPv6Address.String()
			}
			c.Nets[name] = net
		}
	}
	return c
}

// unnamed says whether a volume has a name that the Engine made up.
func unnamed(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

func limits(r container.Resources) plan.Limits {
	l := plan.Limits{MEM: spec.Bytes(max(0, r.Memory))}
	switch {
	case r.NanoCPUs > 0:
		l.CPU = spec.Cores(float64(r.NanoCPUs) / 1e9)
	case r.CPUQuota > 0:
		period := r.CPUPeriod
		if period == 0 {
			period = plan.Period
		}
		l.CPU = spec.Cores(float64(r.CPUQuota) / float64(period))
	}
	return l
}

func when(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s) // never is the zero time
	return t
}

// strand marks members that run in another network namespace than the infra does
// now, if that can be seen from here.
func (e *Engine) strand(o *plan.Observed) {
	if !e.Local || o.Infra == nil || o.Infra.State != plan.Running {
		return
	}
	own, err := os.Readlink(netns(o.Infra.PID))
	if err != nil {
		return // not of this PID namespace, or gone
	}
	for i := range o.Members {
		c := &o.Members[i]
		if c.State != plan.Running {
			continue
		}
		if ns, err := os.Readlink(netns(c.PID)); err == nil {
			c.Stranded = ns != own
		}
	}
}

func netns(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }
