// Package oom hears from the kernel's log who was killed for want of memory, and
// why: the counters of a cgroup say neither.
package oom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kill is a process that the kernel killed.
type Kill struct {
	Process string // its name
	Pid     int    // on the host
	Cgroup  string // where it was, from the root of the tree
	// Limit is the cgroup whose limit was reached; "" when the host, or the memory
	// nodes that the process may use, had no more.
	Limit string
}

// Parse reads a record of /dev/kmsg. All but "oom-kill:constraint=…" (dump_oom_summary
// in mm/oom_kill.c, Linux 5.0 and newer) is no kill.
func Parse(record string) (k Kill, ok bool) {
	line, _, _ := strings.Cut(record, "\n")
	_, line, _ = strings.Cut(line, ";")
	line, ok = strings.CutPrefix(line, "oom-kill:")
	if !ok {
		return k, false
	}
	// A name of a process may have commas and equal signs: what is behind it is
	// looked for from the end.
	line, after, named := strings.Cut(line, ",task=")
	at := strings.LastIndex(after, ",pid=")
	if !named || at < 0 {
		return k, false
	}
	k.Process = after[:at]
	pid, _, _ := strings.Cut(after[at+len(",pid="):], ",")
	k.Pid, _ = strconv.Atoi(pid)
	for field := range strings.SplitSeq(line, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "task_memcg":
			k.Cgroup = value
		case "oom_memcg":
			k.Limit = value
		}
	}
	return k, k.Pid > 0
}

// longest is what one record can have at most (CONSOLE_EXT_LOG_MAX in the kernel).
const longest = 8192

// Watch calls f with each kill from here on, until ctx ends.
func Watch(ctx context.Context, f func(Kill)) error {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("read the kernel's log: %w", err)
	}
	log := os.NewFile(uintptr(fd), "/dev/kmsg")
	stop := context.AfterFunc(ctx, func() { _ = log.Close() }) // ends what is read
	defer stop()
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		return errors.Join(fmt.Errorf("read the kernel's log: %w", err), log.Close())
	}
	buf := make([]byte, longest)
	for {
		n, err := log.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EPIPE): // records were written over before they were read
			continue
		case err != nil:
			return errors.Join(fmt.Errorf("read the kernel's log: %w", err), log.Close())
		}
		if k, ok := Parse(string(buf[:n])); ok {
			f(k)
		}
	}
}
