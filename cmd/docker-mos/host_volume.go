package main

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mosdocker/mosdocker/internal/adminapi"
	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

// Where mos-lvm keeps images of loop volumes, and mounts volumes.
const (
	volumeDir    = lvm.DefaultState + "/"
	volumeMounts = volumeDir + "mnt/"
)

// mounts lists volumes of mos-lvm that this process sees mounted.
func (h host) mounts(context.Context) ([]adminapi.Finding, error) {
	f, err := os.Open(filepath.Join(h.root, "/proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var found []adminapi.Finding
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// proc(5): "36 35 98:0 /root /mount/point options… - type source options"
		left, right, _ := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(kind) < 2 || !strings.HasPrefix(fields[4], volumeMounts) {
			continue
		}
		found = append(found, adminapi.Finding{Kind: "mount", Object: fields[4], Detail: kind[0] + " of " + kind[1] + " is mounted"})
	}
	return found, lines.Err()
}

// loops lists loop devices whose file is an image of mos-lvm.
func (h host) loops(context.Context) ([]adminapi.Finding, error) {
	files, err := filepath.Glob(filepath.Join(h.root, "/sys/block/loop*/loop/backing_file"))
	if err != nil {
		return nil, err
	}
	var found []adminapi.Finding
	var errs []error
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // detached meanwhile
		}
		errs = append(errs, err)
		if image := strings.TrimSpace(string(b)); strings.HasPrefix(image, volumeDir) && h.isHere(image) {
			device := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(file)))
			found = append(found, adminapi.Finding{Kind: "loop device", Object: device, Detail: "image " + image + " is attached"})
		}
	}
	return found, errors.Join(errs...)
}

// isHere says whether a loop device's file is one of this host. Loop devices are
// seen in all mount namespaces of a machine, with the path of their own.
func (h host) isHere(image string) bool {
	_, err := os.Stat(filepath.Join(h.root, image))
	return !errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(image, " (deleted)")
}

// volumeTools says whether mos-lvm has what it stands on. Either of LVM and loop
// devices is enough for some volumes.
func (h host) volumeTools(ctx context.Context, cs *checks) {
	out, err := h.tool(ctx, "lvm", "version")
	out, _, _ = strings.Cut(strings.TrimSpace(out), "\n")
	cs.add("lvm is installed", strings.Join(strings.Fields(out), " "), err, "install lvm2; loop volumes work without it")
	out, err = h.tool(ctx, "mkfs.ext4", "-V")
	cs.add("mkfs.ext4 is installed", strings.TrimSpace(out), err, "install e2fsprogs")
	dm, loop := h.has("/sys/class/misc/device-mapper"), h.has("/sys/class/misc/loop-control")
	detail := "both"
	switch {
	case dm != nil && loop != nil:
		loop = errors.Join(dm, loop)
	case dm != nil:
		detail, loop = "loop devices only: there are volumes of type loop", nil
	case loop != nil:
		detail, loop = "device-mapper only: there are no volumes of type loop", nil
	}
	cs.add("the kernel has device-mapper or loop devices", detail, loop, "modprobe dm-mod, or modprobe loop")
}
