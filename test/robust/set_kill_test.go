package robust

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestSetIsGoneOnWithAfterKills kills docker set -9 after each step of each verb:
// the same call goes on from there to the same end, and nothing is left over. The
// short form takes MOS_ROUNDS of these cuts by chance, the long form all.
func TestSetIsGoneOnWithAfterKills(t *testing.T) {
	n, engines := seed(t), rig.Engines()
	rng := rand.New(rand.NewPCG(n, 7))
	if !full() {
		engines = engines[n%2 : n%2+1] // each gets its turn; the long form does both
	}
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			k := &cutter{t: t, h: lab.NewSets(t, rig.Config{Engine: engine, LiveRestore: true}).Hosts[0]}
			k.h.Network("prod", "--subnet", "10.9.0.0/24")
			var cuts []func()
			for _, verb := range k.verbs() {
				for step := range verb.steps {
					cuts = append(cuts, func() { k.cut(verb, step+1) })
				}
			}
			if !full() {
				rng.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
				cuts = cuts[:min(len(cuts), number(t, "MOS_ROUNDS", 8))]
			}
			for _, cut := range cuts {
				cut()
			}
			t.Logf("%d cuts, docker set was killed in %d of them", len(cuts), k.killed)
		})
	}
}

// cutter cuts verbs off.
type cutter struct {
	t      *testing.T
	h      *lab.Host
	killed int
}

// setVerb is a verb with what is there before it, and what must be after it.
type setVerb struct {
	name   string
	begin  func()
	args   []string
	steps  int
	absent bool
	limits string // of the app
}

func (k *cutter) file(name, version, cpu string) string {
	text := fmt.Sprintf(`{"Name": "web", "CPU": %s, "MEM": "200m", "Network": {"Name": "prod", "IP": "10.9.0.21"}, "Volume": {"Size": "32m", "Path": "/data"},
		"Containers": [
		{"Index": 0, "Name": "app", "Image": %q, "Options": {"CPU": 60, "MEM": 50, "Env": {"V": %q}, "Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}, "Stop": {"Grace": "0s"}}},
		{"Index": 1, "Name": "log", "Image": %q, "Options": {"CPU": 20, "MEM": 10, "Env": {"V": %q}, "Command": ["sleep", "100000"], "Update": {"Strategy": "restart"}, "Stop": {"Grace": "0s"}}}]}`,
		cpu, rig.Image, version, rig.Image, version)
	path := filepath.Join(k.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return path
}

func (k *cutter) verbs() []setVerb {
	one, two := k.file("one.json", "1", "1"), k.file("two.json", "2", "0.5")
	none, there := func() {}, func() { k.h.Set("up", one) }
	return []setVerb{
		{name: "up", begin: none, args: []string{"up", one}, steps: 11, limits: "60000"},
		{name: "update", begin: there, args: []string{"up", two}, steps: 20, limits: "30000"},
		{name: "resize", begin: there, args: []string{"resize", "--cpus", "0.5", "web"}, steps: 4, limits: "30000"},
		{name: "stop", begin: there, args: []string{"stop", "web"}, steps: 6, limits: "60000"},
		{name: "rm", begin: there, args: []string{"rm", "-f", "-v", "web"}, steps: 8, absent: true},
	}
}

// cut runs a verb, kills it after so many steps, and repeats it.
func (k *cutter) cut(v setVerb, steps int) {
	k.t.Helper()
	what := fmt.Sprintf("%s, killed after step %d", v.name, steps)
	v.begin()
	if k.kill(v.args, steps) {
		k.killed++
	}
	if out, err := k.h.TrySet(v.args...); err != nil && (!v.absent || !strings.Contains(err.Error(), "there is no set web")) {
		k.t.Errorf("%s: repeated: %v %s", what, err, out)
	}
	if !v.absent {
		k.check(what, v)
		k.h.Set("rm", "-f", "-v", "web")
	}
	k.gone(what)
}

// kill runs docker set and kills it; it says whether it came to that.
func (k *cutter) kill(args []string, steps int) bool {
	k.t.Helper()
	words := append([]string{args[0], "--progress", "json"}, args[1:]...)
	script := fmt.Sprintf(`log=$(mktemp); "$@" >$log 2>&1 & pid=$!
		while [ $(grep -c '"phase":"done"' $log) -lt %d ] && kill -0 $pid 2>/dev/null; do sleep 0.005; done
		kill -9 $pid 2>/dev/null && echo killed; wait $pid 2>/dev/null; rm -f $log; true`, steps)
	out, err := k.h.Exec(k.t.Context(), append([]string{"sh", "-c", script, "sh"}, k.h.SetCommand(words...)...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.Contains(out, "killed")
}

// check looks whether the set is as the verb wants it.
func (k *cutter) check(what string, v setVerb) {
	k.t.Helper()
	names := strings.Fields(k.h.D("ps", "-a", "--filter", "label=mos.set=web", "--format", "{{.Names}}"))
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "web.app web.infra web.log" {
		k.t.Errorf("%s: the containers are %s", what, got)
	}
	state, want := k.h.Set("ls", "--format", "{{.State}}"), "running"
	if v.name == "stop" {
		want = "stopped"
	}
	if state != want {
		k.t.Errorf("%s: the set is %s", what, state)
	}
	if got := k.h.D("inspect", "-f", "{{.HostConfig.CpuQuota}}", "web.app"); got != v.limits {
		k.t.Errorf("%s: the app's quota is %s, want %s", what, got, v.limits)
	}
	if v.name == "up" || v.name == "update" {
		k.h.Set("diff", v.args[1])
	}
}

func (k *cutter) gone(what string) {
	k.t.Helper()
	left, err := k.h.Exec(k.t.Context(), "find", "/sys/fs/cgroup", "-name", "mosset*")
	if err != nil {
		k.t.Fatal(err)
	}
	left += k.h.D("ps", "-aq") + k.h.D("volume", "ls", "-q")
	if strings.TrimSpace(left) != "" {
		k.t.Errorf("%s: left are %s", what, left)
	}
}

// TestAnInterruptedUpdateComesBack: who presses Ctrl-C or loses the terminal while a new
// container gets ready has the old one serving, and a reader who goes away stops nothing.
func TestAnInterruptedUpdateComesBack(t *testing.T) {
	engines := rig.Engines()
	n := seed(t)
	k := &cutter{t: t, h: lab.NewSets(t, rig.Config{Engine: engines[n%uint64(len(engines))]}).Hosts[0]}
	k.h.Network("prod", "--subnet", "10.9.0.0/24")
	one, two := k.file("one.json", "1", "1"), k.file("two.json", "2", "1")
	k.h.Set("up", one)
	serves := k.h.D("inspect", "-f", "{{.Id}}", "web.app")
	text, err := os.ReadFile(two)
	if err != nil {
		t.Fatal(err)
	}
	never := filepath.Join(t.TempDir(), "never.json")
	if err := os.WriteFile(never, []byte(strings.Replace(string(text), `"TCP": 7000`, `"TCP": 7001`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []string{"INT", "TERM", "HUP"} {
		script := `log=$(mktemp); "$@" >$log 2>&1 & pid=$!
			while ! grep -q '"op":"wait".*"phase":"begun"' $log && kill -0 $pid; do sleep 0.01; done
			kill -s ` + signal + ` $pid; wait $pid; cat $log; rm -f $log; true`
		out, err := k.h.Exec(t.Context(), append([]string{"sh", "-c", script, "sh"}, k.h.SetCommand("up", "--progress", "json", never)...)...)
		if err != nil || !strings.Contains(out, "interrupted (") {
			t.Fatalf("%s: %v %s", signal, err, out)
		}
		k.h.Set("heal", "web") // waits for its end
		if got := k.h.D("ps", "-a", "--no-trunc", "--filter", "label=mos.member=app", "--format", "{{.ID}} {{.State}}"); got != serves+" running" {
			t.Errorf("after SIG%s there are\n%s\nwant %s running", signal, got, serves)
		}
	}
	script := `"$@" 2>&1 | head -n 1; true`
	if out, err := k.h.Exec(t.Context(), append([]string{"sh", "-c", script, "sh"}, k.h.SetCommand("up", two)...)...); err != nil {
		t.Fatal(err, out)
	}
	k.h.Set("diff", two)
	k.h.Set("rm", "-f", "-v", "web")
}
