package judge

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/mount"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// infraShield is how an infra container is shielded when memory runs out.
const infraShield = -998

// infraImage is what the name of our own image of infra containers begins with.
const infraImage = "docker.io/library/mos-infra:"

// parents are the cgroup parents of a set under both drivers.
func parents(set string) []string {
	return []string{render.Parent(render.Facts{CgroupDriver: "systemd"}, set), render.Parent(render.Facts{}, set)}
}

// shape decides on labels of sets. Who makes sets may give them, to containers
// that docker set would make: set says that this is the infra container of one.
func (j *judge) shape(image Found) (infra bool, d *denial) {
	labels := j.call.Create.Labels
	set := labels[label.Set]
	if set == "" || policy.Is(j.l.Labels) {
		return false, j.reserved(labels)
	}
	if d := j.reserved(labels, label.Set, label.Role, label.Member, label.Index, label.Rev, label.Hash, label.Spec, label.History); d != nil {
		return false, d
	}
	switch labels[label.Role] {
	case label.RoleInfra:
		return true, j.infra(set, image)
	case label.RoleMember:
		return false, j.member(set)
	}
	return false, notOfASet("label %s is %.20q", label.Role, labels[label.Role])
}

func notOfASet(format string, args ...any) *denial {
	d := deny("builtin: set", format, args...)
	d.reason += ", which docker set does not make: leave the labels away that begin with " + prefix
	return d
}

func (j *judge) infra(set string, image Found) *denial {
	h := j.call.Create.HostConfig
	named := func(n string) bool { return strings.HasPrefix(n, infraImage) }
	volume := func(m mount.Mount) bool { return m.Type == mount.TypeVolume }
	switch {
	case j.call.Param("name") != render.InfraName(set):
		return notOfASet("the infra container of set %.80s is named %.80q", set, j.call.Param("name"))
	case image.Owner != "" || !slices.ContainsFunc(image.Names, named):
		return notOfASet("the image of an infra container is %.80s", j.call.Create.Image)
	case !h.ReadonlyRootfs || len(h.CapAdd) > 0 || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Equal(h.SecurityOpt, []string{"no-new-privileges"}):
		return notOfASet("an infra container has rights")
	case len(h.Binds) > 0 || len(h.Mounts) > 1 || slices.ContainsFunc(h.Mounts, func(m mount.Mount) bool { return !volume(m) }):
		return notOfASet("an infra container has other mounts than the set's volume")
	case h.PidsLimit == nil || *h.PidsLimit < 1 || *h.PidsLimit > 64:
		return notOfASet("an infra container has no limit of processes")
	case strings.Contains(string(h.NetworkMode), ":") || h.IpcMode != "shareable" || h.PidMode != "":
		return notOfASet("an infra container has namespaces of others")
	case !slices.Contains(parents(set), h.CgroupParent):
		return notOfASet("an infra container has cgroup parent %.80q", h.CgroupParent)
	}
	return j.declaredInfra(set)
}

func (j *judge) member(set string) *denial {
	h, labels := j.call.Create.HostConfig, j.call.Create.Labels
	ref, ok := strings.CutPrefix(string(h.NetworkMode), "container:")
	if !ok || string(h.IpcMode) != string(h.NetworkMode) || h.PidMode != "" && string(h.PidMode) != string(h.NetworkMode) {
		return notOfASet("a member of set %.80s is not beside an infra container", set)
	}
	f, d := j.container("container.join", ref)
	switch {
	case d != nil:
		return d
	case f.Labels[label.Role] != label.RoleInfra || f.Labels[label.Set] != set:
		return notOfASet("container %.80s is not the infra container of set %.80s", f.Name, set)
	case labels[label.Member] == "" || !slices.Contains(parents(set), h.CgroupParent):
		return notOfASet("a member has no name or cgroup parent %.80q", h.CgroupParent)
	}
	return j.declaredMember(set, f.Labels[label.Spec])
}

// parent decides on the cgroup parent: that of the container's set was judged with
// its shape.
func (j *judge) parent(p string, _ bool) *denial {
	if p == "" || policy.In(j.l.CgroupParents, p) {
		return nil
	}
	if set := j.call.Create.Labels[label.Set]; set != "" && slices.Contains(parents(set), p) {
		return nil
	}
	return deny("limits.cgroup_parents", "cgroup parent %.80s is not allowed", p)
}
