package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	volumeapi "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// Where mos-lvm keeps images and mounts volumes, inside a host.
const (
	ImageDir = "/var/lib/mos/mos-lvm/loop"
	mountDir = "/var/lib/mos/mos-lvm/mnt"
)

// Images lists the files of volumes on a host's disk, those of the recycle bin too.
func (h *Host) Images() []string {
	h.tb.Helper()
	entries, err := os.ReadDir(h.Path(ImageDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.tb.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Loops lists the loop devices of a host's images, and those whose image is gone.
// Devices are seen by all hosts of a machine, with the path of their own.
func (h *Host) Loops() ([]string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // detached meanwhile
		}
		image := strings.TrimSpace(string(b))
		// Of a mount namespace that is no more, as of a managed plugin's earlier life,
		// the kernel tells the path below the mount.
		at := strings.LastIndex(image, "/mos-lvm/loop/")
		if at < 0 {
			continue
		}
		image = filepath.Join(filepath.Dir(filepath.Dir(ImageDir)), image[at:])
		if _, err := os.Lstat(h.Path(image)); err == nil || strings.HasSuffix(image, " (deleted)") {
			out = append(out, filepath.Base(filepath.Dir(filepath.Dir(file)))+" "+image)
		}
	}
	return out, nil
}

// Mounts lists the mount points of volumes on the host.
func (h *Host) Mounts() ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", h.Holder()))
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], mountDir) {
			out = append(out, f[4])
		}
	}
	return out, err
}

// Idle says what of the volumes is still on the host: mounts, mount points, loop
// devices, users.
func (h *Host) Idle() error {
	ms, err := h.Mounts()
	errs := []error{err}
	for _, m := range ms {
		errs = append(errs, errors.New("mounted: "+m))
	}
	points, _ := os.ReadDir(h.Path(mountDir)) // absent is empty
	for _, p := range points {
		errs = append(errs, errors.New("mount point: "+p.Name()))
	}
	ls, err := h.Loops()
	errs = append(errs, err)
	for _, l := range ls {
		errs = append(errs, errors.New("attached: "+l))
	}
	vs, err := h.Volumes.Volumes(context.WithoutCancel(h.tb.Context()))
	errs = append(errs, err)
	for _, v := range vs {
		if len(v.Users) > 0 || v.Mountpoint != "" {
			errs = append(errs, fmt.Errorf("volume %s is at %q with %d users", v.Name, v.Mountpoint, len(v.Users)))
		}
	}
	return errors.Join(errs...)
}

// BecomesIdle fails the test unless volumes are off the host within a while.
func (h *Host) BecomesIdle(within time.Duration) {
	h.tb.Helper()
	if err := testx.Poll(within, h.Idle); err != nil {
		h.tb.Errorf("%s: %v later volumes are still on the host: %v", h.Name, within, err)
	}
}

// Create makes a volume with options such as "size=20m".
func (h *Host) Create(name string, options ...string) {
	h.tb.Helper()
	argv := []string{"volume", "create", "-d", Lvm}
	for _, o := range options {
		argv = append(argv, "-o", o)
	}
	h.D(append(argv, name)...)
}

// Volume is what mos-lvm knows of a volume in service.
func (h *Host) Volume(name string) volumeapi.Volume {
	h.tb.Helper()
	v, err := h.Volumes.Volume(context.WithoutCancel(h.tb.Context()), name)
	if err != nil {
		h.tb.Fatal(err)
	}
	return v
}

// Sees says why a running container does not have a volume at dir: the device
// there must be the one that has the volume's image.
func (h *Host) Sees(container, dir, volume string) error {
	v, err := h.Volumes.Volume(context.WithoutCancel(h.tb.Context()), volume)
	if err != nil {
		return err
	}
	out, err := h.Docker("exec", container, "cat", "/proc/self/mountinfo")
	if err != nil {
		return err
	}
	dev := ""
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			dev = f[2] // the last one lies on top
		}
	}
	ls, err := h.Loops()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(ls, func(l string) bool { return strings.HasSuffix(l, " "+v.Image) })
	if at < 0 {
		return fmt.Errorf("the image of volume %s is not attached: %q", volume, ls)
	}
	name, _, _ := strings.Cut(ls[at], " ")
	want, err := os.ReadFile("/sys/block/" + name + "/dev")
	if err != nil {
		return err
	}
	if dev != strings.TrimSpace(string(want)) {
		return fmt.Errorf("%s has device %s at %s, volume %s is %s", container, dev, dir, volume, want)
	}
	return nil
}

// MosRefused runs `docker mos`, which must fail with want in its words.
func (h *Host) MosRefused(want string, args ...string) {
	h.tb.Helper()
	out, err := h.TryMos(args...)
	if err == nil {
		h.tb.Fatalf("%s: docker mos %s: was taken, want a refusal with %q: %s", h.Name, strings.Join(args, " "), want, out)
	}
	if !strings.Contains(err.Error(), want) {
		h.tb.Errorf("%s: docker mos %s: refused with %v, want %q", h.Name, strings.Join(args, " "), err, want)
	}
}

// File makes a file with contents that hosts see at the same path.
func File(tb testing.TB, contents string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
