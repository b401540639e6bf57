package version

import "testing"

func TestStringIsNeverEmpty(t *testing.T) {
	if s := String(); s == "" || s == "(devel)" {
		t.Errorf("got %q", s)
	}
}
