package judge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/fault"
)

// Suite is tests of a policy, read from a text of lines:
//
//	# Team a may not look into the containers of team b.
//	object container web owner=team-b label=stage=prod
//	who    uid=1000 gid=2000
//	call   POST /v1.45/containers/web/exec
//	body   {"Cmd": ["sh"]}
//	want   deny belongs to team-b
//
// An object (container, exec, image, volume, network) is there from its line on,
// a who (uid=, gid=, cn=, san=, or local) and a front (proxy, which is the usual
// one, or plugin) hold until the next of their kind. A call, with a body where it
// has one, is one test. It ends with want allow or want deny, behind which may be
// a part of the rule or the reason.
type Suite struct {
	Cases []Case
}

// Case is one test.
type Case struct {
	Line   int // of its call
	Who    policy.Who
	Front  Front
	Raw    request.Raw
	Deny   bool
	Part   string // of rule or reason
	things Things
}

// Result is what became of a case.
type Result struct {
	Case
	Verdict
	OK bool
}

// Run judges all cases.
func (s *Suite) Run(p *policy.Policy) []Result {
	out := make([]Result, 0, len(s.Cases))
	for _, c := range s.Cases {
		v := Judge(p, c.Front, c.Who, c.Raw, c.things)
		ok := v.Denied == c.Deny && (strings.Contains(v.Rule, c.Part) || strings.Contains(v.Reason, c.Part))
		out = append(out, Result{c, v, ok})
	}
	return out
}

// ParseSuite reads tests. An error names the line.
func ParseSuite(name, text string) (*Suite, error) {
	r := &reader{front: Proxy}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if err := r.line(n, word, strings.TrimSpace(rest)); err != nil {
			return nil, fault.Invalid("%s:%d: %w", name, n, err)
		}
	}
	if r.open {
		return nil, fault.Invalid("%s:%d: the call has no want", name, r.c.Line)
	}
	return &Suite{r.cases}, nil
}

type reader struct {
	who    policy.Who
	front  Front
	things Things
	cases  []Case
	c      Case
	open   bool // a call has no want yet
}

func (r *reader) line(n int, word, rest string) error {
	switch word {
	case "object":
		return r.object(rest)
	case "who":
		who, err := ParseWho(rest)
		r.who = who
		return err
	case "front":
		switch rest {
		case "proxy":
			r.front = Proxy
		case "plugin":
			r.front = Plugin
		default:
			return fmt.Errorf("front %q is neither proxy nor plugin", rest)
		}
	case "call":
		if r.open {
			return fmt.Errorf("the call of line %d has no want", r.c.Line)
		}
		method, uri, ok := strings.Cut(rest, " ")
		if !ok {
			return fmt.Errorf("want call METHOD URI, not %q", rest)
		}
		r.open = true
		r.c = Case{Line: n, Who: r.who, Front: r.front, Raw: request.Raw{Method: method, URI: strings.TrimSpace(uri), Whole: r.front == Proxy}}
		r.c.things = append(r.c.things, r.things...)
	case "body":
		if !r.open {
			return fmt.Errorf("a body without a call")
		}
		r.c.Raw.Body = append(r.c.Raw.Body, rest...)
	case "want":
		if !r.open {
			return fmt.Errorf("a want without a call")
		}
		answer, part, _ := strings.Cut(rest, " ")
		if answer != "allow" && answer != "deny" {
			return fmt.Errorf("want %q: it is allow or deny", answer)
		}
		r.c.Raw.Header = Headers(string(r.c.Raw.Body))
		r.c.Deny, r.c.Part, r.open = answer == "deny", strings.TrimSpace(part), false
		r.cases = append(r.cases, r.c)
	default:
		return fmt.Errorf("%q is none of object, who, front, call, body, want", word)
	}
	return nil
}

// Headers are those that the docker command sends with a body.
func Headers(body string) map[string][]string {
	h := map[string][]string{"Content-Length": {strconv.Itoa(len(body))}}
	if body != "" {
		h["Content-Type"] = []string{"application/json"}
	}
	return h
}

// ParseWho reads a client, such as "uid=1000 gid=2000", "cn=web" or "local".
func ParseWho(text string) (policy.Who, error) {
	w := policy.Who{UID: nobody}
	for f := range strings.FieldsSeq(text) {
		k, v, _ := strings.Cut(f, "=")
		switch k {
		case "local":
		case "uid", "gid":
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return w, fault.Invalid("%s %q is no number", k, v)
			}
			w.Unix = true
			if k == "uid" {
				w.UID = uint32(n)
			} else {
				w.Groups = append(w.Groups, uint32(n))
			}
		case "cn":
			w.CN = v
		case "san":
			w.SAN = append(w.SAN, v)
		default:
			return w, fault.Invalid("%q is none of uid=, gid=, cn=, san=, local", f)
		}
	}
	return w, nil
}

// nobody is the user of a client of whom only groups are told.
const nobody = 65534

func (r *reader) object(text string) error {
	f := strings.Fields(text)
	if len(f) < 2 {
		return fmt.Errorf("want object KIND NAME, not %q", text)
	}
	o := Found{Object: policy.Object{Kind: f[0], Name: f[1], Labels: map[string]string{}}, ID: f[1]}
	switch o.Kind {
	case "container", "exec", "volume", "network":
	case "image":
		o.Names = []string{fullName(o.Name)}
	default:
		return fmt.Errorf("kind %q is none of container, exec, image, volume, network", o.Kind)
	}
	for _, w := range f[2:] {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "id", "container": // of an exec: whose it is
			o.ID = v
		case "owner":
			o.Owner = v
			if o.Kind != "image" {
				o.Labels[OwnerLabel] = v
			} else {
				o.Labels[BuilderLabel] = v
			}
		case "label":
			key, value, _ := strings.Cut(v, "=")
			o.Labels[key] = value
		case "driver":
			o.Driver = v
		case "path":
			o.Paths = append(o.Paths, v)
		case "net":
			o.Nets = append(o.Nets, v)
		case "peer":
			o.Peers = append(o.Peers, v)
		case "users":
			o.Users = append(o.Users, strings.FieldsFunc(v, func(r rune) bool { return r == ',' })...)
		default:
			return fmt.Errorf("%q is none of id=, owner=, label=, driver=, users=, path=, container=, net=, peer=", w)
		}
	}
	r.things = append(r.things, o)
	return nil
}

// Things is a [Lookup] of objects in memory.
type Things []Found

func (t Things) find(kind, ref string) (Found, error) {
	for _, o := range t {
		if o.Kind == kind && (o.Name == ref || o.ID == ref || kind == "image" && fullName(o.Name) == fullName(ref)) {
			return o, nil
		}
	}
	return Found{}, fault.NotFound("no such %s: %s", kind, ref)
}

// Container implements [Lookup].
func (t Things) Container(ref string) (Found, error) { return t.find("container", ref) }

// Exec implements [Lookup].
func (t Things) Exec(id string) (string, error) {
	o, err := t.find("exec", id)
	return o.ID, err
}

// Image implements [Lookup].
func (t Things) Image(ref string) (Found, error) { return t.find("image", ref) }

// Volume implements [Lookup].
func (t Things) Volume(name string) (Found, error) { return t.find("volume", name) }

// Network implements [Lookup].
func (t Things) Network(ref string) (Found, error) { return t.find("network", ref) }
