package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// tracer replays what engines do to a volume; after each act all running
// containers must have their volume.
type tracer struct {
	t *testing.T
	*lab.Host
	up map[string]string // volume, by running container
}

// run starts a container on a volume, and leaves a mark there.
func (tr *tracer) run(container, volume string, args ...string) {
	tr.t.Helper()
	argv := append([]string{"run", "-d", "--stop-signal=KILL", "--name", container, "-v", volume + ":/data"}, args...)
	tr.D(append(argv, rig.Image, "sleep", "10000")...)
	tr.D("exec", container, "sh", "-c", "echo "+container+" >/data/"+container+" && sync")
	tr.up[container] = volume
}

// gone notes containers that stopped.
func (tr *tracer) gone(containers ...string) {
	for _, c := range containers {
		delete(tr.up, c)
	}
}

// whole fails the test unless each running container has its volume and can
// write, after the daemon had time to err.
func (tr *tracer) whole(what string) {
	tr.t.Helper()
	time.Sleep(900 * time.Millisecond) // linger, and a sweep
	for c, v := range tr.up {
		err := tr.Sees(c, "/data", v)
		if err == nil {
			_, err = tr.Docker("exec", c, "sh", "-c", fmt.Sprintf("grep -q %s /data/%s && date >/data/now && sync", c, c))
		}
		if err != nil {
			tr.t.Errorf("%s: %v", what, err)
		}
	}
}

// reborn starts dockerd again after a signal, and waits for its containers.
func (tr *tracer) reborn(end func(string) error, running ...string) {
	tr.t.Helper()
	if err := end(rig.Dockerd); err != nil {
		tr.t.Fatal(err)
	}
	if err := tr.Start(rig.Dockerd); err != nil {
		tr.t.Fatal(err)
	}
	testx.Eventually(tr.t, 30*time.Second, func() error {
		for _, c := range running {
			if out, err := tr.Docker("inspect", "-f", "{{.State.Running}}", c); err != nil || out != "true" {
				return fmt.Errorf("%s runs: %s %w", c, out, err)
			}
		}
		return nil
	})
}

// TestVolumeTraces replays each row of the engines' traces: a volume is never
// unmounted under a running container, and in the end nothing is left mounted.
func TestVolumeTraces(t *testing.T) {
	volumesWith(t, rig.OneOrAll(rig.EngineNew), []string{shortly}, func(t *testing.T, h *lab.Host) {
		tr := &tracer{t, h, map[string]string{}}
		for _, v := range []string{"copied", "shared", "solo"} {
			h.Create(v, "size=20m")
		}
		file := lab.File(t, "from outside")

		// run, where the image has files at the place
		h.D("run", "--rm", "-v", "copied:/etc", rig.Image, "true")
		if out := h.D("run", "--rm", "-v", "copied:/data", rig.Image, "cat", "/data/passwd"); !strings.Contains(out, "root:") {
			t.Errorf("the image's files were not copied: %q", out)
		}
		// a second container on the same volume, and one that ends
		tr.run("one", "shared")
		tr.run("two", "shared")
		h.D("run", "--rm", "-v", "shared:/data:ro", rig.Image, "cat", "/data/one")
		tr.whole("a third container came and went")
		// docker cp out of and into a running one
		h.D("cp", "one:/data/one", t.TempDir()+"/out")
		tr.whole("docker cp from a running container")
		h.D("cp", file, "two:/data/in")
		tr.whole("docker cp into a running container")
		// stop, start, restart
		h.D("restart", "-t", "0", "one")
		tr.whole("docker restart")
		h.D("stop", "-t", "0", "one")
		tr.gone("one")
		tr.whole("docker stop of one of two")
		h.D("cp", "one:/data/two", t.TempDir()+"/out")
		h.D("cp", file, "one:/data/in")
		tr.whole("docker cp with a stopped container")
		h.D("start", "one")
		tr.up["one"] = "shared"
		tr.whole("docker start")
		// a container that was made and never started
		h.D("create", "--name", "never", "-v", "solo:/data", rig.Image)
		h.D("rm", "never")

		// With live-restore dockerd tells nothing, and afterwards what it knows.
		tr.run("keeps", "solo", "--restart=always")
		tr.reborn(h.Kill9, "one", "two", "keeps")
		tr.whole("kill -9 of dockerd with live-restore")
		tr.reborn(h.Stop, "one", "two", "keeps")
		tr.whole("SIGTERM of dockerd with live-restore")
		h.D("cp", "one:/data/one", t.TempDir()+"/out")
		tr.whole("docker cp after live-restore")
		h.D("stop", "-t", "0", "one")
		tr.gone("one")
		tr.whole("docker stop after live-restore and cp")
		h.D("rm", "-f", "one", "two", "keeps")
		tr.up = map[string]string{}
		h.BecomesIdle(20 * time.Second)
	})
}

// TestVolumeTracesWithoutLiveRestore: dockerd takes its containers along, and
// tells of each unmount once, twice or never.
func TestVolumeTracesWithoutLiveRestore(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewVolumes(t, rig.Config{Engine: engine}, shortly).Hosts[0]
			tr := &tracer{t, h, map[string]string{}}
			for _, v := range []string{"always", "again", "never"} {
				h.Create(v, "size=20m")
			}
			start := func() {
				tr.run("always", "always", "--restart=always")
				tr.run("again", "again")
				tr.run("never", "never")
			}
			for name, end := range map[string]func(string) error{"kill -9": h.Kill9, "SIGTERM": h.Stop} {
				start()
				tr.gone("again", "never")
				tr.reborn(end, "always")
				tr.whole(name + " of dockerd, with restart policy")
				h.D("start", "again")
				tr.up["again"] = "again"
				tr.whole(name + " of dockerd, started by hand")
				h.D("cp", "always:/data/always", t.TempDir()+"/out")
				tr.whole(name + " of dockerd, then cp")
				h.D("rm", "never")
				h.D("stop", "-t", "0", "again")
				tr.gone("again")
				h.D("rm", "-f", "again", "always")
				tr.gone("always")
			}
			h.BecomesIdle(20 * time.Second)
		})
	}
}
