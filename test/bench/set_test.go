package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// The peers of docker set. Each starts one container that holds the network and
// three in it, of the same image.
const (
	ours    = "docker set"
	compose = "docker compose"
	play    = "podman kube play" // by runc, as the Engine has it
	pod     = "podman pod"       // create, three times create, start
	crun    = "podman with crun" // kube play by Debian's default
	members = 3
)

// setBench is a host on which sets are compared.
type setBench struct {
	*lab.Host
	b   *testing.B
	dir string // has the plugins of docker, the files of the sets, podman's storage
}

// newSetBench is a host whose docker has set as a plugin. It has no
// mos-lvm: the sets have no volume.
func newSetBench(b *testing.B, engine rig.Engine) *setBench {
	b.Helper()
	h := &setBench{newLab(b, rig.Config{Engine: engine, Outside: true}), b, b.TempDir()}
	// All peers run in the host's cgroup, which the scheduler prefers to whatever else
	// works on this machine: as if it were idle, or nearly.
	h.MustExec(b, "sh", "-c", "echo 262144 >/sys/fs/cgroup/cpu/cpu.shares")
	if err := os.Mkdir(filepath.Join(h.dir, "cli-plugins"), 0o755); err != nil {
		b.Fatal(err)
	}
	h.plugin("docker-set", lab.Program(b, "docker-mos"))
	h.file("config.json", "{}") // podman wants it where DOCKER_CONFIG says
	h.Network(network(mos), "--subnet", "10.95.0.0/16")
	h.D("network", "create", "-d", "bridge", "--subnet", "10.91.0.0/16", network(bridge))
	b.Cleanup(func() { h.D("network", "rm", network(bridge)) })
	return h
}

// plugin gives docker one more.
func (h *setBench) plugin(name, program string) {
	h.b.Helper()
	if err := os.Symlink(program, filepath.Join(h.dir, "cli-plugins", name)); err != nil {
		h.b.Fatal(err)
	}
}

// inHost runs a command in the cgroups of the host, so that its processor time counts
// there as that of the daemons does.
var inHost = []string{"sh", "-c", `for f in /sys/fs/cgroup/*/cgroup.procs; do echo $$ >"$f"; done; exec "$@"`, "--"}

// processor is the processor time in ms that the host has used so far.
func (h *setBench) processor() float64 {
	h.b.Helper()
	ns, err := strconv.ParseFloat(h.MustExec(h.b, "cat", "/sys/fs/cgroup/cpuacct/cpuacct.usage"), 64)
	if err != nil {
		h.b.Fatal(err)
	}
	return ns / 1e6
}

// run runs a command and returns its milliseconds and its output.
func (h *setBench) run(argv ...string) (float64, string) {
	h.b.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.b.Context()), time.Minute)
	defer cancel()
	start := time.Now()
	out, err := h.Run(ctx, xexec.Cmd{Argv: slices.Concat(inHost, argv), Env: []string{"DOCKER_CONFIG=" + h.dir}})
	took := ms(start)
	if err != nil {
		h.b.Fatalf("%v: %v", argv, err)
	}
	return took, string(out)
}

// file writes a file, and returns its path.
func (h *setBench) file(name, text string) string {
	h.b.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.b.Fatal(err)
	}
	return path
}

// setFile is the file of a set of n members in some waves.
func setFile(name, network string, n, waves int) string {
	var cs []string
	for i := range n {
		cs = append(cs, fmt.Sprintf(`{"Index": %d, "Name": "m%02d", "Image": %q, "Options": {"Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}`, i%waves, i, rig.Image))
	}
	return fmt.Sprintf(`{"Name": %q, "Network": {"Name": %q}, "Containers": [%s]}`, name, network, strings.Join(cs, ",\n"))
}

// composed writes the same set for docker compose, with the same image of the infra.
func (h *setBench) composed(network string) {
	h.b.Helper()
	var s strings.Builder
	fmt.Fprintf(&s, "name: composed\nnetworks: {default: {external: true, name: %s}}\nservices:\n", network)
	fmt.Fprintf(&s, "  infra: {image: %q, ipc: shareable, restart: always, read_only: true, cap_drop: [ALL]}\n", infra.Reference)
	for i := range members {
		fmt.Fprintf(&s, "  m%02d: {image: %q, command: [sleep, '100000'], network_mode: 'service:infra', ipc: 'service:infra', restart: always, stop_grace_period: 0s}\n", i, rig.Image)
	}
	h.file(network+".yaml", s.String())
}

// podman is the command line of podman, whose storage is below dir: the host's /var
// is an overlay, on which it could put none.
func (h *setBench) podman(runtime string, args ...string) []string {
	at := func(name string) string { return filepath.Join(h.dir, "podman", name) }
	return append([]string{
		"podman", "--root", at("root"), "--runroot", at("run"), "--tmpdir", at("tmp"), "--network-config-dir", at("net"),
		"--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime", runtime,
	}, args...)
}

// podded writes the same set as a pod.
func (h *setBench) podded() {
	h.b.Helper()
	var s strings.Builder
	s.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: podded}\nspec:\n  restartPolicy: Always\n  terminationGracePeriodSeconds: 0\n  containers:\n")
	for i := range members {
		fmt.Fprintf(&s, "  - {name: m%02d, image: 'localhost/%s', imagePullPolicy: Never, command: [sleep, '100000']}\n", i, rig.Image)
	}
	h.file("pod.yaml", s.String())
}

// loadPodman gives podman the image.
func (h *setBench) loadPodman() {
	h.b.Helper()
	tar := filepath.Join(h.dir, "image.tar")
	h.D("save", "-o", tar, rig.Image)
	h.run(h.podman("runc", "load", "-q", "-i", tar)...)
	h.run(h.podman("runc", "tag", rig.Image, "localhost/"+rig.Image)...) // engines name it differently in what they save
	h.b.Cleanup(func() {
		testx.Eventually(h.b, 20*time.Second, func() error { // it cleans up behind its pods in the background
			_, err := h.Exec(context.Background(), h.podman("runc", "system", "reset", "-f")...)
			return err
		})
	})
}

// setPeer is one that starts a set, on a network of an Engine unless it is podman.
type setPeer struct{ name, network string }

// cost is what starting and removing a set takes: milliseconds, and those of
// processors for the start.
type cost struct{ up, down, processor float64 }

// measure starts a peer's set and removes it again.
func (h *setBench) measure(p setPeer) (c cost) {
	h.b.Helper()
	file := filepath.Join(h.dir, p.network+map[string]string{ours: ".json", compose: ".yaml"}[p.name])
	runtime := "runc"
	if p.name == crun {
		runtime = "crun"
	}
	up, down := map[string][]string{
		ours:    {"docker", "set", "up", file},
		compose: {"docker", "compose", "-f", file, "up", "-d"},
		play:    h.podman(runtime, "kube", "play", filepath.Join(h.dir, "pod.yaml")),
		crun:    h.podman(runtime, "kube", "play", filepath.Join(h.dir, "pod.yaml")),
		pod:     {"sh", "-ec", h.podScript()},
	}[p.name], map[string][]string{
		ours:    {"docker", "set", "rm", "-f", "bench"},
		compose: {"docker", "compose", "-f", file, "down", "-t", "0"},
	}[p.name]
	before := h.processor()
	c.up, _ = h.run(up...)
	c.processor = h.processor() - before
	if down != nil {
		c.down, _ = h.run(down...)
		return c
	}
	// pod rm alone waits for seconds, whatever its -t says.
	rm := []string{"rm", "-f", "-t", "0"}
	for i := range members {
		rm = append(rm, fmt.Sprintf("podded-m%02d", i))
	}
	h.run(h.podman(runtime, rm...)...)
	h.run(h.podman(runtime, "pod", "rm", "-f", "-t", "0", "podded")...)
	return c
}

// podScript makes a pod and starts it, as one types it.
func (h *setBench) podScript() string {
	var script strings.Builder
	say := func(args ...string) {
		script.WriteString(strings.Join(h.podman("runc", args...), " ") + " >/dev/null\n")
	}
	say("pod", "create", "--name", "podded")
	for i := range members {
		say("create", "--pod", "podded", "--name", fmt.Sprintf("podded-m%02d", i), "--restart", "always", "localhost/"+rig.Image, "sleep", "100000")
	}
	say("pod", "start", "podded")
	return script.String()
}

// BenchmarkSet compares starting an infra container with three members in its
// network, whose images are there, with what others have for it. Podman has its own
// bridge.
func BenchmarkSet(b *testing.B) {
	for _, engine := range rig.Engines() {
		b.Run(string(engine), func(b *testing.B) {
			testx.Need(b, testx.Compose, testx.Podman)
			h := newSetBench(b, engine)
			h.plugin("docker-compose", filepath.Join(testx.ComposeDir(), "docker-compose"))
			h.podded()
			h.loadPodman()
			nets := map[string]string{"bridge": network(bridge), "mosbridge": network(mos)}
			peers := []setPeer{{play, ""}, {pod, ""}, {crun, ""}}
			for _, net := range nets {
				h.file(net+".json", setFile("bench", net, members, 1))
				h.composed(net)
				peers = append(peers, setPeer{ours, net}, setPeer{compose, net})
			}
			for _, p := range peers { // the first time loads images and fills caches
				h.measure(p)
			}
			up, down, processor := map[setPeer][]float64{}, map[setPeer][]float64{}, map[setPeer][]float64{}
			round := 0
			for b.Loop() {
				k := round % len(peers)
				for _, p := range slices.Concat(peers[k:], peers[:k]) {
					c := h.measure(p)
					up[p], down[p], processor[p] = append(up[p], c.up), append(down[p], c.down), append(processor[p], c.processor)
				}
				round++
			}
			for _, on := range slices.Sorted(maps.Keys(nets)) {
				name := fmt.Sprintf("engine %s: set of 1+%d on %s, ", engine, members, on)
				our := setPeer{ours, nets[on]}
				for _, p := range []setPeer{{compose, nets[on]}, {play, ""}, {pod, ""}, {crun, ""}} {
					g := goal{limit: 0.85, ofRatio: true}
					if p.name == crun { // the same containers by another runtime
						g = goal{}
					}
					results.add(against(name+"up", "ms", up[our], p.name, up[p], g))
					results.add(against(name+"up, processor time", "ms", processor[our], p.name, processor[p], goal{}))
				}
				results.add(against(name+"rm", "ms", down[our], compose, down[setPeer{compose, nets[on]}], goal{}))
			}
		})
	}
}

// phase is a line of docker set up --progress json.
type phase struct {
	Op        string  `json:"op"`
	Container string  `json:"container"`
	Phase     string  `json:"phase"`
	Elapsed   float64 `json:"elapsed_ms"`
}

// phases brings a set of one wave up. It returns the milliseconds of the command, of
// its steps from the first to the last, and of these what is neither the infra nor
// the slowest member.
func (h *setBench) phases(file string) (whole, steps, beyond float64) {
	h.b.Helper()
	whole, out := h.run("sh", "-c", "exec docker set up --progress json "+file+" 2>&1")
	var infra, wave float64
	for line := range strings.Lines(out) {
		var p phase
		if json.Unmarshal([]byte(line), &p) != nil {
			continue // the name of the set
		}
		switch {
		case p.Phase == "end":
			steps = p.Elapsed
		case p.Phase != "done":
		case p.Container == "":
			infra += p.Elapsed
		case p.Op == "start":
			wave = max(wave, p.Elapsed)
		}
	}
	if steps == 0 || infra == 0 || wave == 0 {
		h.b.Fatalf("docker set up printed no phases: %s", out)
	}
	return whole, steps, steps - infra - wave
}

// memory is the most that docker-set had in memory while it brought a set up, in MiB.
func (h *setBench) memory(file string) float64 {
	h.b.Helper()
	_, out := h.run("sh", "-c", "exec /usr/bin/time -f %M "+filepath.Join(h.dir, "cli-plugins", "docker-set")+" set up -q "+file+" 2>&1")
	lines := strings.Fields(out)
	kb, err := strconv.ParseFloat(lines[len(lines)-1], 64)
	if err != nil {
		h.b.Fatalf("time printed %s", out)
	}
	return kb / 1024
}

// verbs are calls of docker set that change nothing or little, in their order while a
// set of three is up.
func verbs(file, large string) [][]string {
	return [][]string{
		{"schema"}, // no Engine is asked: what docker and its plugin take to start
		{"up", file},
		{"validate", large},
		{"plan", large},
		{"update", "bench", "m00=bench:2"},
		{"rm", "-f", "bench"},
	}
}

// BenchmarkSetPhases looks at what docker set adds to the time of the infra and of the
// slowest member, by the phases that it prints; at calls that change nothing or
// little; and at a set of fifty.
func BenchmarkSetPhases(b *testing.B) {
	for _, engine := range rig.Engines() {
		b.Run(string(engine), func(b *testing.B) {
			h := newSetBench(b, engine)
			file, large := h.file("set.json", setFile("bench", network(mos), members, 1)), h.file("large.json", setFile("large", network(bridge), 50, 5))
			h.D("tag", rig.Image, "bench:2")
			h.run("docker", "set", "up", file) // loads the image of infra containers
			h.run("docker", "set", "rm", "-f", "bench")
			took := map[string][]float64{}
			var beyond, around, memory []float64
			for b.Loop() {
				memory = append(memory, h.memory(file))
				h.run("docker", "set", "rm", "-f", "bench")
				whole, steps, more := h.phases(file)
				beyond, around = append(beyond, more), append(around, whole-steps)
				for _, args := range verbs(file, large) {
					t, _ := h.run(append([]string{"docker", "set"}, args...)...)
					took[args[0]] = append(took[args[0]], t)
				}
			}
			name := "engine " + string(engine) + ": docker set "
			results.add(figure{name: name + "up, steps beyond infra and slowest member", unit: "ms", value: median(beyond), goal: goal{limit: 60}})
			results.add(figure{name: name + "up, before and after its steps", unit: "ms", value: median(around)})
			for _, v := range []struct{ verb, what string }{
				{"schema", "schema (asks no engine)"},
				{"up", "up, nothing to do"},
				{"update", "update, one member by swap"},
				{"rm", "rm -f"},
				{"validate", "validate, 50 members"},
				{"plan", "plan, 50 members"},
			} {
				results.add(figure{name: name + v.what, unit: "ms", value: median(took[v.verb])})
			}
			results.add(figure{name: name + "up, memory", unit: "MiB", value: median(memory)})
		})
	}
}
