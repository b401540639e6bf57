package api

import (
	"strings"
	"time"
)

// Revocation has certificates let in no more: that of one serial number, or all of an owner
// that were made until a time.
type Revocation struct {
	Meta
	Spec RevocationSpec `json:"spec"`
}

// RevocationSpec names a serial number, or an owner. It is not changed.
type RevocationSpec struct {
	Serial string    `json:"serial,omitzero"` // in hex, as openssl x509 -serial writes it
	Role   Role      `json:"role,omitzero"`
	Owner  string    `json:"owner,omitzero"`
	Until  time.Time `json:"until,omitzero"` // for an owner: when it was asked for
}

// NewRevocation is one by its serial number, or by its owner where that is empty.
func NewRevocation(serial string, role Role, owner string) *Revocation {
	r := &Revocation{Spec: RevocationSpec{Serial: strings.ToLower(strings.TrimLeft(serial, "0")), Role: role, Owner: owner}}
	if r.Name = string(role) + "." + owner; serial != "" {
		r.Name = "serial." + r.Spec.Serial
	}
	return r
}

// Kind is Revocations.
func (r *Revocation) Kind() Kind { return Revocations }

// Head is the revocation's Meta.
func (r *Revocation) Head() *Meta { return &r.Meta }

// Check says all that is wrong with a revocation. The error is of class InvalidArgument.
func (r *Revocation) Check() error {
	var f flaws
	f.meta(&r.Meta, "revocation", longestHost+longestLabel, true)
	s := r.Spec
	switch {
	case s.Serial != "":
		if strings.Trim(s.Serial, "0123456789abcdef") != "" || s.Role != "" || s.Owner != "" {
			f.add("spec.serial", "%.60q is no serial number in small hex, or an owner stands beside it", s.Serial)
		}
	case s.Owner == "":
		f.add("spec", "it names neither a serial number nor an owner")
	default:
		oneOf(&f, "spec.role", s.Role, Roles()...)
	}
	if want := NewRevocation(s.Serial, s.Role, s.Owner).Name; r.Name != want {
		f.add("name", "%.60q is not that of what it revokes: it is %.80s", r.Name, want)
	}
	return f.err()
}
