package judge

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/drivername"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/label"
)

// OwnerLabel is the label that says whose a container, volume or network is.
const OwnerLabel = label.Owner

// BuilderLabel says whose an image is. It is another one, since a container gets the
// labels of its image: what an operator runs of a tenant's image must not be the
// tenant's. For the same reason an image with an [OwnerLabel] makes no owners.
const BuilderLabel = "mos.builder"

// SomeBuild is the owner of an image without a name and without a [BuilderLabel]: a step of a
// build, which may be anybody's. No subject is called so.
const SomeBuild = "some build"

// prefix begins the keys of labels that are not the user's to give.
const prefix = "mos."

// Found is an object of an Engine.
type Found struct {
	policy.Object
	ID     string
	Driver string   // of a volume
	Users  []string // of a volume, at its driver's last look: the beginnings of containers' ids, and others
	Names  []string // of an image: its tags and digests
	Paths  []string // of an image: where its containers have volumes without a name
	Builds []string // of an image: what a build upon it does first
	Nets   []string // of a container: ids or names of the networks that a start puts it into
	Peers  []string // of a container: those whose namespaces it gets at a start
}

// Lookup asks an Engine. A missing object is an error of class NotFound; any
// other error refuses the request.
type Lookup interface {
	Container(ref string) (Found, error)
	Exec(id string) (container string, err error)
	Image(ref string) (Found, error)
	Volume(name string) (Found, error)
	Network(ref string) (Found, error)
}

// Verdict is the answer to a request.
type Verdict struct {
	Allow   bool        // it goes through
	Denied  bool        // the policy says no, whether or not it goes through
	Mode    policy.Mode // that decided between the two
	Missing error       // the object is not there; an Engine's words

	Subject string // "" when nobody knows the client
	Owner   string
	Profile string
	Free    bool // the subject's requests need no change on their way
	Action  string
	Object  string // kind and name of the object that decided, or was named first
	Rule    string // that decided
	Reason  string // for people, when denied

	Call *request.Call // nil when the request could not be read
	Edit Edit          // what a proxy must change
}

// Edit is what makes a request of a tenant safe and his own. A proxy does it; a
// plugin cannot, and requests that need it are denied there.
type Edit struct {
	Ref     string              // name of the path's object, as a full id
	Params  map[string][]string // all of them, nil for no change
	Label   string              // value of the owner's label in the body, "" for none
	Peers   map[string]string   // ids of containers named in the body, by field: NetworkMode, IpcMode, PidMode, Container
	Volumes []request.VolumeCreate
	Mounts  []mount.Mount // all of a new container, nil for no change
	Shown   string        // of an answer that lists: keep what is this owner's or nobody's
	// Ours are the labels of ours that a new container is to have, and no others; nil where
	// it may have any.
	Ours  map[string]string
	Bases bool   // the images that a build reads are to be judged, see [Base], and named by their ids
	Made  string // owner of a volume that an Engine says it made, "" for any: it may have had one of the name
}

// Front says which front asks.
type Front int

// The fronts.
const (
	Plugin Front = iota // can say yes or no
	Proxy               // can change requests
)

// denial is a refusal.
type denial struct {
	rule, reason string
	missing      error
}

func deny(rule, format string, args ...any) *denial {
	return &denial{rule: rule, reason: fmt.Sprintf(format, args...)}
}

type judge struct {
	front  Front
	p      *policy.Profile
	l      *policy.Limits
	self   string
	look   Lookup
	call   *request.Call
	object string
	rule   string // of the last consent
	edit   Edit
}

// Judge decides on a request. look is asked only where the policy needs it.
func Judge(p *policy.Policy, front Front, who policy.Who, raw request.Raw, look Lookup) Verdict {
	v, j := begin(p, front, who, look)
	if j == nil {
		return v
	}
	pr := j.p
	v.Free = pr.Infra && policy.Is(pr.Limits.Unlimited) && !pr.Particular()
	call, err := request.Parse(raw)
	if err != nil {
		return v.end(deny("request", "%s", err))
	}
	v.Call, v.Action = call, call.Action
	j.call = call
	var d *denial
	if v.Free {
		d = j.may(call.Action, policy.Object{Name: call.Ref})
	} else {
		d = j.decide()
	}
	v.Object, v.Rule, v.Edit = j.object, j.rule, j.edit
	return v.end(d)
}

// begin finds what the policy says of somebody; without a judge the verdict is final.
func begin(p *policy.Policy, front Front, who policy.Who, look Lookup) (Verdict, *judge) {
	v := Verdict{Mode: p.Mode}
	s := p.Find(who)
	if s == nil {
		return v.end(deny("who", "the policy does not know you (%s): ask for a [[who]] that fits", who)), nil
	}
	pr := p.Profiles[s.Profile]
	v.Subject, v.Owner, v.Profile = s.Name, s.Owner, s.Profile
	if pr.Mode != "" {
		v.Mode = pr.Mode
	}
	return v, &judge{front: front, p: pr, l: &pr.Limits, self: s.Owner, look: look}
}

func (v Verdict) end(d *denial) Verdict {
	if d != nil {
		v.Denied, v.Rule, v.Reason, v.Missing = true, d.rule, d.reason, d.missing
	}
	v.Allow = !v.Denied || v.Mode != policy.Enforce
	return v
}

// unlimited says whether limits are looked at.
func (j *judge) unlimited() bool { return policy.Is(j.l.Unlimited) }

// may asks the rules about one object, after the rules that are no matter of
// policy.
func (j *judge) may(action string, o policy.Object) *denial {
	if o.Kind != "" && j.object == "" {
		j.object = strings.TrimSpace(o.Kind + " " + o.Name)
	}
	if d := j.shielded(action, o); d != nil {
		return d
	}
	r := j.p.Decide(action, o, j.self)
	if !r.Allow {
		j.object = strings.TrimSpace(o.Kind + " " + o.Name)
		return deny(r.Rule, "%s", r.Reason)
	}
	j.rule = r.Rule
	return nil
}

// shielded keeps infra containers from what would break their set.
func (j *judge) shielded(action string, o policy.Object) *denial {
	if j.p.Infra || o.Labels[label.Role] != label.RoleInfra || o.Kind != "container" {
		return nil
	}
	switch action {
	case "container.exec", "container.attach", "container.copy-in", "container.copy-out", "container.commit", "container.rename",
		"container.export", "container.checkpoint", "container.resize", "network.connect", "network.disconnect":
		j.object = "container " + o.Name
		set := "set " + o.Labels[label.Set]
		if o.Asked != "" {
			set = "a set"
		}
		return deny("builtin: infra", "container %s holds %s together, and %s could break it: do it to a member of the set", o.Said(), set, action)
	}
	return nil
}

// found turns an error of a lookup into a refusal.
func (j *judge) found(kind, ref string, err error) *denial {
	if err == nil {
		return nil
	}
	j.object = kind + " " + ref
	if errdefs.IsNotFound(err) {
		return &denial{rule: "lookup", reason: err.Error(), missing: err}
	}
	return deny("lookup", "%s %s cannot be looked up: %s", kind, ref, err)
}

func (j *judge) container(action, ref string) (Found, *denial) {
	f, err := j.look.Container(ref)
	if d := j.found("container", ref, err); d != nil {
		return f, d
	}
	return f, j.may(action, j.veiled(f, ref))
}

// veiled is an object that others than its owner know by what they asked for only: an id can be
// guessed letter by letter, since what has none of that beginning is missing.
func (j *judge) veiled(f Found, ref string) policy.Object {
	o := f.Object
	if o.Owner != j.self && strings.TrimPrefix(ref, "/") != o.Name {
		o.Asked = ref
	}
	return o
}

func (j *judge) decide() *denial {
	c := j.call
	if c.Blind && !j.unlimited() {
		return deny("builtin: blind", "%s has a body that Engines do not show to plugins, and which can change what is asked for: use the guarded socket", c.Action)
	}
	switch c.Kind {
	case request.Container:
		return j.onContainer()
	case request.Exec:
		id, err := j.look.Exec(c.Ref)
		if d := j.found("exec", c.Ref, err); d != nil {
			return d
		}
		_, d := j.container(c.Action, id)
		return d
	case request.Image:
		return j.onImage()
	case request.Volume:
		f, err := j.look.Volume(c.Ref)
		if d := j.found("volume", c.Ref, err); d != nil {
			return d
		}
		if d := j.may(c.Action, f.Object); d != nil || c.Action != "volume.rm" || j.p.Infra || !drivername.Is(f.Driver, "mos-lvm") {
			return d
		}
		return j.idle(f)
	case request.Network:
		return j.onNetwork()
	case request.None, request.Plugin, request.Swarm:
	}
	return j.onNothing()
}

// idle refuses a volume that somebody has. Its driver looks now and then only, so that
// a container that it names may have gone since: Docker knows.
func (j *judge) idle(f Found) *denial {
	for _, u := range f.Users {
		if shortID.MatchString(u) {
			if _, err := j.look.Container(u); errdefs.IsNotFound(err) {
				continue
			}
		}
		return deny("builtin: volume", "volume %s is in use by %s: stop what has it first", f.Name, u)
	}
	return nil
}

// shortID is what a driver of volumes calls a container.
var shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)

func (j *judge) onContainer() *denial {
	c := j.call
	f, d := j.container(c.Action, c.Ref)
	if d != nil {
		return d
	}
	j.edit.Ref = f.ID
	if c.Param("checkpoint") != "" || c.Param("checkpoint-dir") != "" {
		if d := j.may("container.checkpoint", f.Object); d != nil {
			return d
		}
	}
	if j.unlimited() {
		return nil
	}
	switch {
	case c.Action == "container.start", c.Action == "container.restart":
		return j.start(f)
	case c.Action == "container.rename":
		return j.name("container", c.Param("name"))
	case c.Exec != nil && c.Exec.Privileged && !policy.Is(j.l.Privileged):
		return deny("limits.privileged", "privileged exec is not allowed")
	case c.Update != nil:
		return j.resources(&c.Update.Resources, false)
	}
	return nil
}

// start decides once more on what a container joins: an Engine finds that by name at a
// start, and what had the name when the container was made may be gone, and another's have it.
func (j *judge) start(f Found) *denial {
	for _, n := range f.Nets {
		if d := j.networkUse(n); d != nil {
			return d
		}
	}
	for _, p := range f.Peers {
		if _, d := j.container("container.join", p); d != nil {
			return d
		}
	}
	return nil
}

// name refuses what looks like an id.
func (j *judge) name(kind, name string) *denial {
	if name != "" && strings.Trim(strings.TrimPrefix(name, "/"), "0123456789abcdefABCDEF") == "" {
		return deny("builtin: name", "%s name %.80s could be the beginning of an id: choose one with other letters than a to f", kind, name)
	}
	return nil
}

// free refuses the name of another's object, about which an Engine may tell who asks for a
// new one of it, or whose user then could not use it by name.
func (j *judge) free(kind, name string, f Found, err error) *denial {
	switch {
	case err == nil && f.Name == name && f.Owner != j.self:
		whose := "is nobody's"
		if f.Owner != "" {
			whose = "belongs to " + f.Owner
		}
		return deny("builtin: name", "there is a %s %.80s, which %.80s: choose another name", kind, name, whose)
	case err == nil || errdefs.IsNotFound(err):
		return nil
	}
	return j.found(kind, name, err)
}

func (j *judge) onImage() *denial {
	c := j.call
	if c.Action == "image.distribution" {
		return j.imageName(c.Action, c.Ref)
	}
	ref := c.Ref
	if c.Action == "image.push" && !j.unlimited() {
		// Without a tag, all of that name are pushed, whosever they are.
		if c.Param("tag") == "" {
			return deny("builtin: push", "push one tag at a time")
		}
		ref = withTag(ref, c.Param("tag"))
	}
	f, err := j.look.Image(ref)
	if d := j.found("image", ref, err); d != nil {
		return d
	}
	if d := j.may(c.Action, f.Object); d != nil {
		return d
	}
	if c.Action == "image.tag" {
		return j.tag(withTag(c.Param("repo"), c.Param("tag")))
	}
	return nil
}

func (j *judge) onNetwork() *denial {
	c := j.call
	f, err := j.look.Network(c.Ref)
	if d := j.found("network", c.Ref, err); d != nil {
		return d
	}
	o := j.veiled(f, c.Ref)
	j.edit.Ref = f.ID
	var who string
	switch {
	case c.Connect != nil:
		who = c.Connect.Container
		if d := j.endpoint(c.Connect.EndpointConfig); d != nil {
			return d
		}
	case c.Disconnect != nil:
		who = c.Disconnect.Container
	default:
		return j.may(c.Action, o)
	}
	if d := j.may("network.use", o); d != nil {
		return d
	}
	peer, d := j.container(c.Action, who)
	if d == nil {
		j.peer("Container", peer.ID)
	}
	return d
}

func (j *judge) peer(field, id string) {
	if j.edit.Peers == nil {
		j.edit.Peers = map[string]string{}
	}
	j.edit.Peers[field] = id
}

// onNothing is about calls whose path names no object.
func (j *judge) onNothing() *denial {
	c := j.call
	switch {
	case c.Lists:
		return j.list()
	case c.Create != nil:
		return j.create()
	case c.Action == "container.commit":
		return j.commit()
	case c.Volume != nil:
		return j.newVolume(*c.Volume)
	case c.Network != nil:
		return j.newNetwork()
	case c.Action == "image.pull":
		return j.pull()
	case c.Action == "image.build":
		return j.build()
	case c.Action == "image.save":
		for _, n := range c.Params["names"] {
			f, err := j.look.Image(n)
			if d := j.found("image", n, err); d != nil {
				return d
			}
			if d := j.may(c.Action, f.Object); d != nil {
				return d
			}
		}
	}
	d := j.may(c.Action, policy.Object{Name: c.Ref})
	if d != nil && strings.HasSuffix(c.Action, ".inspect") && c.Ref != "" {
		// docker inspect asks for all kinds by one name, and goes on to the next after this only.
		d.missing = fault.NotFound("no such %s: %.80s", strings.TrimSuffix(c.Action, ".inspect"), c.Ref)
	}
	return d
}

// list is about calls that list or prune: a tenant's see what is his.
func (j *judge) list() *denial {
	c := j.call
	kind, _, _ := strings.Cut(c.Action, ".")
	o := policy.Object{Kind: kind, Name: "list"}
	mine := OwnerLabel + "=" + j.self
	if kind == "image" {
		mine = BuilderLabel + "=" + j.self
	}
	if slices.Contains(c.Filters["label"], mine) {
		o.Owner = j.self
	} else if j.front == Proxy && !j.p.Decide(c.Action, o, j.self).Allow {
		o.Owner = j.self
		j.edit.Params = copyParams(c.Params)
		j.edit.Params["filters"] = []string{request.Filtered(c.Filters, "label", mine)}
	}
	d := j.may(c.Action, o)
	others := policy.Object{Kind: kind, Name: "list", Owner: SomeBuild}
	if c.Action == "image.ls" && o.Owner == "" && !j.unlimited() && !j.p.Decide(c.Action, others, j.self).Allow {
		j.edit.Shown = j.self // no filter means "mine and nobody's"
	}
	if d != nil && o.Owner == "" && j.p.Decide(c.Action, policy.Object{Kind: kind, Owner: j.self}, j.self).Allow {
		d.reason += ": ask for what is yours, with --filter label=" + mine + ", or use the guarded socket"
	}
	j.object = ""
	return d
}

func copyParams(has map[string][]string) map[string][]string {
	out := make(map[string][]string, len(has)+1)
	maps.Copy(out, has)
	return out
}

// owned decides on a new object. The owner is in its labels, or a proxy puts it
// there.
func (j *judge) owned(action, kind, name string, labels map[string]string) *denial {
	o := policy.Object{Kind: kind, Name: name, Owner: labels[OwnerLabel], Labels: labels}
	if o.Owner != "" && o.Owner != j.self && !j.unlimited() {
		return deny("builtin: owner", "label %s must be %s, not %.80s", OwnerLabel, j.self, o.Owner)
	}
	if o.Owner == "" && j.front == Proxy {
		o.Owner = j.self
		j.edit.Label = j.self
	}
	d := j.may(action, o)
	if d != nil && o.Owner == "" {
		mine := o
		mine.Owner = j.self
		if j.p.Decide(action, mine, j.self).Allow {
			d.reason = fmt.Sprintf("a new %s must say whose it is: give it the label %s=%s, or use the guarded socket", kind, OwnerLabel, j.self)
		}
	}
	return d
}

// reserved refuses labels that are ours to give.
func (j *judge) reserved(labels map[string]string, besides ...string) *denial {
	if policy.Is(j.l.Labels) {
		return nil
	}
	for k := range labels {
		if k == OwnerLabel || slices.Contains(besides, k) {
			continue // is judged apart
		}
		if isOurs(k) {
			return deny("limits.labels", "label %.80s is not for users: its name begins with %s", k, prefix)
		}
	}
	return nil
}

// Ours are the labels whose keys begin with mos., which are not for users to give, but for
// that of who built an image, which its containers have too.
func Ours(labels map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range labels {
		if isOurs(k) && k != BuilderLabel {
			out[k] = v
		}
	}
	return out
}

func isOurs(key string) bool { return strings.HasPrefix(strings.ToLower(key), prefix) }

// String tells people what a proxy would change.
func (e Edit) String() string {
	var what []string
	if e.Label != "" {
		what = append(what, "label "+OwnerLabel+"="+e.Label)
	}
	if f := e.Params["filters"]; len(f) > 0 {
		what = append(what, "filters "+f[0])
	}
	if l := e.Params["labels"]; len(l) > 0 {
		what = append(what, "labels "+l[0])
	}
	for _, v := range e.Volumes {
		what = append(what, "volume "+v.Name+" is made")
	}
	if e.Mounts != nil {
		what = append(what, "volumes without a name get the label, too")
	}
	if e.Bases {
		what = append(what, "images that the Dockerfile reads are judged, and named by their ids")
	}
	if e.Shown != "" {
		what = append(what, "images of others are left out")
	}
	return strings.Join(what, "; ")
}
