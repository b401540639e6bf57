package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Difference is one thing in which a set is not as its spec says.
type Difference struct {
	Member     string // "" of the set as a whole
	What       string // a key of the spec such as Env.MODE, or a property such as state
	Have, Want string // "" is nothing
}

func (d Difference) String() string {
	who, have, want := "set", "none", "none"
	if d.Member != "" {
		who = d.Member
	}
	if d.Have != "" {
		have = d.Have
	}
	if d.Want != "" {
		want = d.Want
	}
	return who + ": " + d.What + ": " + have + ", want " + want
}

// Diff is how a set differs from its spec, each difference once: without what only
// follows from another, such as the share of a container in another total. p is the plan
// of Up for both.
func Diff(s spec.Set, o Observed, p Plan) []Difference {
	if o.Infra == nil && len(o.Members) == 0 {
		return []Difference{{What: "set " + s.Name, Want: fmt.Sprint(len(s.Containers), " containers")}}
	}
	d := &differ{s: s, o: o}
	d.set(p)
	for _, wave := range waves(s) {
		for _, c := range wave {
			d.member(c)
		}
	}
	for _, c := range o.inService(s.Name) {
		if _, wanted := named(s, c.Member); !wanted {
			d.say(c.Member, "container", c.Image, "")
		}
	}
	return d.out
}

type differ struct {
	s   spec.Set
	o   Observed
	out []Difference
}

func (d *differ) say(member, what, have, want string) {
	if have != want {
		d.out = append(d.out, Difference{Member: member, What: what, Have: have, Want: want})
	}
}

// set is what differs in the set as a whole.
func (d *differ) set(p Plan) {
	inf := d.o.Infra
	if inf == nil {
		d.say("", "infra container", "", render.InfraName(d.s.Name))
		return
	}
	if len(infraDiff(d.s, d.o)) > 0 {
		whole := d.s
		whole.Containers = nil
		data, _ := spec.Marshal(&whole) // only what no check lets pass is not written
		d.keys("", inf.Spec, string(data), "Name", "CPU", "MEM", "Overcommit", "Cgroup", "Volume.Size")
	}
	if have, want := inf.Limits, total(d.s); !have.near(want) {
		d.limits("", have, want)
	} else if d.o.CanCap == "" && !d.o.Cap.near(want) && (d.o.Cap != Limits{} || want != Limits{}) {
		d.say("", "limits of "+render.Parent(d.o.Facts, d.s.Name), d.o.Cap.String(), want.String())
	}
	if v := render.Volume(d.s); v != "" && !d.o.Volumes[v] {
		d.say("", "volume", "", v)
	}
	switch {
	case d.o.Stopped():
		d.say("", "state", "stopped", "running")
	case inf.State != Running:
		d.say("", "state of the infra container", string(inf.State), string(Running))
	case inf.Restart != "always":
		d.say("", "restart policy of the infra container", inf.Restart, "always")
	}
	for _, step := range p.Steps {
		switch {
		case step.Op == Grow:
			d.say("", "size of volume "+step.Name, d.o.Sizes[step.Name].String(), step.Volume.Size.String())
		case step.Op == Connect && step.Target == inf.ID:
			d.say("", "network", "", step.Name)
		}
	}
}

// member is what differs in one container.
func (d *differ) member(c spec.Container) {
	b := &builder{s: d.s, o: d.o}
	all := b.of(c.Name)
	if len(all) == 0 {
		d.say(c.Name, "container", "", c.Image)
		return
	}
	have, _ := serving(all, render.MemberName(d.s.Name, c.Name))
	if len(all) > 1 {
		d.say(c.Name, "containers", strconv.Itoa(len(all)), "1")
	}
	if d.o.Infra != nil && have.NetOf != d.o.Infra.ID {
		d.say(c.Name, "network", "that of an infra container that is gone", "that of the set")
	}
	if have.Hash != spec.HashContainer(c) {
		data, _ := spec.MarshalContainer(&c) // as in set
		d.keys(c.Name, have.Spec, string(data), "Name", "Options.CPU", "Options.MEM", "Options.Cores", "Options.Memory", "Options.Update", "Options.EnvFiles")
	} else if id := d.o.Images[c.Image]; id != "" && id != have.ImageID {
		d.say(c.Name, "what image "+c.Image+" means", short(have.ImageID), short(id))
	}
	// A share of the total is another when that is.
	was := d.s
	if d.o.Infra != nil {
		was.CPU, was.MEM = d.o.Infra.Limits.CPU, d.o.Infra.Limits.MEM
	}
	want, share := limitsOf(d.s, c), limitsOf(was, c)
	if (Limits{CPU: have.Limits.CPU}).near(Limits{CPU: share.CPU}) {
		want.CPU = have.Limits.CPU
	}
	if have.Limits.MEM == share.MEM {
		want.MEM = share.MEM
	}
	d.limits(c.Name, have.Limits, want)
	d.run(c, have)
}

// run is whether a container runs as it is to; in a set that does not, others say why.
func (d *differ) run(c spec.Container, have Container) {
	if d.o.Infra == nil || d.o.Infra.State != Running {
		return
	}
	switch {
	case have.State == Running && have.Stranded:
		d.say(c.Name, "network", "a dead one", "that of the set")
	case have.live(), c.Options.Once && have.State == Exited && have.ExitCode == 0:
	case have.State == Exited:
		d.say(c.Name, "state", fmt.Sprintf("exited (%d)", have.ExitCode), string(Running))
	default:
		d.say(c.Name, "state", string(have.State), string(Running))
	}
	d.say(c.Name, "restart policy", have.Restart, policyOf(c))
}

func (d *differ) limits(member string, have, want Limits) {
	cpu := func(c spec.Cores) string {
		if c == 0 {
			return ""
		}
		return strconv.FormatFloat(float64(c), 'f', -1, 64)
	}
	mem := func(b spec.Bytes) string {
		if b == 0 {
			return ""
		}
		return b.String()
	}
	if !(Limits{CPU: have.CPU}).near(Limits{CPU: want.CPU}) {
		d.say(member, "CPU", cpu(have.CPU), cpu(want.CPU))
	}
	d.say(member, "MEM", mem(have.MEM), mem(want.MEM))
}

// keys compares two specs as JSON, but for some keys.
func (d *differ) keys(member, have, want string, but ...string) {
	var x, y map[string]any
	if json.Unmarshal([]byte(have), &x) != nil || json.Unmarshal([]byte(want), &y) != nil {
		d.say(member, "specification", "one of another release", "this one")
		return
	}
	before := len(d.out)
	d.objects(member, "", x, y, but)
	if len(d.out) == before {
		d.say(member, "specification", "one of another release", "this one")
	}
}

func (d *differ) objects(member, path string, have, want map[string]any, but []string) {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, want)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		at := key
		if path != "" {
			at = path + "." + key
		}
		if slices.Contains(but, at) {
			continue
		}
		x, one := have[key].(map[string]any)
		y, other := want[key].(map[string]any)
		if one && other || key == "Options" {
			d.objects(member, at, x, y, but)
			continue
		}
		// Users know where Options are.
		what := strings.TrimPrefix(at, "Options.")
		d.say(member, what, value(have, key), value(want, key))
	}
}

// value is a value as a user writes it, with an end when it is long.
func value(of map[string]any, key string) string {
	v, there := of[key]
	if !there {
		return ""
	}
	data, _ := json.Marshal(v) // of what was decoded
	if r := []rune(string(data)); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return string(data)
}

// short is the beginning of an image's id.
func short(id string) string { return id[:min(len(id), len("sha256:")+12)] }
