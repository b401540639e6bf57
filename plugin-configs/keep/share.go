package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// settle is how long a change of the host's mounts may be followed by more.
const settle = 100 * time.Millisecond

// share sees to it that the host sees what is mounted below dir, for as long as the
// plugin lives.
//
// A dockerd that was killed ends the plugin at its next start and starts it again, and
// clears the mounts of the life before meanwhile: now and then only when it has made the
// folder of the next one ready. What is mounted there is then seen by the plugin alone,
// and containers on it do not start.
func share(dir string, host int) {
	said := ""
	say := func(err error) {
		if err != nil && err.Error() != said {
			said = err.Error()
			fmt.Fprintln(os.Stderr, "keep: what is mounted at", dir, "may not be seen by Docker:", err)
		}
	}
	// A change is told to one poll of a file only, so it must not be one of Go, which polls too.
	changes, err := unix.Open(mountinfo(host), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		say(err)
		return
	}
	defer func() { _ = unix.Close(changes) }()
	for {
		again, err := shareNow(dir, host)
		if say(err); again {
			fmt.Fprintln(os.Stderr, "keep:", dir, "was taken off the host, and is there again")
		}
		wait := -1
		if err != nil {
			wait = int(time.Second / time.Millisecond) // to try again
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(changes), Events: unix.POLLPRI}}, wait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			say(err)
			return
		}
		<-time.After(settle)
	}
}

// shareNow gives the host the mount at dir, with all below it, when it has none that
// it shares with it. It says whether it did.
func shareNow(dir string, host int) (again bool, err error) {
	own, ok, err := mounts.At(dir)
	if err != nil || !ok || own.Peers == 0 {
		return false, errors.Join(err, fmt.Errorf("no shared mount is at %s", dir))
	}
	text, err := os.ReadFile(mountinfo(host))
	if err != nil {
		return false, err
	}
	theirs, err := mounts.Parse(string(text))
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(theirs, func(m mounts.Mount) bool { return m.Peers == own.Peers && within(own.Root, m.Root) }) {
		return false, nil
	}
	at, err := whereIs(own, theirs)
	if err != nil {
		return false, err
	}
	err = attach(dir, host, at)
	return err == nil, err
}

// whereIs returns the path at which the directory of a mount is seen among others.
func whereIs(own mounts.Mount, theirs []mounts.Mount) (string, error) {
	var best *mounts.Mount
	for i, m := range theirs {
		if m.Dev == own.Dev && within(own.Root, m.Root) && (best == nil || len(m.Root) > len(best.Root)) {
			best = &theirs[i]
		}
	}
	if best == nil {
		return "", fmt.Errorf("the host has %s of device %s nowhere", own.Root, own.Dev)
	}
	rel, err := filepath.Rel(best.Root, own.Root)
	return filepath.Join(best.Point, rel), err
}

func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// attach puts the tree of mounts at dir also at a path of the mount namespace of a
// process. The two share what is mounted from then on.
func attach(dir string, host int, at string) (err error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("copy the mounts at %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, unix.Close(tree)) }()
	return xexec.OnThread(func() error {
		ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", host), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the host's mount namespace: %w", err)
		}
		defer func() { _ = unix.Close(ns) }()
		// A thread that has its working directory with others may not enter.
		if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(ns, unix.CLONE_NEWNS)); err != nil {
			return fmt.Errorf("enter the host's mount namespace: %w", err)
		}
		if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount it at %s of the host: %w", at, err)
		}
		return nil
	})
}

func mountinfo(pid int) string { return fmt.Sprintf("/proc/%d/mountinfo", pid) }
