package mounts

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Holder is one mount of a device by somebody else than us.
type Holder struct {
	PID       int    // a process that sees the mount; the one that has been there longest, if PIDs did not wrap
	Command   string // its name
	Container string // the id of the container it is in, "" when it is in none
	Namespace uint64 // the number of the mount namespace, the same for all who share it
	Point     string // where it is mounted, as that process sees it
	Root      string // which directory of the file system
}

// String names the holder in a message.
func (h Holder) String() string {
	s := fmt.Sprintf("process %d (%s) at %s", h.PID, h.Command, h.Point)
	if h.Container != "" {
		s = fmt.Sprintf("container %.12s, ", h.Container) + s
	}
	return s
}

// Snapshot is the mounts of block devices in all mount namespaces that the
// process can see, at one time.
type Snapshot struct {
	spaces []*space
	blind  bool
	denied []int
	proc   string
}

// space is one mount namespace.
type space struct {
	number uint64
	pid    int
	mounts []Mount // of block devices only
}

// Take reads the mounts of all mount namespaces.
func Take(ctx context.Context) (*Snapshot, error) { return take(ctx, "/proc") }

func take(ctx context.Context, proc string) (*Snapshot, error) {
	tasks, denied, err := tasks(ctx, proc)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{proc: proc, denied: denied, blind: isBlind(proc)}
	buf := make([]byte, 64<<10)
	bySpace := map[uint64]*space{}
	for _, t := range tasks {
		if bySpace[t.space] != nil {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("read the mounts of all processes: %w", err)
		}
		ms, err := blockMounts(filepath.Join(proc, t.dir, "mountinfo"), buf)
		if gone(err) {
			continue // the next process of the namespace will do
		}
		if err != nil {
			return nil, fmt.Errorf("read the mounts of process %d: %w", t.pid, err)
		}
		sp := &space{number: t.space, pid: t.pid, mounts: ms}
		bySpace[t.space] = sp
		s.spaces = append(s.spaces, sp)
	}
	return s, nil
}

// Holders returns who has a device mounted, but for copies of our own mount at
// the path own, by namespace and mount point.
func (s *Snapshot) Holders(dev Dev, own string) []Holder {
	if p, err := canonical(own); err == nil {
		own = p
	}
	var hs []Holder
	for _, sp := range s.spaces {
		var known bool
		var command, container string
		for _, m := range sp.mounts {
			// A container that sees the host's tree has our mount at a longer path.
			if m.Dev != dev || m.Root == "/" && strings.HasSuffix(m.Point, own) {
				continue
			}
			if !known {
				command, container = s.describe(sp.pid)
				known = true
			}
			hs = append(hs, Holder{
				PID: sp.pid, Command: command, Container: container,
				Namespace: sp.number, Point: m.Point, Root: m.Root,
			})
		}
	}
	slices.SortStableFunc(hs, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Point, b.Point))
	})
	return hs
}

// Copies returns in how many mount namespaces the device is mounted at all,
// those of copies included.
func (s *Snapshot) Copies(dev Dev) int {
	n := 0
	for _, sp := range s.spaces {
		if slices.ContainsFunc(sp.mounts, func(m Mount) bool { return m.Dev == dev }) {
			n++
		}
	}
	return n
}

// Blind says that the process is in a PID namespace of its own, so that the
// processes of the host and its containers, and their mounts, are not seen.
func (s *Snapshot) Blind() bool { return s.blind }

// Denied returns the processes at which we may not look. Their mounts are seen only
// when somebody else shares their mount namespace.
func (s *Snapshot) Denied() []int { return s.denied }

// Holders is [Take] and [Snapshot.Holders] for a single device.
func Holders(ctx context.Context, dev Dev, own string) ([]Holder, error) {
	s, err := Take(ctx)
	if err != nil {
		return nil, err
	}
	return s.Holders(dev, own), nil
}

// blockMounts reads those mounts of a mountinfo file that have a block device.
// It looks at the third field before it takes a line apart: most are of tmpfs,
// proc, overlay, whose major number is 0.
func blockMounts(path string, buf []byte) ([]Mount, error) {
	b, err := readAll(path, buf)
	if err != nil {
		return nil, err
	}
	var ms []Mount
	for line := range bytes.Lines(b) {
		f := bytes.SplitN(line, []byte(" "), 4)
		if len(f) < 4 || bytes.HasPrefix(f[2], []byte("0:")) {
			continue
		}
		m, err := parseLine(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// readAll is os.ReadFile with a buffer of the caller's: the kernel says that its
// files are empty, so that ReadFile would begin with a small one.
func readAll(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b := bytes.NewBuffer(buf[:0])
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}

// describe asks for the name and container of a process; one that has ended in
// the meantime has neither.
func (s *Snapshot) describe(pid int) (command, container string) {
	dir := filepath.Join(s.proc, strconv.Itoa(pid))
	if b, err := os.ReadFile(filepath.Join(dir, "comm")); err == nil {
		command = strings.TrimSuffix(string(b), "\n")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil {
		container = containerOf(string(b))
	}
	return command, container
}

// gone says that a process ended, or is a zombie, which has no namespaces.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL)
}

// isBlind tells by the namespace number of the first process: the kernel's
// initial PID namespace has a fixed one.
func isBlind(proc string) bool {
	const initial = "pid:[4026531836]"
	l, err := os.Readlink(filepath.Join(proc, "self/ns/pid"))
	return err == nil && l != initial
}
