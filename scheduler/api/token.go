package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Role is what somebody may do.
type Role string

// The roles.
const (
	Admin    Role = "admin"     // all
	Operator Role = "operator"  // all but tokens
	Tenant   Role = "tenant"    // services that are its own
	OfHost   Role = "host"      // a host that joins or is linked
	ReadOnly Role = "read-only" // looks
)

// Roles are all of them.
func Roles() []Role { return []Role{Admin, Operator, Tenant, OfHost, ReadOnly} }

// Token lets its bearer in. Only a hash of the secret is stored.
type Token struct {
	Meta
	Spec TokenSpec `json:"spec"`
}

// TokenSpec is what a token is for. It is not changed.
type TokenSpec struct {
	Role Role `json:"role"`
	// Tenant is whose services a bearer of this role may see and change: those whose names
	// begin with TENANT-.
	Tenant  string    `json:"tenant,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // never, if zero
	Hash    string    `json:"hash,omitzero"`    // SHA-256 of the secret, in hex
}

const (
	secretPrefix = "mos." // by it a secret that lies about is recognized
	secretBytes  = 32
)

// NewToken makes a token and the secret by which its bearer is known: mos.NAME.RANDOM.
func NewToken(name string, spec TokenSpec) (*Token, string) {
	data := make([]byte, secretBytes)
	_, _ = rand.Read(data) // never fails
	secret := secretPrefix + name + "." + base64.RawURLEncoding.EncodeToString(data)
	spec.Hash = hashOf(secret)
	return &Token{Meta: Meta{Name: name}, Spec: spec}, secret
}

// plain is a secret without what follows it: that of a host's token is followed by the hash
// of the authority's certificate.
func plain(secret string) string {
	const parts = 3
	all := strings.SplitN(secret, ".", parts+1)
	return strings.Join(all[:min(len(all), parts)], ".")
}

// TokenName is the name of the token that a secret belongs to; false if it is no secret.
func TokenName(secret string) (string, bool) {
	rest, ours := strings.CutPrefix(secret, secretPrefix)
	name, random, whole := strings.Cut(rest, ".")
	return name, ours && whole && random != "" && len(name) <= longestLabel && dnsName(name, false)
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Admits says whether the bearer of a secret is let in now. The error is of class
// Unauthenticated.
func (t *Token) Admits(secret string, now time.Time) error {
	switch {
	case subtle.ConstantTimeCompare([]byte(t.Spec.Hash), []byte(hashOf(plain(secret)))) != 1:
		return fault.Of(errdefs.ErrUnauthenticated, "the token is not known")
	case !t.Spec.Expires.IsZero() && !now.Before(t.Spec.Expires):
		return fault.Of(errdefs.ErrUnauthenticated, "token %s expired at %s: have another made", t.Name, t.Spec.Expires.Format(time.RFC3339))
	}
	return nil
}

// Kind is Tokens.
func (t *Token) Kind() Kind { return Tokens }

// Head is the token's Meta.
func (t *Token) Head() *Meta { return &t.Meta }

// Check says all that is wrong with a token. The error is of class InvalidArgument.
func (t *Token) Check() error {
	var f flaws
	f.meta(&t.Meta, "token", longestLabel, false)
	oneOf(&f, "spec.role", t.Spec.Role, Roles()...)
	switch {
	case t.Spec.Role == Tenant && !isTenant(t.Spec.Tenant):
		f.add("spec.tenant", "%.60q is no name of a tenant: take small letters and digits", t.Spec.Tenant)
	case t.Spec.Role != Tenant && t.Spec.Tenant != "":
		f.add("spec.tenant", "only a token of role %s has one", Tenant)
	}
	if len(t.Spec.Hash) != 2*sha256.Size {
		f.add("spec.hash", "it is no SHA-256")
	}
	return f.err()
}

// isTenant says whether this is the name of a tenant.
func isTenant(name string) bool { return dnsName(name, false) && !strings.Contains(name, "-") }
