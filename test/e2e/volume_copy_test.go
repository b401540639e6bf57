package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestVolumeMovesAsAStream: a volume goes into a file and comes back, goes through
// a pipe to another host, and is the same there; one in use is refused with the
// reason, and a stream that is damaged or cut off leaves nothing.
func TestVolumeMovesAsAStream(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			hosts := lab.NewVolumes(t, rig.Config{Hosts: 2, Engine: engine, LiveRestore: true}).Hosts
			h, far := hosts[0], hosts[1]
			h.Create("here", "size=32m", "uid=1000", "mode=0700")
			h.D("run", "-d", "--name", "user", "-v", "here:/data", rig.Image, "sleep", "100000")
			sum := h.D("exec", "user", "sh", "-c", "dd if=/dev/urandom of=/data/f bs=1M count=6 2>/dev/null; sync; sha256sum /data/f; stat -c '%u %a' /data")
			file := filepath.Join(t.TempDir(), "stream")
			h.MosRefused("cannot be exported while in use", "volume", "export", "here", "-o", file)
			if _, err := os.Stat(file); err == nil {
				t.Error("a refused export left a file")
			}
			h.D("rm", "-f", "user")

			// through a pipe, to another host
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			mos := lab.Program(t, "docker-mos") + " mos volume "
			kill, err := h.Background(nil, "sh", "-c", "for i in 1 2 3 4 5; do "+mos+"export here >"+pipe+" && break; sleep 1; done")
			if err != nil {
				t.Fatal(err)
			}
			defer kill()
			far.MustExec(t, "sh", "-c", mos+"import there <"+pipe)
			same := func(h *lab.Host, volume string) {
				t.Helper()
				got := h.D("run", "--rm", "-v", volume+":/data", rig.Image, "sh", "-c", "sha256sum /data/f; stat -c '%u %a' /data")
				if got != sum {
					t.Errorf("%s: volume %s is\n%s, want\n%s", h.Name, volume, got, sum)
				}
			}
			same(far, "there")

			// into a file, and back under another name and size
			testx.Eventually(t, 20*time.Second, func() error {
				_, err := h.TryMos("volume", "export", "here", "-o", file)
				return err
			})
			nothing(t, h, func() {
				if out := h.Mos("volume", "import", "--dry-run", "-i", file, "copy"); !strings.Contains(out, "copy") {
					t.Errorf("dry run: %s", out)
				}
				damaged(t, h, file)
				h.MosRefused("here", "volume", "import", "-i", file, "here")
				h.MosRefused("smaller", "volume", "import", "-i", file, "-o", "size=16m", "copy")
				h.MosRefused("begins with", "volume", "import", "-i", file, "../copy")
			})
			h.Mos("volume", "import", "-i", file, "-o", "size=48m", "copy")
			same(h, "copy")
			if size := h.Volume("copy").Size; size != 48<<20 {
				t.Errorf("the copy has %d bytes", size)
			}
			same(h, "here")
			h.Mos("volume", "import", "-i", file, "-o", "gid=33", "-o", "mode=0750", "other")
			for _, want := range []string{"1000 33 750", "1000 34 750"} { // its containers' word counts from then on
				got := h.D("run", "--rm", "-v", "other:/data", rig.Image, "sh", "-c", "stat -c '%u %g %a' /data; chgrp 34 /data")
				if got != want {
					t.Errorf("with gid=33 and mode=0750 it has %s, want %s", got, want)
				}
				testx.Eventually(t, 20*time.Second, func() error {
					if at := h.Volume("other").Mountpoint; at != "" {
						return errors.New("it is mounted at " + at)
					}
					return nil
				})
			}
			for _, h := range hosts {
				h.BecomesIdle(20 * time.Second)
			}
		})
	}
}

// damaged imports the stream with a bit turned over in several places, and cut off.
func damaged(t *testing.T, h *lab.Host, file string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	imported := func(what, stream string) {
		t.Helper()
		_, err := h.Volumes.Import(t.Context(), strings.NewReader(stream), api.CreateRequest{Name: "damaged"}, nil)
		if err == nil {
			t.Errorf("%s was taken", what)
			return
		}
		if !strings.Contains(err.Error(), "stream") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, at := range []int{3, 40, len(whole) / 3, len(whole) - 5} {
		b := append([]byte{}, whole...)
		b[at] ^= 0x10
		imported("a stream with a bit turned over", string(b))
	}
	for _, n := range []int{0, 10, len(whole) / 2, len(whole) - 1} {
		imported("a stream cut off", string(whole[:n]))
	}
	imported("a stream that goes on", string(whole)+"x")
	imported("another file", strings.Repeat("not a stream\n", 1000))
}
