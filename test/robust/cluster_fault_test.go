package robust

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestHostsSurviveFaults has three hosts of one cluster, and one fault a round, by chance: the
// power of a host, kill -9 of its mosd, dockerd or mosbridge, or of mos-scheduler, or a host that
// is cut off from the controllers; for moments or for longer than the lease, while a service is
// scaled and updated. After each round all is as it was wished last, and nothing else is there.
// No address was active on two hosts, and no set with a volume ran on two. MOS_ROUNDS is the
// number of faults (2, or 100 with MOS_FULL), MOS_FROM the one to go on from.
func TestHostsSurviveFaults(t *testing.T) {
	rounds := number(t, "MOS_ROUNDS", 2)
	if full() && os.Getenv("MOS_ROUNDS") == "" {
		rounds = 100
	}
	n := seed(t)
	f := &faulty{Fleet: lab.NewFleet(t, rig.Config{Hosts: 3, LiveRestore: n%2 == 1}), t: t, seed: n}
	var end func()
	f.history, end = f.Record()
	f.write("db", 3)
	f.replicas, f.version = 3, 1
	f.write("web", 3)
	f.settle()
	for round := number(t, "MOS_FROM", 1); round <= rounds; round++ {
		f.round(round, rounds)
	}
	end()
	t.Logf("%d containers with addresses in %d rounds", f.history.Check(t, "db"), rounds)
	f.Head.Set("service", "rm", "web", "db")
	f.Head.Set("network", "rm", "prod")
}

// faulty is a fleet with services web, which changes, and db, whose sets have volumes.
type faulty struct {
	*lab.Fleet
	t                 *testing.T
	seed              uint64
	history           *lab.History
	replicas, version int // of web
	made              map[string]bool
}

// fault is one that is on from its do until the function that it returns was called.
type fault struct {
	name string
	do   func(h *lab.Host) (undo func())
}

func (f *faulty) faults() []fault {
	daemon := func(name string, of func(h *lab.Host) *lab.Host) fault {
		return fault{"kill " + name, func(h *lab.Host) func() {
			h = of(h)
			if name == rig.Dockerd {
				f.history.Gone(h.Name)
			}
			f.must(h.Kill9(name))
			return func() { f.must(h.Start(name)) }
		}}
	}
	itself := func(h *lab.Host) *lab.Host { return h }
	return []fault{
		daemon(lab.Mosd, itself), daemon(rig.Dockerd, itself), daemon(lab.Mosbridge, itself),
		daemon(lab.Scheduler, func(*lab.Host) *lab.Host { return f.Head }),
		{"power off", func(h *lab.Host) func() {
			f.history.Gone(h.Name)
			h.Off()
			return func() { f.must(h.Boot(f.t.Context())) }
		}},
		{"cut off", func(h *lab.Host) func() {
			if h == f.Head {
				h = f.Hosts[1]
			}
			f.CutOff(h)
			return func() { f.Reach(h) }
		}},
	}
}

func (f *faulty) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// round changes something, has one fault, and maybe changes something once more meanwhile.
func (f *faulty) round(n, of int) {
	f.t.Helper()
	dice := rand.New(rand.NewPCG(f.seed, uint64(n)))
	// Each fault once before any comes again.
	faults := f.faults()
	turn := uint64((n - 1) / len(faults))
	one := faults[rand.New(rand.NewPCG(f.seed, 1<<32+turn)).Perm(len(faults))[(n-1)%len(faults)]]
	h := f.Hosts[dice.IntN(len(f.Hosts))]
	hold := time.Duration(dice.IntN(4000)) * time.Millisecond
	if dice.IntN(2) == 0 {
		hold += 10 * time.Second // longer than the lease
	}
	f.change(dice)
	before := time.Duration(dice.IntN(3000)) * time.Millisecond
	time.Sleep(before)
	f.t.Logf("round %d: %s (%s) after %v for %v, while web becomes %d sets of version %d", n, one.name, h.Name, before, hold, f.replicas, f.version)
	undo := one.do(h)
	time.Sleep(hold / 2)
	if dice.IntN(2) == 0 && f.Head.Running(lab.Scheduler) {
		f.change(dice)
	}
	time.Sleep(hold / 2)
	undo()
	f.t.Logf("round %d: it is over, web is to have %d sets of version %d", n, f.replicas, f.version)
	f.settle()
	f.history.Check(f.t, "db")
	if f.t.Failed() {
		f.t.Fatalf("MOS_SEED=%d MOS_FROM=%d repeats this round", f.seed, n)
	}
	f.t.Logf("round %d of %d: %s", n, of, one.name)
}

// change scales web, and updates it one time in two.
func (f *faulty) change(dice *rand.Rand) {
	f.t.Helper()
	f.replicas = 1 + dice.IntN(6)
	f.version += dice.IntN(2)
	f.write("web", f.replicas)
}

// write says what a service is to be, and does not wait for it.
func (f *faulty) write(service string, replicas int) {
	f.t.Helper()
	extra := fmt.Sprintf(`"Env": {"VERSION": "%d"},`, f.version)
	volume := ""
	if service == "db" {
		extra, volume = "", `"Volume": {"Size": "32m", "Path": "/data"},`
	}
	path := f.File(service+".json", fmt.Sprintf(`{"name": %q, "spec": {"replicas": %d, "update": {"maxUnavailable": 2}, "placement": {"strategy": "even", "spread": [{"level": "host", "maxSkew": 1}]},
  "set": {"CPU": 0.1, "MEM": "32m", "Network": {"Name": "prod"}, %s "Containers": [
    {"Name": "app", "Image": %q, "Options": {"CPU": 80, "MEM": 80, %s "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}}}`, service, replicas, volume, rig.Image, extra))
	verb := []string{"service", "create", "-d", "-f", path}
	if f.made[service] {
		verb = []string{"service", "update", "-d", "-f", path, service}
	}
	testx.Eventually(f.t, time.Minute, func() error { // the leader may have been killed just before
		_, err := f.Head.TrySet(verb...)
		return err
	})
	if f.made == nil {
		f.made = map[string]bool{}
	}
	f.made[service] = true
}

// settle waits until all is as it was wished last.
func (f *faulty) settle() {
	f.t.Helper()
	began := time.Now()
	testx.Eventually(f.t, 4*time.Minute, func() error {
		for _, h := range f.Hosts {
			if err := f.Whole(h); err != nil {
				return err
			}
		}
		out, err := f.Head.TrySet("service", "ps", "--format", "{{.Service}}")
		if err != nil {
			return err
		}
		have := map[string]int{}
		for name := range strings.FieldsSeq(out) {
			have[name]++
		}
		if want := map[string]int{"web": f.replicas, "db": 3}; !maps.Equal(have, want) {
			return fmt.Errorf("there are %v sets, and are to be %v", have, want)
		}
		return f.members()
	})
	f.t.Logf("all is as wished after %v", time.Since(began).Round(100*time.Millisecond))
}

// members says what is wrong with the containers of all hosts: those of web run by the
// version that was wished last, one for each infra container.
func (f *faulty) members() error {
	sets := 0
	for _, h := range f.Hosts {
		out, err := h.Docker("ps", "-a", "--format", "{{.Names}} {{.State}}")
		if err != nil {
			return err
		}
		names := map[string]bool{}
		var apps []string
		for line := range strings.Lines(out) {
			name, running, _ := strings.Cut(strings.TrimSpace(line), " ")
			names[name] = true
			if running != "running" {
				return fmt.Errorf("%s: %s", h.Name, out)
			}
			if strings.HasPrefix(name, "web-") && strings.HasSuffix(name, ".app") {
				apps = append(apps, name)
			}
		}
		for name := range names {
			set, member, _ := strings.Cut(name, ".")
			if !slices.Contains([]string{"app", "infra"}, member) || !names[set+".app"] || !names[set+".infra"] {
				return fmt.Errorf("%s has half a set, or more: %s", h.Name, out)
			}
		}
		if sets += len(apps); len(apps) == 0 {
			continue
		}
		env, err := h.Docker(append([]string{"inspect", "-f", "{{range .Config.Env}}{{.}} {{end}}"}, apps...)...)
		if err != nil {
			return err
		}
		if strings.Count(env, fmt.Sprintf("VERSION=%d ", f.version)) != len(apps) {
			return fmt.Errorf("%s: %q are not all of version %d: %s", h.Name, apps, f.version, env)
		}
	}
	if sets != f.replicas {
		return errors.New("the scheduler's sets are not those of the hosts")
	}
	return nil
}
