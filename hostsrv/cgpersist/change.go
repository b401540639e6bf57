package cgpersist

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// List is all settings as they are now, of a target or with "" of all.
func (k *Keeper) List(ctx context.Context, ref string) ([]api.CgroupSetting, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look(ctx)
	if ref == "" {
		return slices.Clone(k.rows), nil
	}
	t, err := k.resolve(ref)
	if err != nil {
		return nil, err
	}
	return k.rowsOf(t), nil
}

// rowsOf are those of a target. The caller holds mu.
func (k *Keeper) rowsOf(t Target) []api.CgroupSetting {
	out := []api.CgroupSetting{}
	for _, r := range k.rows {
		if r.Target == string(t) {
			out = append(out, r)
		}
	}
	return out
}

// Set gives a target settings beside those that it has, all of them or none. Where the
// target runs they are in force when Set returns.
func (k *Keeper) Set(ctx context.Context, ref string, values map[string]string) ([]api.CgroupSetting, error) {
	parsed := map[string]string{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v, err := setting.Parse(name, values[name])
		parsed[name], errs = v, append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(parsed) == 0 {
		return nil, fault.Invalid("there is nothing to set: give NAME=VALUE")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t, err := k.resolve(ref)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	maps.Copy(all, k.want[t])
	maps.Copy(all, parsed)
	if err := k.possible(t, parsed, all); err != nil {
		return nil, err
	}
	return k.swap(ctx, t, all, slices.Collect(maps.Keys(parsed)))
}

// possible says what of the settings cannot be on this host, for this target, or beside
// all that it is to have.
func (k *Keeper) possible(t Target, values, all map[string]string) error {
	found, err := k.scan()
	if err != nil {
		return err
	}
	s := k.here(found)[t]
	together := map[string]string{}
	maps.Copy(together, s.spec)
	maps.Copy(together, all)
	if err := setting.Clash(together); err != nil {
		return err
	}
	at, trial := s.path, s.path
	if trial == "" && len(found) > 0 {
		trial = found[0].Path // the kernel has the same files for all
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		atoms, err := k.kernel.atoms(name, values[name])
		if err == nil && k.kernel.version() == 1 && t.Set() != "" {
			err = notForSets(name)
		}
		for _, a := range atoms {
			if err == nil && trial != "" {
				if _, err = k.kernel.get(trial, a); errors.Is(err, errNoGroup) {
					err = nil
				}
			}
		}
		if err == nil && at != "" {
			err = k.kernel.fits(t, at, name, values[name])
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// notForSets refuses what version 1 wants done from the leaves up.
func notForSets(name string) error {
	if strings.HasPrefix(name, "cpuset.") {
		return fault.Later("%s of a set cannot be had here: the host's cgroups are of version 1, which wants its containers changed first: give it to each container", name)
	}
	return nil
}

// swap makes the record of a target another, and puts it in force; what the kernel does
// not take puts the old one back. The caller holds mu.
func (k *Keeper) swap(ctx context.Context, t Target, values map[string]string, names []string) ([]api.CgroupSetting, error) {
	old := k.want[t]
	put := func(values map[string]string) error {
		if err := k.records.save(t, values); err != nil {
			return err
		}
		if delete(k.want, t); len(values) > 0 {
			k.want[t] = values
		}
		k.look(ctx)
		return nil
	}
	if err := put(values); err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range k.rowsOf(t) {
		if r.Source == api.CgroupByRecord && r.State == api.CgroupFaulty && slices.Contains(names, r.Setting) {
			errs = append(errs, fault.Conflict("%s: %s", t, r.Detail))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, put(old))...)
	}
	return k.rowsOf(t), nil
}

// Unset takes settings of a target away, without names all. What was before is back in
// force when it returns.
func (k *Keeper) Unset(ctx context.Context, ref string, names []string) ([]api.CgroupSetting, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, err := k.resolve(ref)
	if err != nil {
		return nil, err
	}
	left := maps.Clone(k.want[t])
	have := strings.Join(slices.Sorted(maps.Keys(left)), ", ")
	switch {
	case len(left) == 0:
		return nil, fault.NotFound("%s has no settings of its own", t)
	case len(names) == 0:
		left = nil
	}
	for _, name := range names {
		if _, there := left[name]; !there {
			return nil, fault.NotFound("%s has no setting %.60s of its own: it has %s", t, name, have)
		}
		delete(left, name)
	}
	return k.swap(ctx, t, left, nil)
}
