package policy

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"github.com/moby/sys/capability"
	"github.com/pelletier/go-toml/v2"

	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/fault"
)

//go:embed profiles.toml
var profiles string

// Profiles returns the text of the ready-made profiles.
func Profiles() string { return profiles }

// file is a policy file as it is written.
type file struct {
	Version int                     `toml:"version" doc:"Version of the format: 1."`
	Mode    Mode                    `toml:"mode" doc:"What becomes of what is denied: enforce refuses it, warn and audit let it through and note it."`
	Who     []Subject               `toml:"who" doc:"Subjects, of which the first that fits a client counts. A client that none fits is denied everything."`
	Profile map[string]*fileProfile `toml:"profile" doc:"Profiles of this file's own, by name."`
}

type fileProfile struct {
	Based  string `toml:"based" doc:"Profile whose rules follow this one's, and whose limits hold where this one has none."`
	Mode   Mode   `toml:"mode" doc:"Mode for the subjects of this profile, in place of the file's."`
	Infra  *bool  `toml:"infra" doc:"Subjects may exec, attach, copy, commit, rename and change networks of infra containers of sets."`
	Rules  []Rule `toml:"rule" doc:"Rules, of which the first that fits decides. None that fits means no."`
	Limits Limits `toml:"limits" doc:"What containers, volumes, networks and images may be made of."`
}

var readyMade = sync.OnceValues(func() (map[string]*Profile, error) { //nolint:gochecknoglobals // constant profiles
	p, err := parse("profiles.toml", []byte(profiles), nil)
	if err != nil {
		return nil, err
	}
	return p.Profiles, nil
})

// Parse reads a policy file. Its error, of class InvalidArgument, lists all
// faults, each as name:line:column: what is wrong.
func Parse(name string, text []byte) (*Policy, error) {
	ready, err := readyMade()
	if err != nil {
		return nil, err
	}
	return parse(name, text, ready)
}

func parse(name string, text []byte, ready map[string]*Profile) (*Policy, error) {
	var f file
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, tomlFaults(name, err)
	}
	c := &checker{name: name, places: places(text), ready: ready, profiles: maps.Clone(ready)}
	if c.profiles == nil {
		c.profiles = map[string]*Profile{}
	}
	if f.Version != 1 {
		c.fault("version", "want version = 1, not %d", f.Version)
	}
	if f.Mode == "" {
		f.Mode = Enforce
	}
	c.mode("mode", f.Mode)
	for _, n := range slices.Sorted(maps.Keys(f.Profile)) {
		c.profile(n, f.Profile, nil)
	}
	for i := range f.Who {
		c.subject(fmt.Sprintf("who[%d]", i), &f.Who[i])
	}
	if ready != nil && len(f.Who) == 0 {
		c.fault("who", "want one [[who]] at least: without it nobody may do anything")
	}
	if len(c.faults) > 0 {
		slices.SortStableFunc(c.faults, func(a, b misplaced) int { return cmp.Or(a.line-b.line, a.column-b.column) })
		var all []error
		for _, f := range c.faults {
			all = append(all, fmt.Errorf("%s:%d:%d: %s", name, f.line, f.column, f.what))
		}
		return nil, fault.Invalid("%w", errors.Join(all...))
	}
	return &Policy{Mode: f.Mode, Who: f.Who, Profiles: c.profiles}, nil
}

func tomlFaults(name string, err error) error {
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []error
		for _, e := range missing.Errors {
			line, col := e.Position()
			all = append(all, fmt.Errorf("%s:%d:%d: there is no key %s", name, line, col, strings.Join(e.Key(), ".")))
		}
		return fault.Invalid("%w", errors.Join(all...))
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, col := e.Position()
		return fault.Invalid("%s:%d:%d: %s", name, line, col, plain(e))
	}
	return fault.Invalid("%s: %w", name, err)
}

// plain is a decoder's words without Go's.
func plain(e *toml.DecodeError) string {
	text := strings.TrimPrefix(e.Error(), "toml: ")
	if what, of, ok := strings.Cut(text, " into "); ok && strings.HasPrefix(what, "cannot decode TOML ") {
		text = "want " + wanted(of[strings.LastIndexByte(of, ' ')+1:]) + ", not " + wanted(strings.TrimPrefix(what, "cannot decode TOML "))
	}
	if key := e.Key(); len(key) > 0 {
		return strings.Join(key, ".") + ": " + text
	}
	return text
}

// wanted names a type of Go.
func wanted(kind string) string {
	switch {
	case strings.HasPrefix(kind, "[]"):
		return "a list in brackets"
	case strings.HasPrefix(kind, "*"):
		return wanted(kind[1:])
	case strings.Contains(kind, "int"), strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "bool":
		return "true or false"
	}
	return "a " + kind
}

// misplaced is a fault and where it is.
type misplaced struct {
	place
	what string
}

// checker looks at what types cannot say.
type checker struct {
	name     string
	places   map[string]place
	ready    map[string]*Profile
	profiles map[string]*Profile // ready-made, and those compiled so far
	faults   []misplaced
}

// fault notes a fault at a key, or at the nearest key around it.
func (c *checker) fault(key, format string, args ...any) {
	at, known := c.places[key]
	for k := key; !known; at, known = c.places[k] {
		i := strings.LastIndexAny(k, ".[")
		if i < 0 {
			at = place{1, 1}
			break
		}
		k = k[:i]
	}
	c.faults = append(c.faults, misplaced{at, fmt.Sprintf(format, args...)})
}

// plainOwner says whether a name can stand in a label and in a line of a Dockerfile.
func plainOwner(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-@", c)
	}) < 0
}

func (c *checker) mode(key string, m Mode) {
	if m != Enforce && m != Warn && m != Audit {
		c.fault(key, "mode %q is none of enforce, warn, audit", m)
	}
}

func (c *checker) subject(key string, s *Subject) {
	if s.Name == "" {
		c.fault(key, "a [[who]] needs a name")
	}
	if s.Owner == "" {
		s.Owner = s.Name
	}
	if !plainOwner(s.Owner) || s.Owner == "self" || s.Owner == "none" || s.Owner == "other" {
		c.fault(key+".owner", "owner %q cannot be the value of a label: choose letters, digits, dots and dashes, none of self, none, other", s.Owner)
	}
	if c.profiles[s.Profile] == nil {
		c.fault(key+".profile", "there is no profile %q; there are %s", s.Profile, strings.Join(slices.Sorted(maps.Keys(c.profiles)), ", "))
	}
	if !s.Local && len(s.UID)+len(s.GID)+len(s.CN)+len(s.SAN) == 0 {
		c.fault(key, "%s fits nobody: give it local = true, uid, gid, cn or san", s.Name)
	}
}

// profile compiles the profile of a name, and what it is based on before that.
func (c *checker) profile(name string, all map[string]*fileProfile, path []string) {
	key := "profile." + name
	f := all[name]
	if c.profiles[name] != nil {
		if len(path) == 0 && c.ready[name] != nil {
			c.fault(key, "profile %s is ready-made: choose another name, and base it on that one", name)
		}
		return
	}
	p := &Profile{Name: name, Mode: f.Mode, Infra: Is(f.Infra), Limits: f.Limits}
	if f.Mode != "" {
		c.mode(key+".mode", f.Mode)
	}
	for i := range f.Rules {
		r := &f.Rules[i]
		at := fmt.Sprintf("%s.rule[%d]", key, i)
		c.rule(at, r)
		r.name = fmt.Sprintf("profile %s: rule %d", name, i+1)
		if pl, ok := c.places[at]; ok && c.ready != nil { // nobody has the file of the ready-made ones
			r.name += fmt.Sprintf(" (%s:%d)", c.name, pl.line)
		}
		p.Rules = append(p.Rules, *r)
	}
	if f.Based != "" {
		c.base(p, f, all, append(path, name))
	}
	c.limits(key+".limits", &p.Limits)
	p.index()
	c.profiles[name] = p
}

func (c *checker) base(p *Profile, f *fileProfile, all map[string]*fileProfile, path []string) {
	key := "profile." + p.Name + ".based"
	if slices.Contains(path, f.Based) {
		c.fault(key, "profile %s is based on itself", p.Name)
		return
	}
	if c.profiles[f.Based] == nil && all[f.Based] != nil {
		c.profile(f.Based, all, path)
	}
	base := c.profiles[f.Based]
	if base == nil {
		c.fault(key, "there is no profile %q to base %s on", f.Based, p.Name)
		return
	}
	p.Rules = append(p.Rules, base.Rules...)
	if f.Infra == nil {
		p.Infra = base.Infra
	}
	if p.Mode == "" {
		p.Mode = base.Mode
	}
	own, from := reflect.ValueOf(&p.Limits).Elem(), reflect.ValueOf(base.Limits)
	for sf, v := range own.Fields() {
		if sf.IsExported() && v.IsZero() {
			v.Set(from.FieldByIndex(sf.Index))
		}
	}
}

// index finds the rules of each action. One that a rule names twice is harmless twice.
func (p *Profile) index() {
	p.on = map[string][]*Rule{}
	for i := range p.Rules {
		r := &p.Rules[i]
		for _, action := range r.actions {
			p.on[action] = append(p.on[action], r)
		}
	}
}

func (c *checker) rule(key string, r *Rule) {
	if (len(r.Allow) == 0) == (len(r.Deny) == 0) {
		c.fault(key, "a rule has either allow or deny, with one action at least")
	}
	for _, list := range []struct {
		key  string
		acts []string
	}{{"allow", r.Allow}, {"deny", r.Deny}} {
		for _, a := range list.acts {
			known := 0
			for _, action := range Actions() {
				if Fits(a, action) {
					r.actions = append(r.actions, action)
					known++
				}
			}
			if known == 0 {
				c.fault(key+"."+list.key, "there is no action %q%s", a, similar(a))
			}
		}
	}
	for _, l := range r.Labels {
		if k, _, _ := strings.Cut(l, "="); k == "" {
			c.fault(key+".labels", "label %q has no key", l)
		}
	}
}

// similar suggests the actions of the same kind.
func similar(action string) string {
	kind, _, _ := strings.Cut(action, ".")
	var of []string
	for _, a := range Actions() {
		if strings.HasPrefix(a, kind+".") {
			of = append(of, a)
		}
	}
	if len(of) == 0 {
		return ""
	}
	return "; there are " + strings.Join(of, ", ")
}

func (c *checker) limits(key string, l *Limits) {
	for _, s := range []struct {
		key, text string
		to        *int64
	}{{"memory", l.Memory, &l.memory}, {"shm", l.SHM, &l.shm}} {
		if s.text == "" {
			continue
		}
		n, err := units.RAMInBytes(s.text)
		if err != nil || n <= 0 {
			c.fault(key+"."+s.key, "%q is no size such as 512m or 8g", s.text)
		}
		*s.to = n
	}
	for _, n := range l.HostNamespaces {
		if !slices.Contains([]string{"network", "pid", "ipc", "uts", "user", "cgroup"}, n) {
			c.fault(key+".host_namespaces", "there is no namespace %q; there are network, pid, ipc, uts, user, cgroup", n)
		}
	}
	for _, n := range l.Capabilities {
		if n != "ALL" && !slices.ContainsFunc(capability.ListKnown(), func(c capability.Cap) bool { return Fits(n, strings.ToUpper(c.String())) }) {
			c.fault(key+".capabilities", "there is no capability %q; they are named as docker run --cap-add does it: NET_ADMIN, SYS_PTRACE", n)
		}
	}
	if l.CPUs != nil && *l.CPUs <= 0 {
		c.fault(key+".cpus", "want more than 0 processors, not %v", *l.CPUs)
	}
	if l.PIDs != nil && *l.PIDs <= 0 {
		c.fault(key+".pids", "want more than 0 processes, not %d", *l.PIDs)
	}
	if l.Requests != nil && !(*l.Requests >= 0 && *l.Requests <= 1e9) {
		c.fault(key+".requests", "want a number of requests a second, 0 for no limit, not %v", *l.Requests)
	}
	if l.Burst != nil && *l.Burst < 1 {
		c.fault(key+".burst", "want 1 request at once or more, not %d", *l.Burst)
	}
	if l.Connections != nil && *l.Connections < 0 {
		c.fault(key+".connections", "want 0 connections, for no limit, or more, not %d", *l.Connections)
	}
	for _, s := range l.Subnets {
		if _, err := netip.ParsePrefix(s); err != nil {
			c.fault(key+".subnets", "%q is no subnet such as 10.8.0.0/16", s)
		}
	}
	for _, b := range l.Binds {
		if !strings.HasPrefix(b, "/") {
			c.fault(key+".binds", "%q is no absolute path", b)
		}
	}
}

// Actions lists all actions: those of the endpoints, and what a container's
// creation does to what it names.
func Actions() []string { return actions() }

var actions = sync.OnceValue(func() []string { //nolint:gochecknoglobals // a constant table
	names := map[string]bool{"container.join": true, "image.use": true, "image.import": true, "network.use": true, "volume.use": true}
	for _, r := range request.Routes() {
		names[r.Action] = true
	}
	return slices.Sorted(maps.Keys(names))
})

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
