package cgpersist

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/docker"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/near"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/setting"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// subject is a target with its cgroup.
type subject struct {
	target Target
	set    string // that it is, or is a container of
	path   string // "" while there is none
	unit   string // of systemd
	// starting says that the runtime is still at it. A property would have systemd put
	// its own device filter in the place of the runtime's, whose start fails then.
	starting bool
	spec     map[string]string // what a set's file gives it
	wants    []want
	fault    error // why it can have none
}

// want is one setting of a subject.
type want struct {
	name, value, source string
}

// subjects are all targets that have settings.
func (k *Keeper) subjects(found []cgroup.Found) []subject {
	here := k.here(found)
	for t := range k.want {
		if _, there := here[t]; !there {
			here[t] = subject{target: t, set: t.Set()}
		}
	}
	var out []subject
	for _, t := range slices.Sorted(maps.Keys(here)) {
		s := here[t]
		wants := maps.Clone(s.spec)
		if wants == nil {
			wants = map[string]string{}
		}
		maps.Copy(wants, k.want[t])
		for _, name := range slices.Sorted(maps.Keys(wants)) {
			source := api.CgroupBySpec
			if _, own := k.want[t][name]; own {
				source = api.CgroupByRecord
			}
			s.wants = append(s.wants, want{name, wants[name], source})
		}
		out = append(out, s)
	}
	paths := map[string]string{}
	for _, f := range found {
		paths[f.ID] = f.Path
	}
	return append(out, k.volumes(paths)...) // last: what somebody set by hand is for him to know
}

// here is what runs, by its target.
func (k *Keeper) here(found []cgroup.Found) map[Target]subject {
	out := map[Target]subject{}
	now := map[string]known{}
	for _, f := range found {
		c, ok := k.container(f.ID)
		if !ok {
			continue
		}
		now[f.ID] = c
		set := c.Labels[label.Set]
		scope, slice := unit(f.Path)
		own, whole := c.spec, map[string]string(nil)
		if c.Labels[label.Role] == label.RoleInfra {
			own, whole = nil, c.spec
		}
		out[Target(c.Name)] = subject{target: Target(c.Name), set: set, path: f.Path, unit: scope, starting: !c.Running, spec: own}
		if parent := parentOf(f.Path); set != "" && path.Base(parent) == path.Base(render.Parent(render.Facts{}, set)) {
			t := Target(setPrefix + set)
			if whole == nil {
				whole = out[t].spec // of the infra, which was before
			}
			out[t] = subject{target: t, set: set, path: parent, unit: slice, starting: !c.Running || out[t].starting, spec: whole}
		}
	}
	k.known = now
	return out
}

// container is what its Engine's files tell of one. They are read again when they
// change; those that are not there are of another Engine.
func (k *Keeper) container(id string) (known, bool) {
	stamp := k.cfg.Engine.Stamp(id)
	old, ok := k.known[id]
	if ok && (old.stamp == stamp || stamp == (docker.Stamp{})) {
		return old, true
	}
	c, err := k.cfg.Engine.Read(id)
	if err != nil {
		return old, ok // it is being written, or was never ours
	}
	now := known{Container: c, stamp: stamp, spec: old.spec}
	if !ok {
		now.spec = specOf(c.Labels)
	}
	return now, true
}

// specOf is what the file of a set gives one of its members, or by its infra the set as a
// whole, in the form of setting.Parse. Labels never change in a container's life.
func specOf(labels map[string]string) map[string]string {
	var settings map[string]string
	switch labels[label.Role] {
	case label.RoleMember:
		c, err := spec.DecodeContainer(labels[label.Spec])
		if err != nil {
			return nil // of a release that knows more: docker set tells it
		}
		settings = c.Options.Cgroup
	case label.RoleInfra:
		s, err := spec.DecodePart(labels[label.Spec])
		if err != nil {
			return nil // as above
		}
		settings = s.Cgroup
	}
	out := map[string]string{}
	for name, value := range settings {
		if v, err := setting.Parse(name, value); err == nil { // it was checked when it was made
			out[name] = v
		}
	}
	return out
}

// resolve is the target that a user means: the name of a container, its id or a
// beginning of that, or set/NAME. It must be known to the Engine, or have settings.
func (k *Keeper) resolve(ref string) (Target, error) {
	t := Target(strings.TrimPrefix(ref, "container/"))
	if err := t.valid(); err != nil {
		return t, err
	}
	if k.want[t] != nil {
		return t, nil
	}
	entries, err := os.ReadDir(path.Join(k.cfg.Engine.Root, "containers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	var names []string
	var byID []Target
	for _, e := range entries {
		c, err := k.cfg.Engine.Read(e.Name())
		if err != nil {
			continue // it is being removed
		}
		names = append(names, c.Name)
		if set := c.Labels[label.Set]; set != "" {
			names = append(names, setPrefix+set)
		}
		if strings.HasPrefix(e.Name(), string(t)) {
			byID = append(byID, Target(c.Name))
		}
	}
	const least = 4 // of an id
	switch {
	case slices.Contains(names, string(t)):
		return t, nil
	case len(byID) == 1 && len(t) >= least:
		return byID[0], nil
	case slices.Contains(names, setPrefix+string(t)):
		return t, fault.NotFound("there is no container %.60q on this host: write set/%s for the set of that name", string(t), string(t))
	}
	hint := ": docker ps -a shows its containers, docker set ls its sets"
	if k := near.Of(near.Fold(string(t)), names); k != "" {
		hint = fmt.Sprintf(": did you mean %s?", k)
	}
	what := fmt.Sprintf("container %.60q", string(t))
	if set := t.Set(); set != "" {
		what = fmt.Sprintf("set %.60q", set)
	}
	return t, fault.NotFound("there is no %s on this host%s", what, hint)
}
