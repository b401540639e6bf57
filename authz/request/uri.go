package request

import (
	"net/url"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// longestURI bounds the work on one.
const longestURI = 64 << 10

// target is a request URI, taken apart.
type target struct {
	version string // "1.41", or "" when the URI names none
	path    string // without the version, begins with a slash
	query   string
}

// canonical takes a request URI apart and refuses every spelling but one.
func canonical(uri string) (target, error) {
	var t target
	if len(uri) > longestURI {
		return t, fault.Invalid("the URI has %d characters; %d are taken", len(uri), longestURI)
	}
	if uri == "" || uri[0] != '/' {
		return t, fault.Invalid("the URI does not begin with a slash: send the path only")
	}
	for i := range len(uri) {
		if uri[i] <= ' ' || uri[i] >= 0x7f {
			return t, fault.Invalid("the URI has a %q: escape it in parameters", uri[i])
		}
	}
	t.path, t.query, _ = strings.Cut(uri, "?")
	for i := range len(t.path) {
		if odd(t.path[i]) {
			return t, fault.Invalid("the path has a %q: write names plainly, without escapes, or use an id", t.path[i])
		}
	}
	for part := range strings.SplitSeq(t.path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return t, fault.Invalid("the path has an empty part or one of dots")
		}
	}
	first, rest, _ := strings.Cut(t.path[1:], "/")
	if !versioned(first) {
		return t, nil
	}
	if t.version = first[1:]; !canonicalVersion(t.version) || rest == "" {
		return t, fault.Invalid("API version %.20q is not taken: write it as v1.24 or newer", first)
	}
	t.path = t.path[1+len(first):]
	return t, nil
}

// odd says whether no name that Docker gives has a character.
func odd(c byte) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("/._-:@+", c) < 0
}

// versioned says whether an Engine takes the first part of a path for a version:
// v, then digits and dots.
func versioned(s string) bool {
	return len(s) > 1 && s[0] == 'v' && strings.Trim(s[1:], "0123456789.") == ""
}

// canonicalVersion takes 1.24 to 1.999. Before 1.24 a start takes a body with all
// of a container's rights.
func canonicalVersion(s string) bool {
	minor, ok := strings.CutPrefix(s, "1.")
	if !ok || len(minor) < 2 || len(minor) > 3 || minor[0] == '0' || strings.Trim(minor, "0123456789") != "" {
		return false
	}
	return len(minor) == 3 || minor >= "24"
}

// params reads the parameters of a route.
func params(r *Route, query string) (map[string][]string, error) {
	if query == "" {
		return nil, nil
	}
	out := map[string][]string{}
	if strings.ContainsRune(query, ';') {
		return nil, fault.Invalid("the query has a semicolon: write %%3B")
	}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(k)
		value, verr := url.QueryUnescape(v)
		if kerr != nil || verr != nil {
			return nil, fault.Invalid("the query has an escape that cannot be read")
		}
		known, list := r.param(key)
		if !known {
			return nil, fault.Invalid("parameter %.40q of %s %s is not known: this policy may be older than the client", key, r.Method, r.Path)
		}
		if _, twice := out[key]; twice && !list {
			return nil, fault.Invalid("parameter %.40q is there twice", key)
		}
		out[key] = append(out[key], value)
	}
	return out, nil
}
