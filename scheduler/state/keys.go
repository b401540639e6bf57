package state

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Kinds that are no resources, for [Store.Watch].
const (
	Claims  api.Kind = "claims"
	Members api.Kind = "members"
)

const candidates = "v1/leader" // below it, a key for each

// keys are all names in etcd.
type keys struct{ prefix string } // ends in a slash

func (k keys) schema() string            { return k.prefix + "schema" }
func (k keys) receipts(of string) string { return k.prefix + "receipts/" + of + "/" }
func (k keys) all() string               { return k.prefix + "v1/" }
func (k keys) kind(kind api.Kind) string { return k.all() + string(kind) + "/" }

func (k keys) resource(kind api.Kind, name string) string { return k.kind(kind) + name }

func (k keys) claim(t Thing) string {
	return k.things(t.Class, t.Within) + url.PathEscape(t.Name)
}

func (k keys) things(class, within string) string {
	return k.kind(Claims) + url.PathEscape(class) + "/" + url.PathEscape(within) + "/"
}

// split says what a key below all() is of.
func (k keys) split(key string) (kind api.Kind, name string) {
	dir, name, _ := strings.Cut(strings.TrimPrefix(key, k.all()), "/")
	return api.Kind(dir), name
}

// Thing is what one set, or host, at most may hold.
type Thing struct {
	Class  string // address, block, volume, port
	Within string // what Name is unique in; nothing for the whole cluster
	Name   string
}

// Address is one in a network of the cluster.
func Address(network string, addr netip.Addr) Thing {
	return Thing{"address", network, addr.Unmap().WithZone("").String()}
}

// Block is a part of a network of the cluster, of which a host gives out the addresses.
func Block(network string, prefix netip.Prefix) Thing {
	return Thing{"block", network, prefix.String()}
}

// Volume is a volume, whose name is one in the cluster.
func Volume(name string) Thing { return Thing{"volume", "", name} }

// Port is a port of a host, such as 8080 of tcp.
func Port(host, protocol string, port uint16) Thing {
	return Thing{"port", host, protocol + "-" + strconv.Itoa(int(port))}
}

func (t Thing) String() string {
	s := t.Class + " " + t.Name
	if t.Within != "" {
		s += " of " + t.Within
	}
	return s
}

// thing reads what claim wrote, without the folder of claims.
func thing(name string) (Thing, error) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return Thing{}, fault.Invalid("key %q is of no claim", name)
	}
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			return Thing{}, fault.Invalid("key %q is of no claim: %w", name, err)
		}
		parts[i] = plain
	}
	return Thing{parts[0], parts[1], parts[2]}, nil
}
