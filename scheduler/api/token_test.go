package api

import (
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func TestATokenAdmitsItsBearerOnly(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	token, secret := NewToken("ci", TokenSpec{Role: Operator, Expires: now.Add(time.Hour)})
	if err := token.Check(); err != nil {
		t.Fatal(err)
	}
	if name, ok := TokenName(secret); !ok || name != "ci" {
		t.Errorf("%q is of token %q, %t", secret, name, ok)
	}
	data, err := Encode(token)
	if err != nil || strings.Contains(string(data), secret[len("mos.ci."):]) {
		t.Errorf("the secret is in what is stored: %s, %v", data, err)
	}
	if err := token.Admits(secret, now); err != nil {
		t.Error(err)
	}
	if err := token.Admits(secret+"."+strings.Repeat("0a", 32), now); err != nil {
		t.Errorf("with a hash of the authority: %v", err)
	}
	_, other := NewToken("ci", TokenSpec{Role: Operator})
	for name, err := range map[string]error{
		"another": token.Admits(other, now), "nothing": token.Admits("", now),
		"the-hash": token.Admits(token.Spec.Hash, now), "late": token.Admits(secret, now.Add(time.Hour)),
	} {
		if !errdefs.IsUnauthorized(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoSecret(t *testing.T) {
	for _, s := range []string{"", "mos.", "mos.ci", "mos.ci.", "mos..x", "ci.x", "mos.C I.x", "mos." + strings.Repeat("x", 64) + ".x"} {
		if name, ok := TokenName(s); ok {
			t.Errorf("%q is taken for one of %q", s, name)
		}
	}
}

func TestATokenNamesWhatItIsFor(t *testing.T) {
	for want, spec := range map[string]TokenSpec{
		"spec.role":   {Role: "root"},
		"spec.tenant": {Role: Tenant},
		"only a":      {Role: Operator, Tenant: "shop"},
	} {
		token, _ := NewToken("x", spec)
		if err := token.Check(); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
}
