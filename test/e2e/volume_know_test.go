package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// labeled says whether Docker still has what it was told of a volume.
func labeled(t *testing.T, h *lab.Host, volume string) {
	t.Helper()
	var out string
	testx.Eventually(t, 20*time.Second, func() (err error) {
		out, err = h.Docker("volume", "inspect", "-f", "{{.Labels}} {{.Options}}", volume)
		return err
	})
	if out != "map[a:b] map[size:16m]" {
		t.Errorf("docker knows of volume %s only %s", volume, out)
	}
}

// ask runs docker commands that cannot be answered, at once.
func ask(h *lab.Host, commands ...[]string) {
	var asking sync.WaitGroup
	for _, c := range commands {
		asking.Go(func() { _, _ = h.Docker(c...) })
	}
	asking.Wait()
}

// restart restarts dockerd with f done while it is away.
func restart(t *testing.T, h *lab.Host, f func()) {
	t.Helper()
	if err := h.Stop(rig.Dockerd); err != nil {
		t.Fatal(err)
	}
	f()
	if err := h.Start(rig.Dockerd); err != nil {
		t.Fatal(err)
	}
}

// TestDockerForgetsNoVolume: while mos-lvm is down, just starting, or cannot read
// a place, dockerd keeps the labels and the users of volumes.
func TestDockerForgetsNoVolume(t *testing.T) {
	volumes(t, rig.Engines(), func(t *testing.T, h *lab.Host) {
		t.Parallel() // an engine waits a quarter of a minute for who does not answer
		for _, v := range []string{"busy", "late"} {
			h.D("volume", "create", "-d", "mos-lvm", "--label", "a=b", "-o", "size=16m", v)
		}
		h.D("run", "-d", "--name", "user", "-v", "busy:/data", rig.Image, "sleep", "10000")
		kept := func(what string) {
			t.Helper()
			labeled(t, h, "busy")
			labeled(t, h, "late")
			h.Refused("in use", "volume", "rm", "busy")
			if err := h.Sees("user", "/data", "busy"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		kept("at first")

		// Dead, with the socket left behind.
		if err := h.Kill9(lab.Lvm); err != nil {
			t.Fatal(err)
		}
		ask(h, []string{"volume", "inspect", "busy"}, []string{"volume", "rm", "late"})
		// Dead, with no socket; and starting while dockerd asks.
		if err := os.Remove(filepath.Join(h.PluginDir(), "mos-lvm.sock")); err != nil {
			t.Fatal(err)
		}
		kill := func() {}
		restart(t, h, func() {
			var err error
			kill, err = h.Background(nil, "sh", "-c", "sleep 0.5; exec "+lab.Program(t, lab.Lvm))
			if err != nil {
				t.Fatal(err)
			}
		})
		kill()
		if err := h.Start(lab.Lvm); err != nil {
			t.Fatal(err)
		}
		kept("mos-lvm was dead")

		// A group is expected and not there: what is not known may be in it.
		unreadable(t, h, func() {
			labeled(t, h, "busy")
			ask(h, []string{"volume", "inspect", "late"}, []string{"volume", "create", "-d", "mos-lvm", "-o", "size=16m", "other"})
			restart(t, h, func() {})
		})
		kept("a place could not be read")
		if out := h.D("volume", "ls", "-q"); strings.Contains(out, "other") {
			t.Errorf("a volume was made while not all were known: %s", out)
		}
		h.D("rm", "-f", "user")
	})
}

// unreadable calls f while a volume group is missing, and the volume late with it.
func unreadable(t *testing.T, h *lab.Host, f func()) {
	t.Helper()
	list, v := h.Path("/var/lib/mos/mos-lvm/groups.json"), h.Volume("late")
	record := h.Path(strings.TrimSuffix(v.Image, ".img") + ".json")
	if err := h.Stop(lab.Lvm); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(t.TempDir(), "record")
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(away, data, 0o600), os.Remove(record), os.WriteFile(list, []byte(`{"version":1,"groups":["absent"]}`), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Start(lab.Lvm); err != nil {
		t.Fatal(err)
	}
	f()
	for _, err := range []error{os.WriteFile(record, data, 0o600), os.Remove(list)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	testx.Eventually(t, 20*time.Second, func() error {
		_, err := h.Volumes.Volume(t.Context(), "late")
		return err
	})
}

// TestVolumeInUseIsKeptWhateverDockerBelieves: a container that dockerd forgot
// has its volume still, and rm is refused with its name; when it ends rm works.
func TestVolumeInUseIsKeptWhateverDockerBelieves(t *testing.T) {
	volumes(t, rig.Engines(), func(t *testing.T, h *lab.Host) {
		h.Create("orphaned", "size=16m")
		id := h.D("run", "-d", "-v", "orphaned:/data", rig.Image, "sleep", "10000")
		pid := h.D("inspect", "-f", "{{.State.Pid}}", id)
		restart(t, h, func() {
			if err := os.RemoveAll(h.Path("/var/lib/docker/containers/" + id)); err != nil {
				t.Fatal(err)
			}
		})
		if out := h.D("ps", "-aq"); out != "" {
			t.Fatalf("dockerd knows %s", out)
		}
		h.Refused(id[:12], "volume", "rm", "orphaned")
		if us := h.Volume("orphaned").Users; len(us) != 1 || us[0].Container != id {
			t.Errorf("its users are %+v", us)
		}
		h.MosRefused("in use", "volume", "export", "orphaned", "-o", filepath.Join(t.TempDir(), "out"))
		if _, err := h.Exec(context.WithoutCancel(t.Context()), "kill", "-9", pid); err != nil {
			t.Fatal(err)
		}
		testx.Eventually(t, 20*time.Second, func() error {
			_, err := h.Docker("volume", "rm", "orphaned")
			return err
		})
		h.BecomesIdle(20 * time.Second)
	})
}
