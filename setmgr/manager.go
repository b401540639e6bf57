package setmgr

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Manager runs sets on one Engine. Its verbs may run at once for different sets.
type Manager struct {
	Engine Engine
	// EngineID tells Engines apart, for Lock; "" locks nobody out.
	EngineID string
	// Cap is nil where the cgroup parents of sets cannot be written; NoCap says why.
	Cap   Cap
	NoCap string
	// Infra gives our image of infra containers, named InfraName, as docker load
	// takes it.
	Infra     func(arch string) (io.Reader, error)
	InfraName string
	Arch      func(context.Context) (string, error) // of the Engine
	// Auth gives the credentials for pulling an image, as the Engine API takes
	// them; nil is none.
	Auth func(image string) (string, error)
	// Grow grows a volume; nil where its driver cannot be reached.
	Grow func(ctx context.Context, volume string, size spec.Bytes) error
	// Unkept is why no mosd keeps the sets, "" when one does or may.
	Unkept string
	// Dial reaches into a set's network; nil where that is not possible.
	Dial Dial
	// Said is told how the steps go, from several goroutines; nil is nobody.
	Said func(Event)
}

func (m *Manager) say(e Event) {
	if m.Said != nil {
		m.Said(e)
	}
}

// Observe is what there is of a set now.
func (m *Manager) Observe(ctx context.Context, set string, want *spec.Set) (plan.Observed, error) {
	if want != nil && want.Infra.Image == "" {
		w := *want
		w.Infra.Image = m.InfraName // else nobody looks for it, and it is loaded again
		want = &w
	}
	o, err := m.Engine.Observe(ctx, set, want)
	if err != nil {
		return o, err
	}
	o.CanCap, o.Unkept = m.NoCap, m.Unkept
	if m.Cap == nil {
		return o, nil
	}
	o.Cap, o.HasCap, err = m.Cap.Read(ctx, render.Parent(o.Facts, set))
	return o, err
}

// Change is a verb: it plans on what is there.
type Change func(ctx context.Context, o plan.Observed) (plan.Plan, error)

// Up plans that a set is as its spec says.
func (m *Manager) Up(s spec.Set, opt plan.Options) Change {
	return func(_ context.Context, o plan.Observed) (plan.Plan, error) {
		opt.InfraImage = m.InfraName
		return plan.Up(s, o, opt)
	}
}

// Again plans that a set runs as its containers tell; with Heal what was stopped by
// docker set stop stays so.
func (m *Manager) Again(set string, opt plan.Options) Change {
	return func(ctx context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil {
			return plan.Plan{}, err
		}
		if opt.Heal && o.Infra.Restart == "no" {
			return plan.Plan{Set: set, Warnings: []string{"set " + set + " was stopped by hand: docker set start " + set + " starts it"}}, nil
		}
		opt.InfraImage, opt.Keep, opt.Owner = m.InfraName, but(s, nil), o.Owner()
		return m.upNow(ctx, s, opt)
	}
}

// upNow plans on what there is of all that s names.
func (m *Manager) upNow(ctx context.Context, s spec.Set, opt plan.Options) (plan.Plan, error) {
	o, err := m.Observe(ctx, s.Name, &s)
	if err != nil {
		return plan.Plan{}, err
	}
	return plan.Up(s, o, opt)
}

// Update plans that containers have other images; the rest of the set is as it is.
func (m *Manager) Update(set string, images map[string]string, renew bool) Change {
	return func(ctx context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil {
			return plan.Plan{}, err
		}
		for _, name := range slices.Sorted(maps.Keys(images)) {
			i := slices.IndexFunc(s.Containers, func(c spec.Container) bool { return c.Name == name })
			if i < 0 {
				return plan.Plan{}, plan.NoMember(s, name)
			}
			s.Containers[i].Image = images[name]
		}
		return m.upNow(ctx, s, plan.Options{InfraImage: m.InfraName, Owner: o.Owner(), Renew: renew, Down: o.Stopped(), Keep: but(s, slices.Collect(maps.Keys(images)))})
	}
}

// but are the members of a set but some.
func but(s spec.Set, some []string) (out []string) {
	for _, c := range s.Containers {
		if !slices.Contains(some, c.Name) {
			out = append(out, c.Name)
		}
	}
	return out
}

// Rollback plans that containers are again what they were at a revision, 0 the one
// before; limits stay as they are now. An image that is named otherwise by now is
// taken by its id; one that is gone is of class NotFound.
func (m *Manager) Rollback(set string, to map[string]int, renew bool) Change {
	return func(ctx context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil {
			return plan.Plan{}, err
		}
		ids := map[string]string{} // by container
		for _, name := range slices.Sorted(maps.Keys(to)) {
			c, rev, err := plan.Revert(s, o, name, to[name])
			if err != nil {
				return plan.Plan{}, err
			}
			i := slices.IndexFunc(s.Containers, func(c spec.Container) bool { return c.Name == name })
			s.Containers[i], ids[name] = c, rev.ImageID
		}
		if o, err = m.Observe(ctx, set, &s); err != nil {
			return plan.Plan{}, err
		}
		for i, c := range s.Containers {
			if id := ids[c.Name]; id != "" && o.Images[c.Image] != id {
				s.Containers[i].Image = id
			}
		}
		if err := s.Check(); err != nil {
			return plan.Plan{}, err
		}
		if o, err = m.Observe(ctx, set, &s); err != nil {
			return plan.Plan{}, err
		}
		for _, c := range s.Containers {
			if id := ids[c.Name]; c.Image == id && o.Images[id] == "" {
				return plan.Plan{}, fault.NotFound("image %s of container %s is not on this Engine any more: docker set update %s %s=IMAGE takes one that can be pulled", id, c.Name, set, c.Name)
			}
		}
		return plan.Up(s, o, plan.Options{InfraImage: m.InfraName, Owner: o.Owner(), Renew: renew, Down: o.Stopped(), Keep: but(s, slices.Collect(maps.Keys(to)))})
	}
}

// Share is what a container may use: a part of the set in percent, or an amount.
// 0 leaves what there is.
type Share struct {
	CPU, MEM float64 // percent
	Cores    spec.Cores
	Memory   spec.Bytes
}

// Reshare plans other limits of containers of a set, online.
func (m *Manager) Reshare(set string, to map[string]Share) Change {
	return func(_ context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil {
			return plan.Plan{}, err
		}
		for name, share := range to {
			i := slices.IndexFunc(s.Containers, func(c spec.Container) bool { return c.Name == name })
			if i < 0 {
				return plan.Plan{}, plan.NoMember(s, name)
			}
			opt := &s.Containers[i].Options
			if share.CPU > 0 || share.Cores > 0 {
				opt.CPU, opt.Cores = share.CPU, share.Cores
			}
			if share.MEM > 0 || share.Memory > 0 {
				opt.MEM, opt.Memory = share.MEM, share.Memory
			}
		}
		if err := s.Check(); err != nil {
			return plan.Plan{}, err
		}
		return plan.Resize(s, o, false)
	}
}

// Resize plans other limits of a set, and of its containers by their percents, and
// another size of its volume; 0 leaves what there is.
func (m *Manager) Resize(set string, to plan.Limits, volume spec.Bytes) Change {
	return func(_ context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil {
			return plan.Plan{}, err
		}
		if to.CPU == 0 {
			to.CPU = s.CPU
		}
		if to.MEM == 0 {
			to.MEM = s.MEM
		}
		if s, err = plan.Spec(o, set, to); err != nil {
			return plan.Plan{}, err
		}
		s.CPU, s.MEM = to.CPU, to.MEM
		if volume > 0 {
			if s.Volume == nil {
				return plan.Plan{}, fault.NotFound("set %s has no volume", set)
			}
			s.Volume.Size = volume
		}
		if err := s.Check(); err != nil {
			return plan.Plan{}, err
		}
		return plan.Resize(s, o, volume > 0)
	}
}

// Stop plans that a set is stopped, and stays so.
func (m *Manager) Stop(set string) Change {
	return func(_ context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		return plan.Stop(s, o), err
	}
}

// Restart plans that members are stopped and started, all without names.
func (m *Manager) Restart(set string, members ...string) Change {
	return func(_ context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil {
			return plan.Plan{}, err
		}
		return plan.Restart(s, o, members...)
	}
}

// Remove plans that nothing is left of a set but its volume; with volumes also that.
func (m *Manager) Remove(set string, force, volumes bool) Change {
	return func(_ context.Context, o plan.Observed) (plan.Plan, error) {
		s, err := plan.Spec(o, set)
		if err != nil && len(o.Members) == 0 && !o.HasCap && (!volumes || len(o.Left) == 0) {
			return plan.Plan{}, err
		}
		s.Name = set // what is left of it may not tell more
		return plan.Remove(s, o, force, volumes)
	}
}

// Plan observes and plans, and changes nothing. want names what to look for.
func (m *Manager) Plan(ctx context.Context, set string, want *spec.Set, c Change) (plan.Plan, error) {
	o, err := m.Observe(ctx, set, want)
	if err != nil {
		return plan.Plan{}, err
	}
	return c(ctx, o)
}

// Run takes the steps of a plan. When one fails, all members whose new container is
// not ready yet have their old one back; what else was done stays, and the same verb
// goes on from there.
func (m *Manager) Run(ctx context.Context, p plan.Plan) error {
	for _, s := range p.Steps {
		if s.Op == plan.Wait && s.Probe != nil && len(s.Probe.Exec) == 0 && m.Dial == nil {
			// Else that would show when the old container is down already.
			return fault.Later("container %s: probes by tcp and http reach into the set's network, which needs docker set to run as root on the Engine's host: use Ready.Exec or Health", render.MemberName(p.Set, s.Member))
		}
	}
	r, err := m.run(ctx, p)
	if err == nil {
		return nil
	}
	torn, stopped := r.torn()
	if len(torn) == 0 {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	o, oerr := m.Observe(ctx, p.Set, nil)
	if oerr != nil {
		return errors.Join(err, oerr)
	}
	back := plan.Undo(spec.Set{Name: p.Set}, o, stopped, torn...)
	if len(back.Steps) == 0 {
		return err
	}
	if _, uerr := m.run(ctx, back); uerr != nil {
		return errors.Join(err, uerr)
	}
	return errors.Join(err, fault.Conflict("the old container serves again"))
}

func (m *Manager) loadInfra(ctx context.Context) error {
	arch, err := m.Arch(ctx)
	if err != nil {
		return err
	}
	tar, err := m.Infra(arch)
	if err != nil {
		return err
	}
	return m.Engine.Load(ctx, tar)
}

func (m *Manager) growVolume(ctx context.Context, s plan.Step) error {
	if m.Grow == nil {
		return fault.Later("volume %s cannot be grown from here: do it on the Engine's host, by docker mos volume resize %s %s", s.Name, s.Name, s.Volume.Size)
	}
	return m.Grow(ctx, s.Name, s.Volume.Size)
}
