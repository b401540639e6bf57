package api

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of resource, as it stands in paths.
type Kind string

// The kinds.
const (
	Hosts        Kind = "hosts"
	Services     Kind = "services"
	SetInstances Kind = "sets"
	Operations   Kind = "operations"
	Events       Kind = "events"
	Tokens       Kind = "tokens"
	Networks     Kind = "networks"
	Leftovers    Kind = "leftovers"
	Quotas       Kind = "quotas"
	Revocations  Kind = "revocations"
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{Hosts, Services, SetInstances, Operations, Events, Tokens, Networks, Leftovers, Quotas, Revocations}
}

// Meta is what all resources have.
type Meta struct {
	// Name is that of the resource among those of its kind.
	Name string `json:"name"`
	// UID tells two apart that had one name after each other. It is given by the store.
	UID string `json:"uid,omitzero"`
	// Revision is that of the store when the resource last changed, and its ETag. What
	// is sent with one is a change of that very state.
	Revision int64 `json:"revision,omitzero"`
	// Generation is raised by each change of Spec.
	Generation int64     `json:"generation,omitzero"`
	Created    time.Time `json:"created,omitzero"`
	// Deleted is when it was asked to go. It stays until nothing of it is left.
	Deleted time.Time         `json:"deleted,omitzero"`
	Labels  map[string]string `json:"labels,omitzero"`
	// Request is a hash of the Idempotency-Key and the body that made it.
	Request string `json:"request,omitzero"`
}

// TenantOf is the tenant that a service or set of this name is of: what is before the
// first '-'.
func TenantOf(name string) string {
	tenant, _, ok := strings.Cut(name, "-")
	if !ok {
		return ""
	}
	return tenant
}

// OwnerOf is the tenant that a set of this name, SERVICE-SLOT, is of: that of its service. shop-1
// may be of a service shop, which is not tenant shop's.
func OwnerOf(set string) string { return TenantOf(set[:max(0, strings.LastIndexByte(set, '-'))]) }

// Resource is any of the kinds.
type Resource interface {
	Kind() Kind
	Head() *Meta
	Check() error
}

// The longest names. A set is named SERVICE-SLOT, which package setmgr/spec bounds at 40.
const (
	longestService = 34
	longestLabel   = 63
	longestHost    = 253
)

func (f *flaws) meta(m *Meta, what string, most int, dots bool) {
	switch {
	case m.Name == "":
		f.add("name", "the %s has no name", what)
	case len(m.Name) > most:
		f.add("name", "%.60q has %d characters: a %s has %d at most", m.Name, len(m.Name), what, most)
	case !dnsName(m.Name, dots):
		f.add("name", "%q is no name of a %s: it is part of names in DNS, so take small letters, digits and '-' in between", m.Name, what)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		value := m.Labels[key]
		if key == "" || strings.ContainsAny(key, " \t\n=,") || len(key) > longestHost || len(value) > longestHost {
			f.add("labels", "%.60q=%.60q is no label: keys have no blanks, '=' and ',', and both have %d characters at most", key, value, longestHost)
		}
	}
}

// dnsName says whether s is one label of DNS, or several with dots between them.
func dnsName(s string, dots bool) bool {
	if dots {
		for part := range strings.SplitSeq(s, ".") {
			if !dnsName(part, false) {
				return false
			}
		}
		return true
	}
	return s != "" && len(s) <= longestLabel && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
