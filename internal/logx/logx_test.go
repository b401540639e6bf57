package logx

import (
	"bytes"
	"strings"
	"testing"
)

func TestLevelChangesWhileRunning(t *testing.T) {
	var b bytes.Buffer
	l, err := New(&b, Config{Level: "info", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	l.Debug("hidden")
	if err := l.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	l.With("component", "x").Debug("shown", "port", "p1")
	if got := b.String(); strings.Contains(got, "hidden") || !strings.Contains(got, `"port":"p1"`) || !strings.Contains(got, `"component":"x"`) {
		t.Errorf("got %s", got)
	}
	if l.Level() != "debug" {
		t.Errorf("level %s, want debug", l.Level())
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	for _, c := range []Config{{Level: "loud", Format: "text"}, {Level: "info", Format: "xml"}} {
		if _, err := New(&bytes.Buffer{}, c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
