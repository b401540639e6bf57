package sink

import (
	"strings"
	"testing"
)

func TestFaultsOfOptionsAreNamedTogether(t *testing.T) {
	o := Options{
		Scopes: []string{"pod"}, Metrics: []string{"cpu.[", "!"}, Tags: []string{"a", "b=1", "b=2"},
		Names: []string{"cpu.nothing=x"},
	}
	err := o.Check()
	for _, want := range []string{`scopes: want container, set, host or agent, not "pod"`, `metrics: "cpu.[" is no pattern`, `tags: want NAME=VALUE`, `names: there is no metric "cpu.nothing"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if err := (&Options{}).Check(); err != nil {
		t.Error(err)
	}
}
