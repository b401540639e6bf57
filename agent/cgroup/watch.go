package cgroup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Watch tells when folders of the cgroup tree appear or go, or files are written to.
type Watch struct {
	// C has a value after something changed. Many changes may be one value.
	C    <-chan struct{}
	file *os.File
	fd   int
	mask uint32
	dirs map[string]bool
	done chan struct{}
}

// NewWatch makes a watch of folders that watches none yet. The caller closes it.
func NewWatch() (*Watch, error) {
	return newWatch(unix.IN_CREATE | unix.IN_DELETE | unix.IN_ONLYDIR)
}

// NewFileWatch makes one that tells when somebody writes to files. What the kernel
// changes by itself it does not tell.
func NewFileWatch() (*Watch, error) { return newWatch(unix.IN_MODIFY) }

func newWatch(mask uint32) (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch the cgroup tree: %w", err)
	}
	c := make(chan struct{}, 1)
	w := &Watch{C: c, file: os.NewFile(uintptr(fd), "inotify"), fd: fd, mask: mask, dirs: map[string]bool{}, done: make(chan struct{})}
	go w.pass(c)
	return w, nil
}

// pass turns events into values of C until the watch is closed. What happened is
// not looked at: the scan that follows sees it.
func (w *Watch) pass(c chan<- struct{}) {
	defer close(w.done)
	buf := make([]byte, 64<<10)
	for {
		if _, err := w.file.Read(buf); err != nil {
			return // closed
		}
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Follow makes the watched folders, or files, those of a scan. It reports whether there are
// some that were not watched before: what happened in them until now may have
// been missed, so the caller scans again. Folders that are gone are no error. The
// error joins what keeps folders from being watched; the others are.
func (w *Watch) Follow(dirs []string) (added bool, err error) {
	var errs []error
	now := make(map[string]bool, len(dirs))
	for _, d := range dirs {
		// A folder that went and came back under its name has lost its watch, which
		// adding it again mends; for one that has it nothing changes.
		_, werr := unix.InotifyAddWatch(w.fd, d, w.mask)
		switch {
		case werr == nil:
			now[d] = true
			added = added || !w.dirs[d]
		case errors.Is(werr, unix.ENOENT):
		default:
			errs = append(errs, fmt.Errorf("watch %s: %w", d, werr))
		}
	}
	w.dirs = now
	return added, errors.Join(errs...)
}

// Close ends the watch.
func (w *Watch) Close() error {
	err := w.file.Close()
	<-w.done
	return err
}
