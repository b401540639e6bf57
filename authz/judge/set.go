package judge

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Set decides on a set that is made for somebody by a program which may do all: the
// cluster's, where he asks for it. Volumes and networks are those that look has.
func Set(p *policy.Policy, who policy.Who, s spec.Set, look Lookup) Verdict {
	v, j := begin(p, Proxy, who, look)
	if j == nil {
		return v
	}
	v.Action = "container.create"
	d := j.may(v.Action, policy.Object{Kind: "container", Name: render.InfraName(s.Name), Owner: j.self})
	if d == nil {
		d = j.infraOf(s, "")
	}
	for _, c := range s.Containers {
		if d == nil {
			d = j.memberOf(s, c)
		}
	}
	v.Object, v.Rule = j.object, j.rule
	return v.end(d)
}

// Who heals a set, or changes it, makes its containers anew as their labels say, and may
// be somebody with more rights than who made them. So labels are judged as what they
// become.

// declaredInfra decides on the labels of an infra container.
func (j *judge) declaredInfra(set string) *denial {
	s, err := spec.DecodePart(j.call.Create.Labels[label.Spec])
	if err != nil {
		return notOfASet("label %s: %s", label.Spec, err)
	}
	s.Name = set
	return j.infraOf(s, j.call.Create.Image)
}

// declaredMember decides on the labels of a member, beside the infra container that has
// the label of the set.
func (j *judge) declaredMember(set, ofSet string) *denial {
	labels := j.call.Create.Labels
	s, err := spec.DecodePart(ofSet)
	if err != nil {
		return notOfASet("label %s of the infra container: %s", label.Spec, err)
	}
	s.Name = set
	var past []plan.Revision
	if text, ok := labels[label.History]; ok {
		if err := json.Unmarshal([]byte(text), &past); err != nil {
			return notOfASet("label %s: %s", label.History, err)
		}
	}
	for i, r := range append([]plan.Revision{{Spec: json.RawMessage(labels[label.Spec])}}, past...) {
		c, err := spec.DecodeContainer(string(r.Spec))
		switch {
		case err != nil:
			return notOfASet("what labels say of container %.80s: %s", labels[label.Member], err)
		case c.Name != labels[label.Member], i == 0 && c.Image != j.call.Create.Image:
			return notOfASet("label %s is of container %.80s and image %.80s", label.Spec, c.Name, c.Image)
		case r.ImageID != "":
			if d := j.pastImage(r.ImageID); d != nil {
				return d
			}
		}
		if d := j.memberOf(s, c); d != nil {
			d.reason = "labels of member " + c.Name + ": " + d.reason
			return d
		}
	}
	return nil
}

// pastImage decides on the id of an image that a member had, by which it would have it
// again. One that is gone is no matter.
func (j *judge) pastImage(id string) *denial {
	if !strings.HasPrefix(id, "sha256:") {
		return notOfASet("label %s names an image %.80q that is no id", label.History, id)
	}
	f, err := j.look.Image(id)
	if err != nil {
		return nil
	}
	return j.may("image.use", f.Object)
}

// newest is an Engine that is told everything that a set has.
func newest() render.Facts { return render.Facts{API: "1.99"} }

// infraOf decides on what a set as a whole becomes: its infra container, of an image
// unless it names one, its volume and its networks.
func (j *judge) infraOf(s spec.Set, image string) *denial {
	s.Containers = nil
	c, err := render.Infra(s, newest())
	if err != nil {
		return notOfASet("label %s: %s", label.Spec, err)
	}
	if s.Infra.Image == "" {
		c.Config.Image = image
	} else if !strings.HasPrefix(fullName(s.Infra.Image), infraImage) && !j.unlimited() {
		return notOfASet("the image of an infra container is %.80s", s.Infra.Image)
	}
	if v := s.Volume; v != nil {
		driver, options := plan.VolumeOptions(*v)
		if d := j.setVolume(request.VolumeCreate{Name: render.Volume(s), Driver: driver, DriverOpts: options}); d != nil {
			return d
		}
	}
	for _, n := range s.Networks {
		ep, err := render.Endpoint(n)
		if err != nil {
			return notOfASet("label %s: %s", label.Spec, err)
		}
		if d := j.networkUse(n.Name); d != nil {
			return d
		}
		if d := j.endpoint(ep); d != nil {
			return d
		}
	}
	return j.becomes(c, s.Labels, s.Cgroup, true)
}

// setVolume decides on the volume of a set, both as it is and as it would be made.
func (j *judge) setVolume(v request.VolumeCreate) *denial {
	if j.unlimited() {
		return nil
	}
	if d := j.driver(v.Driver, v.DriverOpts); d != nil {
		return d
	}
	front := j.front
	j.front = Proxy // whoever asks makes it first, and is judged for that
	defer func() { j.front = front }()
	return j.volumeUse(v)
}

// memberOf decides on what a member of a set becomes.
func (j *judge) memberOf(s spec.Set, c spec.Container) *denial {
	if d := j.unbounded(s, c); d != nil {
		return d
	}
	if _, d := j.use(c.Image); d != nil {
		return d
	}
	r, err := render.Member(s, c, newest(), render.InfraName(s.Name), c.Image, 1)
	if err != nil {
		return notOfASet("container %.80s: %s", c.Name, err)
	}
	// The infra container that it is beside is judged where there is one.
	r.Host.NetworkMode, r.Host.IpcMode, r.Host.PidMode = "", "", ""
	return j.becomes(r, c.Options.Labels, c.Options.Cgroup, false)
}

// unbounded refuses what the file of a set could not say.
func (j *judge) unbounded(s spec.Set, c spec.Container) *denial {
	c.Options.DependsOn = nil // on members that are not looked at here
	s.Containers = []spec.Container{c}
	if err := s.Check(); err != nil && !j.unlimited() {
		return notOfASet("container %.80s: %s", c.Name, err)
	}
	return nil
}

// becomes decides on a container of a set that is rendered, and on what its spec says of
// labels and cgroups.
func (j *judge) becomes(c render.Create, labels, cgroup map[string]string, infra bool) *denial {
	if j.unlimited() {
		return nil
	}
	if o := labels[OwnerLabel]; o != "" && o != j.self {
		return deny("builtin: owner", "label %s must be %s, not %.80s", OwnerLabel, j.self, o)
	}
	if d := j.reserved(labels); d != nil {
		return d
	}
	for _, k := range slices.Sorted(maps.Keys(cgroup)) {
		if !policy.In(j.l.Cgroup, k) {
			return deny("limits.cgroup", "setting %.80s of cgroups is not allowed; these are: %s", k, strings.Join(j.l.Cgroup, ", "))
		}
	}
	sub := *j
	sub.edit = Edit{} // what is only looked at needs none
	sub.front = Proxy
	sub.call = &request.Call{Create: &request.Create{
		Config:     request.Config{Config: *c.Config},
		HostConfig: &request.HostConfig{HostConfig: *c.Host}, NetworkingConfig: &request.Networking{EndpointsConfig: c.Net.EndpointsConfig},
	}}
	checks := []func() *denial{sub.mounts, func() *denial { return sub.host(infra) }, func() *denial { return sub.resources(&c.Host.Resources, true) }}
	if infra {
		checks = append(checks, sub.named)
	}
	for _, check := range checks {
		if d := check(); d != nil {
			return d
		}
	}
	return nil
}
