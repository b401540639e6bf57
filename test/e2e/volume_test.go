package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// shortly makes the daemon unmount so soon that a wrong unmount is seen.
const shortly = "-linger=300ms"

// volumes makes a host with mos-lvm for each engine.
func volumes(t *testing.T, engines []rig.Engine, f func(t *testing.T, h *lab.Host)) {
	t.Helper()
	volumesWith(t, engines, nil, f)
}

func volumesWith(t *testing.T, engines []rig.Engine, args []string, f func(t *testing.T, h *lab.Host)) {
	t.Helper()
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			f(t, lab.NewVolumes(t, rig.Config{Engine: engine, LiveRestore: true}, args...).Hosts[0])
		})
	}
}

// TestVolumeIsAHardLimitAndGrowsInUse: a writer gets "no space left" at the
// volume's size while the host keeps its own, and goes on when the volume grows.
func TestVolumeIsAHardLimitAndGrowsInUse(t *testing.T) {
	volumes(t, rig.OneOrAll(rig.EngineNew), func(t *testing.T, h *lab.Host) {
		h.D("volume", "create", "-d", "mos-lvm", "-o", "size=64m", "small")
		out, err := h.Docker("run", "--rm", "-v", "small:/data", rig.Image, "dd", "if=/dev/zero", "of=/data/f", "bs=1M", "count=100")
		if err == nil || !strings.Contains(err.Error()+out, "No space left") {
			t.Errorf("writing 100 MB into 64 MB: %v %s", err, out)
		}
		h.D("volume", "create", "-d", "mos-lvm", "-o", "size=320m", "-o", "fs=xfs", "big")
		h.D("run", "-d", "--name", "writer", "-v", "big:/data", rig.Image, "sh", "-c",
			"i=0; while [ $i -lt 400 ]; do dd if=/dev/zero of=/data/$i bs=1M count=1 2>/dev/null && i=$((i+1)) || sleep 0.1; done; sync; echo done; sleep 1000")
		testx.Eventually(t, 30*time.Second, func() error { return used(h, "big", 200<<20) })
		h.Mos("volume", "resize", "big", "500m")
		testx.Eventually(t, 60*time.Second, func() error {
			if out := h.D("logs", "writer"); !strings.Contains(out, "done") {
				return used(h, "big", 1<<40)
			}
			return nil
		})
		// ext4 cannot grow while mounted where root lacks CAP_SYS_RESOURCE: said, and offered for the next mount.
		h.D("run", "-d", "--name", "keeper", "-v", "small:/data", rig.Image, "sleep", "1000")
		if _, err := h.TryMos("volume", "resize", "small", "128m"); err == nil || !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") {
			t.Logf("ext4 grew while mounted, or: %v", err)
		} else {
			h.Mos("volume", "resize", "--at-next-mount", "small", "128m")
			h.D("restart", "-t", "0", "keeper")
			testx.Eventually(t, 20*time.Second, func() error {
				if v := h.Volume("small"); v.Usage == nil || v.Usage.Size < 100<<20 {
					return fmt.Errorf("its file system has not grown: %+v", v.Usage)
				}
				return nil
			})
		}
	})
}

// TestVolumeThatLingersGrows: its containers are gone, so the refusal to grow ext4 while
// it is mounted would tell to stop what does not run.
func TestVolumeThatLingersGrows(t *testing.T) {
	volumesWith(t, rig.OneOrAll(rig.Engine20), []string{"-linger=1m"}, func(t *testing.T, h *lab.Host) {
		h.D("volume", "create", "-d", "mos-lvm", "-o", "size=64m", "slack")
		h.D("run", "--rm", "-v", "slack:/data", rig.Image, "sh", "-c", "echo kept >/data/f")
		if dry := h.Mos("volume", "resize", "--dry-run", "slack", "128m"); !strings.Contains(dry, "grow-fs") {
			t.Errorf("the dry run says %s", dry)
		}
		h.Mos("volume", "resize", "slack", "128m")
		out := h.D("run", "--rm", "-v", "slack:/data", rig.Image, "sh", "-c", "cat /data/f; df -m /data | tail -1")
		if f := strings.Fields(out); len(f) < 3 || f[0] != "kept" || len(f[2]) < 3 {
			t.Errorf("then it has %s", out)
		}
	})
}

// used says how far a volume is from having so many bytes in use.
func used(h *lab.Host, volume string, least uint64) error {
	v, err := h.Volumes.Volume(context.Background(), volume)
	if err != nil {
		return err
	}
	if v.Usage == nil || v.Usage.Used < least {
		return errors.New("volume " + volume + " is not that full yet")
	}
	return nil
}
