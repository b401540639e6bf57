package judge

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/mosdocker/mosdocker/authz/dockerfile"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
)

// withTag joins the two halves of a name as Engines take them.
func withTag(repo, tag string) string {
	switch {
	case tag == "":
		return repo
	case strings.Contains(tag, ":"): // a digest
		return repo + "@" + tag
	}
	return repo + ":" + tag
}

// fullName is an image's name with registry and tag, "" for what is no name.
func fullName(name string) string {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return reference.TagNameOnly(n).String()
}

// imageName decides on an image by its name, which need not be on the host.
func (j *judge) imageName(action, name string) *denial {
	full := fullName(name)
	if full == "" && !j.unlimited() {
		return deny("limits.images", "%.80q is no name of an image", name)
	}
	if d := j.may(action, policy.Object{Kind: "image", Name: full}); d != nil {
		return d
	}
	return j.listed(full)
}

// listed compares names of an image, one of which must fit, with the limits.
func (j *judge) listed(names ...string) *denial {
	if j.unlimited() {
		return nil
	}
	for _, n := range names {
		if policy.In(j.l.Images, n) {
			return nil
		}
	}
	return deny("limits.images", "image %.120s is not among those that the policy lets you have: %s", strings.Join(names, ", "), strings.Join(j.l.Images, ", "))
}

func (j *judge) pull() *denial {
	c := j.call
	name := withTag(c.Param("fromImage"), c.Param("tag"))
	if n, err := reference.ParseNormalizedNamed(name); err == nil && reference.IsNameOnly(n) && !j.unlimited() {
		// All tags are pulled, which such a pattern stands for, too.
		if d := j.listed(n.String() + ":*"); d != nil {
			return d
		}
	}
	return j.imageName(c.Action, name)
}

// use decides on the image of a new container. One that is not there yet will be
// pulled, or not.
func (j *judge) use(ref string) (Found, *denial) {
	f, err := j.look.Image(ref)
	if errdefs.IsNotFound(err) {
		return f, j.imageName("image.use", ref)
	}
	if d := j.found("image", ref, err); d != nil {
		return f, d
	}
	if d := j.may("image.use", f.Object); d != nil {
		return f, d
	}
	if j.unlimited() {
		return f, nil
	}
	if f.Owner != j.self { // what one built oneself comes from no registry
		if d := j.listed(append(f.Names, f.ID)...); d != nil {
			return f, d
		}
	}
	return f, j.inherited(f.Labels)
}

// inherited decides on labels of an image, which a container gets from it.
func (j *judge) inherited(labels map[string]string) *denial {
	if o := labels[OwnerLabel]; o != "" && !policy.Is(j.l.Labels) {
		return deny("limits.labels", "the image has the label %s=%.80s, which is for containers: build it without", OwnerLabel, o)
	}
	return j.reserved(labels, BuilderLabel)
}

// tag decides on a name that an image shall get.
func (j *judge) tag(name string) *denial {
	if j.unlimited() {
		return nil
	}
	full := fullName(name)
	if full == "" || !policy.In(j.l.Tags, full) {
		return deny("limits.tags", "the policy does not let you name an image %.120s", name)
	}
	f, err := j.look.Image(full)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return j.found("image", full, err)
	case f.Owner != j.self:
		return deny("builtin: tag", "%.120s is the name of an image that is not yours: choose another", name)
	}
	return nil
}

func (j *judge) commit() *denial {
	c := j.call
	f, d := j.container(c.Action, c.Param("container"))
	if d != nil || j.unlimited() {
		return d
	}
	if j.front == Plugin {
		return deny("builtin: owner", "an image that is made of a container must say whose it is: use the guarded socket")
	}
	j.edit.Params = copyParams(c.Params)
	j.edit.Params["container"] = []string{f.ID}
	j.edit.Params["changes"] = append(slices.Clone(c.Params["changes"]), `LABEL `+OwnerLabel+`="" `+BuilderLabel+`="`+j.self+`"`)
	if c.Commit != nil {
		if d := j.reserved(c.Commit.Labels); d != nil {
			return d
		}
	}
	for _, change := range c.Params["changes"] {
		word, _, _ := strings.Cut(strings.TrimSpace(change), " ")
		if strings.ContainsAny(change, "\n\r\\") || strings.EqualFold(word, "LABEL") || strings.EqualFold(word, "ONBUILD") {
			return deny("builtin: owner", "a commit with LABEL, ONBUILD or several lines in one change could belong to somebody else")
		}
	}
	if c.Param("repo") == "" {
		return nil
	}
	return j.tag(withTag(c.Param("repo"), c.Param("tag")))
}

// Base decides on an image that a build of somebody reads: it is to be his to use, here, and to
// read no others when it is built upon. The id is the image's.
func Base(p *policy.Policy, who policy.Who, ref string, look Lookup) (id string, v Verdict) {
	v, j := begin(p, Proxy, who, look)
	if j == nil {
		return "", v
	}
	v.Action = "image.use"
	f, d := j.use(ref)
	switch {
	case d != nil:
	case f.ID == "":
		d = deny("builtin: base", "image %.120s is not on this host: docker pull it first", ref)
	case slices.ContainsFunc(f.Builds, dockerfile.Reads):
		d = deny("builtin: base", "image %.120s has an ONBUILD that reads another image", ref)
	}
	v.Object, v.Rule = "image "+ref, j.rule
	return f.ID, v.end(d)
}

// build decides on the classic builder: what the containers of its steps may do is what the
// parameters say, and the images that it reads are judged as its Dockerfile goes by.
func (j *judge) build() *denial {
	c := j.call
	labels := map[string]string{}
	if text := c.Param("labels"); text != "" {
		if err := json.Unmarshal([]byte(text), &labels); err != nil {
			return deny("request", "parameter labels is no JSON object of strings")
		}
	}
	if d := j.inherited(labels); d != nil {
		return d
	}
	if o := labels[BuilderLabel]; o != "" && o != j.self && !j.unlimited() {
		return deny("builtin: owner", "label %s must be %s, not %.80s", BuilderLabel, j.self, o)
	}
	if d := j.may(c.Action, policy.Object{Kind: "image", Name: "to be built", Owner: j.self}); d != nil || j.unlimited() {
		return d
	}
	if d := j.buildLimits(); d != nil {
		return d
	}
	quota, d := j.buildCPUs()
	if d != nil {
		return d
	}
	net, d := j.network(c.Param("networkmode"))
	if d != nil {
		return d
	}
	if d := j.cachedFrom(); d != nil {
		return d
	}
	for _, t := range c.Params["t"] {
		if d := j.tag(t); d != nil {
			return d
		}
	}
	if labels == nil { // null
		labels = map[string]string{}
	}
	labels[BuilderLabel] = j.self
	labels[OwnerLabel] = "" // which the Dockerfile may have set, and lists and prunes of Engines go by
	text, err := json.Marshal(labels)
	if err != nil {
		return deny("request", "labels: %s", err)
	}
	j.edit.Params = copyParams(c.Params)
	j.edit.Params["labels"] = []string{string(text)}
	j.edit.Bases = c.Param("remote") == ""
	if quota != "" {
		j.edit.Params["cpuquota"] = []string{quota}
	}
	if net != "" { // each step of the build looks for the network anew
		j.edit.Params["networkmode"] = []string{net}
	}
	return nil
}

// cachedFrom decides on images whose layers a build takes for its own.
func (j *judge) cachedFrom() *denial {
	var from []string
	if text := j.call.Param("cachefrom"); text != "" && json.Unmarshal([]byte(text), &from) != nil {
		return deny("request", "parameter cachefrom is no JSON array of strings")
	}
	for _, ref := range from {
		if _, d := j.use(ref); d != nil {
			return d
		}
	}
	return nil
}

func (j *judge) buildLimits() *denial {
	c := j.call
	if c.Param("pull") != "" {
		return deny("builtin: base", "a build does not pull: docker pull its images first, and build without --pull")
	}
	if c.Param("remote") != "" && !policy.Is(j.l.BuildRemote) {
		return deny("limits.build_remote", "the Engine may not fetch a build context: send it")
	}
	if mode := c.Param("networkmode"); strings.Contains(mode, ":") {
		return deny("limits.host_namespaces", "a build may not join %.80q", mode)
	}
	for _, e := range []struct{ param, rule string }{{"cgroupparent", "limits.cgroup_parents"}, {"securityopt", "limits.security_opts"}, {"ulimits", "limits.ulimits"}, {"outputs", "limits"}} {
		switch c.Param(e.param) {
		case "", "null", "[]", "{}":
		default:
			return deny(e.rule, "a build may not have the parameter %s", e.param)
		}
	}
	n := map[string]int64{}
	for _, p := range []string{"memory", "memswap", "shmsize"} {
		var err error
		if n[p], err = amount(c, p); err != nil {
			return deny("request", "parameter %s of a build is no number: %s", p, err)
		}
	}
	if limit := j.l.MaxMemory(); limit > 0 {
		if n["memory"] <= 0 || n["memory"] > limit {
			return deny("limits.memory", "a build must have a memory limit of %s at most: docker build --memory", j.l.Memory)
		}
		if s := n["memswap"]; !policy.Is(j.l.Swap) && (s < 0 || s > 2*n["memory"]) {
			return deny("limits.swap", "a build may have as much swap as memory")
		}
	}
	if limit := j.l.MaxSHM(); limit > 0 && n["shmsize"] > limit {
		return deny("limits.shm", "shared memory of a build is %d bytes, %s are allowed", n["shmsize"], j.l.SHM)
	}
	return nil
}

// amount is a parameter that is a number, 0 where it is missing.
func amount(c *request.Call, param string) (int64, error) {
	text := c.Param(param)
	if text == "" {
		return 0, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

// buildCPUs is the CPU quota that a build gets which has none, since few clients can give it one.
func (j *judge) buildCPUs() (string, *denial) {
	if j.l.CPUs == nil {
		return "", nil
	}
	quota, err := amount(j.call, "cpuquota")
	period, err2 := amount(j.call, "cpuperiod")
	if period == 0 {
		period = 100_000
	}
	most := *j.l.CPUs * float64(period)
	switch {
	case err != nil || err2 != nil || quota < 0 || period < 0 || float64(quota) > most:
		return "", deny("limits.cpus", "a build may have %v processors at most: docker build --cpu-quota", *j.l.CPUs)
	case quota == 0:
		return strconv.FormatInt(max(int64(most), 1), 10), nil // none is 0
	}
	return "", nil
}
