package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// secret is what must not be read by a later volume.
const secret = "the-words-of-the-tenant-before"

// TestVolumeComesBackFromTheBin: what docker volume rm removed comes back with
// the same bytes under the old name or a new one, until it is purged; then the
// next volume reads zeros where it was.
func TestVolumeComesBackFromTheBin(t *testing.T) {
	volumes(t, rig.OneOrAll(rig.Engine20), func(t *testing.T, h *lab.Host) {
		h.Create("notes", "size=24m")
		sum := h.D("run", "--rm", "-v", "notes:/data", rig.Image, "sh", "-c",
			"yes "+secret+" | head -c 8000000 >/data/secret; dd if=/dev/urandom of=/data/f bs=1M count=8 2>/dev/null; sync; sha256sum /data/f /data/secret")
		holds := func(name string) {
			t.Helper()
			if got := h.D("run", "--rm", "-v", name+":/data", rig.Image, "sha256sum", "/data/f", "/data/secret"); got != sum {
				t.Errorf("volume %s has %s, want %s", name, got, sum)
			}
		}
		remove := func(name string) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond) // a volume that was just given away is not removed
			h.D("volume", "rm", name)
			if out := h.D("volume", "ls", "-q"); strings.Contains(out, name) {
				t.Errorf("docker volume ls after rm: %s", out)
			}
		}
		remove("notes")
		if out := h.Mos("volume", "trash", "ls"); !strings.Contains(out, "notes") {
			t.Errorf("trash ls: %s", out)
		}
		h.Mos("volume", "trash", "restore", "notes")
		holds("notes")

		// The name is free at once, and the bin may hold several of one name.
		remove("notes")
		h.Create("notes", "size=16m")
		h.MosRefused("--as", "volume", "trash", "restore", "notes")
		h.Mos("volume", "trash", "restore", "--as", "kept", "notes")
		h.D("volume", "create", "-d", lab.Lvm, "kept") // else Docker makes one of its own while mos-lvm is away
		if err := h.Kill9(lab.Lvm); err != nil {
			t.Fatal(err)
		}
		if out, err := h.Docker("run", "--rm", "-v", "kept:/data", rig.Image, "true"); err == nil {
			t.Errorf("what Docker takes for a volume that it was told of: %s", out)
		}
		if err := h.Start(lab.Lvm); err != nil {
			t.Fatal(err)
		}
		holds("kept")
		if out := h.D("run", "--rm", "-v", "notes:/data", rig.Image, "ls", "/data"); out != "" {
			t.Errorf("the new volume of that name has %s", out)
		}

		remove("kept")
		h.MosRefused("no volume", "volume", "trash", "purge", "-f", "nobody")
		image := h.Path(lab.ImageDir) + "/" + "mos-" + trashed(t, h, "kept") + ".img"
		if b, err := os.ReadFile(image); err != nil || !bytes.Contains(b, []byte(secret)) {
			t.Errorf("the image in the bin holds the data no more: %v", err)
		}
		h.Mos("volume", "trash", "purge", "-f", "kept")
		if _, err := os.Stat(image); !os.IsNotExist(err) {
			t.Errorf("the image after purge: %v", err)
		}
		h.Create("next", "size=24m")
		if b, err := os.ReadFile(strings.Replace(h.Volume("next").Image, lab.ImageDir, h.Path(lab.ImageDir), 1)); err != nil || len(b) != 24<<20 || bytes.Contains(b, []byte(secret)) {
			t.Errorf("the next volume's image has old bytes: %v, %d bytes", err, len(b))
		}
		h.MosRefused("no volume", "volume", "trash", "restore", "kept")
		h.BecomesIdle(20 * time.Second)
	})
}

// trashed is the id of a volume in the bin.
func trashed(t *testing.T, h *lab.Host, name string) string {
	t.Helper()
	vs, err := h.Volumes.Trash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		if v.Name == name {
			return v.ID
		}
	}
	t.Fatalf("%s is not in the bin", name)
	return ""
}
