package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestNameThatAnotherDriverHas: a container that starts while its volume is in the bin makes
// Docker have another one of that name, which it gives to all that follow.
func TestNameThatAnotherDriverHas(t *testing.T) {
	volumes(t, rig.OneOrAll(rig.Engine20), func(t *testing.T, h *lab.Host) {
		h.Create("data", "size=16m")
		h.D("run", "--rm", "-v", "data:/data", rig.Image, "sh", "-c", "echo kept >/data/f")
		h.D("volume", "rm", "data")
		h.D("run", "--rm", "-v", "data:/data", rig.Image, "true")
		const why = "docker has a volume data of driver local"
		h.MosRefused(why, "volume", "trash", "restore", "data")
		h.MosRefused(why, "volume", "create", "-o", "size=16m", "data")
		h.D("volume", "rm", "data")
		h.Mos("volume", "trash", "restore", "data")
		if out := h.D("run", "--rm", "-v", "data:/data", rig.Image, "cat", "/data/f"); out != "kept" {
			t.Errorf("restored it has %q", out)
		}
	})
}

// nothing fails the test if f leaves a volume or a file.
func nothing(t *testing.T, h *lab.Host, f func()) {
	t.Helper()
	files, list := h.Images(), h.D("volume", "ls", "-q")
	f()
	if now := h.Images(); !slices.Equal(now, files) {
		t.Errorf("files: %q, were %q", now, files)
	}
	if now := h.D("volume", "ls", "-q"); now != list {
		t.Errorf("volumes: %q, were %q", now, list)
	}
	if ls, err := h.Loops(); err != nil || len(ls) > 0 {
		t.Errorf("loop devices: %v %q", err, ls)
	}
}

// TestBadVolumesAreRefused: bad input gets a sentence, and nothing is half made.
func TestBadVolumesAreRefused(t *testing.T) {
	volumes(t, rig.OneOrAll(rig.EngineNew), func(t *testing.T, h *lab.Host) {
		h.Create("source", "size=16m")
		nothing(t, h, func() {
			for _, c := range []struct {
				name, want string
				options    []string
			}{
				{"vol", "size", nil},
				{"vol", "size", []string{"size=0"}},
				{"vol", "size", []string{"size=-5g"}},
				{"vol", "size", []string{"size="}},
				{"vol", "size", []string{"size=many"}},
				{"vol", "size", []string{"size=1k"}},
				{"vol", "size", []string{"size=100m", "fs=xfs"}},
				{"vol", "size", []string{"size=99999999999999999999g"}},
				{"vol", "room", []string{"size=900t"}},
				{"vol", "ext4 or xfs", []string{"size=16m", "fs=ntfs"}},
				{"vol", "thin", []string{"size=16m", "type=raid"}},
				{"vol", "colour", []string{"size=16m", "colour=red"}},
				{"vol", "octal", []string{"size=16m", "mode=rwx"}},
				{"vol", "number", []string{"size=16m", "uid=root"}},
				{"vol", "mountopts", []string{"size=16m", "mountopts=nonsense"}},
				{"vol", "number", []string{"size=16m", "iops=0"}},
				{"vol", "init", []string{"size=16m", "vg=nobodys"}},
				{"vol", "init", []string{"size=16m", "type=thin"}},
				{"vol", "no volume", []string{"from=absent"}},
				{"vol", "no volume", []string{"from=source@absent"}},
				{"vol", "docker mos volume export", []string{"from=source"}},
				{"../x", "begins with", []string{"size=16m"}},
				{"with space", "begins with", []string{"size=16m"}},
				{"a/b", "begins with", []string{"size=16m"}},
				{".hidden", "begins with", []string{"size=16m"}},
				{"größe", "begins with", []string{"size=16m"}},
				{"line\nbreak", "begins with", []string{"size=16m"}},
				{strings.Repeat("n", 300), "255", []string{"size=16m"}},
			} {
				refusedCreate(t, h, c.want, c.name, c.options...)
			}
			// docker reads a dash as its own option; the API passes it on.
			h.Refused("begins with", "run", "--rm", "--mount", "type=volume,src=-x,dst=/data,volume-driver=mos-lvm,volume-opt=size=16m", rig.Image, "true")
			for want, args := range map[string][]string{
				"shrink":              {"volume", "resize", "source", "8m"},
				"room":                {"volume", "resize", "source", "900t"},
				"size":                {"volume", "resize", "source", "big"},
				"there is no volume":  {"volume", "resize", "absent", "20m"},
				"no volume absent":    {"volume", "trash", "restore", "absent"},
				"no volume gone":      {"volume", "trash", "purge", "-f", "gone"},
				"mos-lvm init":        {"volume", "snapshot", "create", "source"},
				"no volume elsewhere": {"volume", "export", "elsewhere", "-o", filepath.Join(t.TempDir(), "out")},
			} {
				h.MosRefused(want, args...)
			}
		})
		// What is refused has not harmed what is there.
		h.D("run", "--rm", "-v", "source:/data", rig.Image, "touch", "/data/fine")
	})
}

// refusedCreate makes a volume, which must fail with want in its words.
func refusedCreate(t *testing.T, h *lab.Host, want, name string, options ...string) {
	t.Helper()
	argv := []string{"volume", "create", "-d", "mos-lvm"}
	for _, o := range options {
		argv = append(argv, "-o", o)
	}
	h.Refused(want, append(argv, name)...)
}

// TestVolumesNeedTheirTools: without mkfs, or with a full disk, creating a volume
// is refused with what to do, and leaves nothing.
func TestVolumesNeedTheirTools(t *testing.T) {
	volumes(t, rig.OneOrAll(rig.Engine20), func(t *testing.T, h *lab.Host) {
		if err := h.Stop(lab.Lvm); err != nil {
			t.Fatal(err)
		}
		// A disk of its own for the images, so small that it is full soon.
		disk := lab.File(t, "")
		h.MustExec(t, "sh", "-c", "truncate -s 100m "+disk+" && mkfs.ext4 -qFm0 "+disk+" && mount -o loop "+disk+" /var/lib/mos")
		argv := []string{lab.Program(t, lab.Lvm), "-log.level=debug", "-linger=1s", "-interval=2s", "-loop_spare=0"}
		begin := func(env ...string) {
			t.Helper()
			socket := filepath.Join(h.PluginDir(), "mos-lvm.sock")
			err := h.StartDaemon(rig.Daemon{Name: lab.Lvm, Argv: argv, Env: env, Ready: func() error {
				_, err := os.Stat(socket)
				return err
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		begin("PATH=/nowhere")
		nothing(t, h, func() {
			refusedCreate(t, h, "e2fsprogs", "plain", "size=16m")
		})
		if err := h.Stop(lab.Lvm); err != nil {
			t.Fatal(err)
		}
		begin()
		h.Create("first", "size=60m")
		nothing(t, h, func() {
			refusedCreate(t, h, "room", "second", "size=60m")
			h.MosRefused("room", "volume", "resize", "first", "200m")
		})
		// To the last byte: what is there goes on, can be removed, and gives its room.
		_, _ = h.Exec(t.Context(), "dd", "if=/dev/zero", "of=/var/lib/mos/filler", "bs=64k")
		nothing(t, h, func() {
			refusedCreate(t, h, "room", "second", "size=16m")
		})
		h.D("run", "--rm", "-v", "first:/data", rig.Image, "sh", "-c", "dd if=/dev/zero of=/data/f bs=1M count=40 conv=fsync 2>/dev/null")
		time.Sleep(1100 * time.Millisecond) // one that was just given away is not removed
		h.D("volume", "rm", "first")
		h.MustExec(t, "rm", "/var/lib/mos/filler")
		h.Create("second", "size=60m") // by purging what is in the bin
		if vs, err := h.Volumes.Trash(t.Context()); err != nil || len(vs) > 0 {
			t.Errorf("the bin: %v, %v", vs, err)
		}
	})
}
