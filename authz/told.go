package authz

import (
	"encoding/base64"
	"strings"

	"github.com/docker/go-plugins-helpers/authorization"
	"github.com/go-json-experiment/json/jsontext"
)

// told is what an Engine tells of a request.
type told authorization.Request

// ReadPlain implements [pluginsrv.Plain] for what Engines write on a local socket: names of
// fields as they are, no space between, texts of ASCII, no certificates, no answer. All
// else, and all that is wrong, is left to the other way.
func (t *told) ReadPlain(body []byte) bool {
	p := plain{rest: string(body)}
	p.take('{')
	for seen := 0; !p.odd; {
		field := p.text()
		p.take(':')
		bit := t.field(field, &p)
		if p.odd || seen&bit != 0 {
			return false
		}
		seen |= bit
		if !p.more('}') {
			break
		}
	}
	return !p.odd && strings.TrimRight(p.rest, "\n") == ""
}

// field reads the value of a field, and returns a bit of its own.
func (t *told) field(name string, p *plain) int {
	switch name {
	case "User":
		t.User = p.text()
		return 1
	case "UserAuthNMethod":
		t.UserAuthNMethod = p.text()
		return 2
	case "RequestMethod":
		t.RequestMethod = p.text()
		return 4
	case "RequestUri":
		t.RequestURI = p.text()
		return 8
	case "RequestBody":
		var err error
		t.RequestBody, err = base64.StdEncoding.DecodeString(p.text())
		p.odd = p.odd || err != nil
		return 16
	case "RequestHeaders":
		t.RequestHeaders = p.texts()
		return 32
	}
	p.odd = true
	return 0
}

// plain reads JSON of a plain form; odd is set by what has another, for good.
type plain struct {
	rest string
	odd  bool
}

func (p *plain) take(c byte) {
	if p.odd || p.rest == "" || p.rest[0] != c {
		p.odd = true
		return
	}
	p.rest = p.rest[1:]
}

// more takes a comma or the end of an object, and says whether it was the comma.
func (p *plain) more(end byte) bool {
	if !p.odd && p.rest != "" && p.rest[0] == ',' {
		p.rest = p.rest[1:]
		return true
	}
	p.take(end)
	return false
}

// text is a string.
func (p *plain) text() string {
	whole := p.rest
	p.take('"')
	if p.odd {
		return ""
	}
	escaped := false
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			s := p.rest[:i]
			p.rest = p.rest[i+1:]
			if !escaped {
				return s
			}
			out, err := jsontext.AppendUnquote(nil, whole[:i+2])
			p.odd = err != nil
			return string(out)
		case c == '\\':
			escaped = true
			i++
		case c < ' ' || c > '~':
			p.odd = true
			return ""
		}
	}
	p.odd = true
	return ""
}

// texts is an object of strings, no key of which is there twice.
func (p *plain) texts() map[string]string {
	p.take('{')
	out := map[string]string{}
	for !p.odd {
		key := p.text()
		p.take(':')
		value := p.text()
		if _, twice := out[key]; twice {
			p.odd = true
		}
		out[key] = value
		if !p.more('}') {
			break
		}
	}
	return out
}
