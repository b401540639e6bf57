package loop

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Info is one attached loop device.
type Info struct {
	Device    string // its node, such as /dev/loop4096
	Number    int
	Backing   string // the path of its image, as the kernel has it
	Deleted   bool   // the image has no name anymore; it goes with the device
	Size      int64
	ReadOnly  bool
	AutoClear bool // the kernel detaches it after its last user
	DirectIO  bool

	image inode
	whole bool // it begins at the image's beginning and ends with it
}

// inode is a file, whatever its names.
type inode struct{ dev, ino uint64 }

func inodeOf(f *os.File) (inode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return inode{}, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	return inode{st.Dev, st.Ino}, nil
}

const block = "/sys/block"

// Find returns the device that an image is attached to, ErrNotFound when it is to
// none. It is found by the file, not by its name.
func Find(path string) (Info, error) {
	f, err := openImage(path, os.O_RDONLY)
	if err != nil {
		return Info{}, err
	}
	defer func() { _ = f.Close() }()
	image, err := inodeOf(f)
	if err != nil {
		return Info{}, err
	}
	d, info, err := find(image)
	if err != nil {
		return Info{}, err
	}
	if d == nil {
		return Info{}, fault.NotFound("image %s is not attached", path)
	}
	return info, d.Close()
}

// List returns the attached devices whose images are below a directory, or were
// before they were deleted, by number.
func List(dir string) ([]Info, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound("directory %s is not there", dir)
	}
	if err != nil {
		return nil, err
	}
	all, err := attached()
	if err != nil {
		return nil, err
	}
	here := map[inode]bool{}
	if len(all) > 0 {
		if here, err = inodesBelow(dir); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(i Info) bool {
		return !here[i.image] && !strings.HasPrefix(i.Backing, strings.TrimSuffix(dir, "/")+"/")
	}), nil
}

// inodesBelow is for devices whose image was attached under another name, in
// another mount namespace.
func inodesBelow(dir string) (map[inode]bool, error) {
	found := map[inode]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreMissing(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return ignoreMissing(err)
		}
		found[inode{st.Dev, st.Ino}] = true
		return nil
	})
	return found, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// attached returns all loop devices of the machine that have an image.
func attached() ([]Info, error) {
	numbers, err := boundNumbers()
	if err != nil {
		return nil, err
	}
	var is []Info
	for _, n := range numbers {
		d, info, err := openBound(n)
		if err != nil {
			return nil, err
		}
		if d != nil {
			is = append(is, info)
			_ = d.Close()
		}
	}
	return is, nil
}

// find returns the device of an image, open, so that the kernel cannot detach it
// meanwhile; nil when there is none.
func find(image inode) (*os.File, Info, error) {
	numbers, err := boundNumbers()
	if err != nil {
		return nil, Info{}, err
	}
	for _, n := range numbers {
		d, gone, err := openDevice(n, os.O_RDONLY)
		if err != nil {
			return nil, Info{}, err
		}
		if gone {
			continue
		}
		// The whole of its state is read for the one that is meant.
		st, err := unix.IoctlLoopGetStatus64(int(d.Fd()))
		if err == nil && (inode{st.Device, st.Inode}) == image {
			info, err := status(d, n)
			if err != nil {
				return nil, Info{}, errors.Join(err, d.Close())
			}
			return d, info, nil
		}
		_ = d.Close()
	}
	return nil, Info{}, nil
}

// boundNumbers returns the numbers of the devices that sysfs shows as attached.
func boundNumbers() ([]int, error) {
	es, err := os.ReadDir(block)
	if err != nil {
		return nil, fmt.Errorf("list the loop devices: %w", err)
	}
	var ns []int
	for _, e := range es {
		digits, ok := strings.CutPrefix(e.Name(), "loop")
		n, err := strconv.Atoi(digits)
		if ok && err == nil && isBound(n) {
			ns = append(ns, n)
		}
	}
	slices.SortFunc(ns, cmp.Compare)
	return ns, nil
}

func isBound(n int) bool {
	_, err := os.Stat(filepath.Join(sysfs(n), "loop/backing_file"))
	return err == nil
}

// openBound opens an attached device and reads what is attached; nil when it was
// detached meanwhile.
func openBound(n int) (*os.File, Info, error) {
	d, gone, err := openDevice(n, os.O_RDONLY)
	if gone || err != nil {
		return nil, Info{}, err
	}
	info, err := status(d, n)
	if err != nil {
		_ = d.Close()
		if isErrno(err, unix.ENXIO) {
			err = nil
		}
		return nil, Info{}, err
	}
	return d, info, nil
}

func status(d *os.File, n int) (Info, error) {
	st, err := unix.IoctlLoopGetStatus64(int(d.Fd()))
	if err != nil {
		return Info{}, fmt.Errorf("read the status of %s: %w", d.Name(), err)
	}
	size, err := size(d)
	if err != nil {
		return Info{}, err
	}
	i := Info{
		Device: d.Name(), Number: n, Size: size,
		ReadOnly: st.Flags&unix.LO_FLAGS_READ_ONLY != 0, AutoClear: st.Flags&unix.LO_FLAGS_AUTOCLEAR != 0, DirectIO: st.Flags&unix.LO_FLAGS_DIRECT_IO != 0,
		image: inode{st.Device, st.Inode}, whole: st.Offset == 0 && st.Sizelimit == 0,
	}
	i.Backing, i.Deleted = backing(n, i.image)
	return i, nil
}

// backing reads the path of a device's image. The kernel marks a deleted one with
// a word that a name may end with, too.
func backing(n int, image inode) (path string, deleted bool) {
	b, err := os.ReadFile(filepath.Join(sysfs(n), "loop/backing_file"))
	if err != nil {
		return "", false
	}
	path = strings.TrimSuffix(string(b), "\n")
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && (inode{st.Dev, st.Ino}) == image {
		return path, false
	}
	return strings.CutSuffix(path, " (deleted)")
}
