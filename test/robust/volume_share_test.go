package robust

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestVolumeIsSharedThroughRestarts: two containers have one volume, of which one
// restarts again and again while docker cp reads and writes; then dockerd
// restarts, and twice the power goes. The data is the same all the time.
// MOS_ROUNDS is the number of restarts, 50 in the long form.
func TestVolumeIsSharedThroughRestarts(t *testing.T) {
	rounds := 6
	if full() {
		rounds = 50
	}
	rounds = number(t, "MOS_ROUNDS", rounds)
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewVolumes(t, rig.Config{Engine: engine, LiveRestore: true}, "-linger=300ms").Hosts[0]
			h.Create("shared", "size=32m")
			h.Create("unused", "size=16m")
			for _, c := range []string{"stays", "turns"} {
				h.D("run", "-d", "--restart=always", "--name", c, "-v", "shared:/data", rig.Image, "sleep", "100000")
			}
			sum := h.D("exec", "stays", "sh", "-c", "dd if=/dev/urandom of=/data/f bs=1M count=4 2>/dev/null; sync; sha256sum /data/f")
			whole := func(what string) {
				t.Helper()
				for _, c := range []string{"stays", "turns"} {
					err := testx.Poll(30*time.Second, func() error {
						got, err := h.Docker("exec", c, "sha256sum", "/data/f")
						if err == nil && got != sum {
							return fmt.Errorf("%s has %s, want %s", c, got, sum)
						}
						return err
					})
					if err == nil {
						err = h.Sees(c, "/data", "shared")
					}
					if err != nil {
						t.Fatalf("%s: %s: %v", what, c, err)
					}
				}
			}
			file, out := lab.File(t, "x"), t.TempDir()+"/f"
			for n := range rounds {
				h.D("restart", "-t", "0", "turns")
				if n%3 == 0 {
					h.D("cp", "stays:/data/f", out)
					h.D("cp", file, "turns:/data/in")
				}
			}
			whole("after restarts and copies")
			if us := h.Volume("shared").Users; len(us) != 2 {
				t.Errorf("its users are %+v", us)
			}
			for _, end := range []func(string) error{h.Stop, h.Kill9} {
				if err := end(rig.Dockerd); err != nil {
					t.Fatal(err)
				}
				if err := h.Start(rig.Dockerd); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				whole("after dockerd restarted")
			}
			h.D("run", "-d", "--name", "ends", "-v", "unused:/data", rig.Image, "sleep", "100000")
			for range 2 {
				if err := h.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				whole("after a power cut")
			}
			// What was mounted when the power went leaves nothing, also when it is
			// never mounted again.
			h.D("rm", "ends")
			h.D("volume", "rm", "unused")
			h.Clean()
			h.D("rm", "-f", "stays", "turns")
			h.BecomesIdle(20 * time.Second)
		})
	}
}

// TestVolumesServeWithoutTheDaemon: who writes while mos-lvm is killed sees no
// error; afterwards it knows everything again, in less than 100 ms.
func TestVolumesServeWithoutTheDaemon(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewVolumes(t, rig.Config{Engine: engine, LiveRestore: true}, "-linger=300ms").Hosts[0]
			const volumes = 20
			for n := range volumes {
				h.Create(fmt.Sprintf("vol%02d", n), "size=16m")
			}
			h.D("volume", "rm", "vol19")
			h.D("run", "-d", "--name", "writer", "-v", "vol00:/data", rig.Image, "sh", "-c",
				"n=0; while dd if=/dev/zero of=/data/f bs=64k count=8 conv=fsync 2>/dev/null; do n=$((n+1)); echo $n >/data/n; done; echo failed; sleep 100000")
			p := plugin{h}
			fastest := time.Hour
			for n := range 6 {
				if err := h.Kill9(lab.Lvm); err != nil {
					t.Fatal(err)
				}
				time.Sleep(300 * time.Millisecond)
				came := make(chan time.Duration)
				start := time.Now()
				go func() {
					for p.get(t, fmt.Sprintf("vol%02d", n)) != nil {
						time.Sleep(time.Millisecond)
					}
					came <- time.Since(start)
				}()
				if err := h.Start(lab.Lvm); err != nil {
					t.Fatal(err)
				}
				fastest = min(fastest, <-came)
				if n%2 == 1 {
					time.Sleep(time.Second) // and it has looked for idle volumes
				}
			}
			t.Logf("mos-lvm answers %v after its start with %d volumes (the fastest of 6)", fastest, volumes)
			if fastest > 100*time.Millisecond {
				t.Errorf("mos-lvm starts in %v, want 100ms", fastest)
			}
			before := h.D("exec", "writer", "cat", "/data/n")
			if out := h.D("logs", "writer"); out != "" {
				t.Errorf("the writer says %s", out)
			}
			testx.Eventually(t, 10*time.Second, func() error {
				if now, err := h.Docker("exec", "writer", "cat", "/data/n"); err != nil || now == before {
					return fmt.Errorf("the writer does not go on: %s, %w", now, err)
				}
				return nil
			})
			if err := h.Sees("writer", "/data", "vol00"); err != nil {
				t.Error(err)
			}
			if n := len(strings.Fields(h.D("volume", "ls", "-q"))); n != volumes-1 {
				t.Errorf("%d volumes, want %d", n, volumes-1)
			}
			h.Refused("in use", "volume", "rm", "vol00")
			h.Mos("volume", "trash", "restore", "vol19")
			h.D("rm", "-f", "writer")
			h.BecomesIdle(20 * time.Second)
		})
	}
}
