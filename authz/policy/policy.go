package policy

import (
	"slices"
	"strings"
)

// Mode is what becomes of what a policy denies.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // it is refused
	Warn    Mode = "warn"    // it is let through, and the log warns
	Audit   Mode = "audit"   // it is let through, and noted in the audit log
)

// Policy is a policy file that has no faults.
type Policy struct {
	Mode     Mode
	Who      []Subject
	Profiles map[string]*Profile
}

// Subject is people and programs that a policy speaks of under one name.
type Subject struct {
	Name    string   `toml:"name" doc:"Name in the audit log and in answers."`
	Profile string   `toml:"profile" doc:"Profile: one of the file's own, or open, operator, tenant, readonly or ci."`
	Owner   string   `toml:"owner" doc:"Value of the label mos.owner on all that the subject makes; empty is its name. Subjects with one owner share."`
	Local   bool     `toml:"local" doc:"Fits whoever reaches an Engine's own unix socket, which tells plugins nothing about its clients."`
	UID     []uint32 `toml:"uid" doc:"Fits clients of the guarded socket with one of these user ids."`
	GID     []uint32 `toml:"gid" doc:"Fits clients of the guarded socket in one of these groups, supplementary ones too."`
	CN      []string `toml:"cn" doc:"Fits clients with a TLS certificate whose common name fits one of these patterns; * stands for any characters."`
	SAN     []string `toml:"san" doc:"Fits clients with a TLS certificate one of whose alternative names (DNS, mail, URI, address) fits."`
}

// Who is the client of a request as a front knows it.
type Who struct {
	Unix   bool // UID and Groups are known
	UID    uint32
	Groups []uint32
	CN     string
	SAN    []string
}

// String is the client in a few words.
func (w Who) String() string {
	switch {
	case w.Unix:
		return "uid " + itoa(w.UID)
	case w.CN != "":
		return "cn " + w.CN
	}
	return "local"
}

// Find returns the first subject that the client fits, nil when there is none.
func (p *Policy) Find(w Who) *Subject {
	for i := range p.Who {
		if p.Who[i].fits(w) {
			return &p.Who[i]
		}
	}
	return nil
}

func (s *Subject) fits(w Who) bool {
	switch {
	case w.Unix:
		return slices.Contains(s.UID, w.UID) || slices.ContainsFunc(w.Groups, func(g uint32) bool { return slices.Contains(s.GID, g) })
	case w.CN != "" || len(w.SAN) > 0:
		return w.CN != "" && fitsAny(s.CN, w.CN) || slices.ContainsFunc(w.SAN, func(n string) bool { return fitsAny(s.SAN, n) })
	}
	return s.Local
}

// Profile is what a subject may do.
type Profile struct {
	Name   string
	Mode   Mode
	Infra  bool
	Rules  []Rule
	Limits Limits

	on map[string][]*Rule // Rules by action, in their order
}

// Rule is one line of a profile.
type Rule struct {
	Allow  []string `toml:"allow" doc:"Actions that are let through, such as container.rm, container.* or *."`
	Deny   []string `toml:"deny" doc:"Actions that are refused. A rule has either allow or deny."`
	Owner  string   `toml:"owner" doc:"The rule is about objects of this owner only: self, none (nobody's), other (not the subject's own), or a name."`
	Labels []string `toml:"labels" doc:"The rule is about objects that have all of these labels only, each key or key=value."`
	Names  []string `toml:"names" doc:"The rule is about objects whose name fits one of these patterns only."`
	Reason string   `toml:"reason" doc:"What the user is told when the rule refuses."`

	name    string
	actions []string // those of Allow or Deny
}

// Object is what an action is done to. The zero value is no object.
type Object struct {
	Kind   string // container, image, volume, network, or "" for none
	Name   string // as the Engine has it
	Owner  string // of the label mos.owner, "" is nobody's
	Labels map[string]string

	// Asked is what the client wrote where he is not to learn the name by the beginning of an id.
	Asked string
}

// Said is what a refusal calls the object.
func (o Object) Said() string {
	if o.Asked != "" {
		return o.Asked
	}
	return o.Name
}

// Ruling is the answer to one action on one object.
type Ruling struct {
	Allow  bool
	Rule   string // which one decided
	Reason string // why not, for people
}

// Decide finds the first rule that fits. self is the owner that the subject is.
func (p *Profile) Decide(action string, o Object, self string) Ruling {
	for _, r := range p.on[action] {
		if !r.about(o, self) {
			continue
		}
		if len(r.Allow) > 0 {
			return Ruling{Allow: true, Rule: r.name}
		}
		if r.Reason != "" {
			return Ruling{Rule: r.name, Reason: r.Reason + " (" + action + ")"}
		}
		return Ruling{Rule: r.name, Reason: "the policy refuses " + action + about(o)}
	}
	return Ruling{Rule: "profile " + p.Name + ": default", Reason: "no rule of the policy allows " + action + about(o)}
}

func about(o Object) string {
	if o.Kind == "" {
		return ""
	}
	s := " on " + o.Kind + " " + clip(o.Said())
	switch {
	case o.Owner != "":
		s += ", which belongs to " + clip(o.Owner)
	default:
		s += ", which is nobody's"
	}
	return s
}

// about says whether a rule's conditions on the object hold.
func (r *Rule) about(o Object, self string) bool {
	switch r.Owner {
	case "":
	case "self":
		if o.Owner == "" || o.Owner != self {
			return false
		}
	case "none":
		if o.Owner != "" {
			return false
		}
	case "other":
		if o.Owner == self {
			return false
		}
	default:
		if o.Owner != r.Owner {
			return false
		}
	}
	for _, l := range r.Labels {
		k, want, valued := strings.Cut(l, "=")
		if has, ok := o.Labels[k]; !ok || valued && has != want {
			return false
		}
	}
	return len(r.Names) == 0 || fitsAny(r.Names, o.Name)
}

func fitsAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if Fits(p, s) {
			return true
		}
	}
	return false
}

// Fits says whether s fits a pattern, in which * stands for any characters.
func Fits(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		var part string
		if part, rest, star = strings.Cut(rest, "*"); !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
}

// clip shortens what a client sent.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Particular says whether a rule of the profile looks at objects.
func (p *Profile) Particular() bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Owner != "" || len(r.Labels)+len(r.Names) > 0 })
}
