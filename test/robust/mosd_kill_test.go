package robust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestMosdIsKilledBetweenSteps kills mosd -9 at moments of its work for a cluster: the next
// mosd goes on with what the service is to be by now, no member runs twice, and what nobody
// asked to change is the container that it was. The long form has more rounds, from MOS_FROM on.
func TestMosdIsKilledBetweenSteps(t *testing.T) {
	n := seed(t)
	rounds := number(t, "MOS_ROUNDS", 4)
	if full() {
		rounds = number(t, "MOS_ROUNDS", 100)
	}
	k := &clusterKiller{t: t, h: lab.NewSets(t, rig.Config{Engine: rig.Engines()[n%2]}).Hosts[0]}
	k.begin()
	for round := number(t, "MOS_FROM", 1); round <= rounds; round++ {
		rng := chance(n + uint64(round))
		k.version++
		replicas := 1 + rng.IntN(4)
		k.wish(replicas, k.version)
		cut := time.Duration(rng.IntN(2500)) * time.Millisecond
		time.Sleep(cut)
		if err := k.h.Kill9("mosd"); err != nil {
			t.Fatal(err)
		}
		again := 1 + rng.IntN(4)
		if rng.IntN(2) == 0 {
			k.wish(again, k.version)
		} else {
			again = replicas
		}
		if err := k.h.Start("mosd"); err != nil {
			t.Fatal(err)
		}
		k.converged(again)
		before := k.containers()
		k.wish(again+1, k.version) // nobody but the new set is touched
		k.converged(again + 1)
		after := k.containers()
		for name, id := range before {
			if after[name] != id {
				t.Errorf("round %d: %s was %s and is %s", round, name, id, after[name])
			}
		}
		if t.Failed() {
			t.Fatalf("MOS_SEED=%d MOS_FROM=%d repeats this round", n, round)
		}
		t.Logf("round %d of %d: killed %v after a wish for %d sets, then %d", round, rounds, cut, replicas, again)
	}
	k.h.Set("service", "rm", "web")
	if left := k.h.D("ps", "-aq"); left != "" {
		t.Errorf("left are %q", left)
	}
}

// clusterKiller is one host that is a cluster.
type clusterKiller struct {
	t       *testing.T
	h       *lab.Host
	version int
	made    bool
}

func (k *clusterKiller) begin() {
	k.t.Helper()
	k.h.Network("prod", "--subnet", "10.9.0.0/24")
	k.h.Cluster("-cluster.grace=1s")
	k.t.Cleanup(func() {
		if err := k.h.Stop("mosd"); err != nil { // else it heals what is cleaned up
			k.t.Error(err)
		}
	})
}

// wish says what the service is to be, and waits for nothing.
func (k *clusterKiller) wish(replicas, version int) {
	k.t.Helper()
	path := filepath.Join(k.t.TempDir(), "web.json")
	ready := "" // by every other update mosd waits for the new container, with the old one kept
	if version%2 == 0 {
		ready = `, "Ready": {"Exec": ["true"]}`
	}
	text := fmt.Sprintf(`{"name": "web", "spec": {"replicas": %d, "update": {"maxUnavailable": 4}, "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"},
  "Containers": [{"Name": "app", "Image": %q, "Options": {"CPU": 40, "MEM": 40, "Env": {"VERSION": "%d"}, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}%s}},
    {"Name": "side", "Image": %q, "Options": {"CPU": 40, "MEM": 40, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`, replicas, rig.Image, version, ready, rig.Image)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if k.made {
		k.h.Set("service", "update", "-d", "-f", path, "web")
		return
	}
	k.h.Set("service", "create", "-d", "-f", path)
	k.made = true
}

// containers are all of the sets, by name, with their ids.
func (k *clusterKiller) containers() map[string]string {
	k.t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(k.h.D("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}")) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = id
	}
	return all
}

// converged waits until there are just the containers of so many sets, all of them ready and
// of the version.
func (k *clusterKiller) converged(sets int) {
	k.t.Helper()
	testx.Eventually(k.t, 2*time.Minute, func() error {
		out, err := k.h.TrySet("service", "ps", "web", "--format", "{{.Name}} {{.Phase}}")
		if err != nil {
			return err
		}
		var want []string
		for line := range strings.Lines(out) {
			name, phase, _ := strings.Cut(strings.TrimSpace(line), " ")
			if phase != "ready" {
				return errors.New(out)
			}
			want = append(want, name+".app", name+".infra", name+".side")
		}
		if len(want) != 3*sets {
			return fmt.Errorf("%d sets are to be there: %s", sets, out)
		}
		slices.Sort(want)
		running, err := k.h.Docker("ps", "-a", "--format", "{{.Names}} {{.State}}")
		if err != nil {
			return err
		}
		var have []string
		for line := range strings.Lines(running) {
			have = append(have, strings.TrimSuffix(strings.TrimSpace(line), " running"))
		}
		if slices.Sort(have); !slices.Equal(have, want) {
			return fmt.Errorf("there are %q, and are to be %q", have, want)
		}
		env, err := k.h.Docker(append([]string{"inspect", "-f", "{{.Config.Env}}"}, filtered(want, ".app")...)...)
		if got := strings.Count(env, fmt.Sprintf("VERSION=%d ", k.version)) + strings.Count(env, fmt.Sprintf("VERSION=%d]", k.version)); err == nil && got != sets {
			err = fmt.Errorf("%d of %d are of version %d: %s", got, sets, k.version, env)
		}
		return err
	})
}

func filtered(names []string, suffix string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, suffix) })
}
