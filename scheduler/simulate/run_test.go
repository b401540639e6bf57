package simulate_test

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
)

func TestWhatCannotBeSimulatedIsRefused(t *testing.T) {
	good := simulate.Config{Hosts: 10, Sets: 10, Lose: 1, Fill: 0.5}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]func(*simulate.Config){
		"hosts": func(c *simulate.Config) { c.Hosts = 0 },
		"sets":  func(c *simulate.Config) { c.Sets = -1 },
		"lose":  func(c *simulate.Config) { c.Lose = 10 },
		"fill":  func(c *simulate.Config) { c.Fill = math.Inf(1) },
	} {
		c := good
		bad(&c)
		if err := simulate.Run(t.Context(), c, nil); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSimulation shows that all steps are come through and measured.
func TestSimulation(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	var out strings.Builder
	err := simulate.Run(t.Context(), simulate.Config{Hosts: 20, Sets: 60, Lose: 1, Fill: 0.4, Seed: 1, Dir: t.TempDir(), Log: testx.Logger(t)}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{`20 hosts joined`, `60 sets of \d+ services are placed`, `all are ready`, `a watch shows a change after its answer: p50 \d.* of [1-9]`, `a lone service`, `[1-9]\d* more sets of 32 cores`, `another process leads`, `1 hosts are killed: the first of \d+ sets`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestASimulationThatDoesNotFitEnds, and says why.
func TestASimulationThatDoesNotFitEnds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	err := simulate.Run(t.Context(), simulate.Config{Hosts: 10, Sets: 40, Fill: 1, Seed: 1, Dir: t.TempDir(), Log: testx.Logger(t)}, &strings.Builder{})
	if !errdefs.IsResourceExhausted(err) || !regexp.MustCompile(`^\d+ of 40 sets are placed, and no more for 20s: .*: app\d+: .*0 of 10 hosts fit: `).MatchString(err.Error()) {
		t.Errorf("it ends with %v", err)
	}
}
