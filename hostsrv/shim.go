package hostsrv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// AskShim asks the shim that serves ttrpc at a unix socket for the state of a container,
// and takes any answer: one that hangs gives none until ctx ends.
//
// A message is its length, the number of its stream and its kind, in 10 bytes, then in
// protobuf what is asked of whom (containerd/ttrpc, PROTOCOL.md; containerd's api/runtime).
func AskShim(ctx context.Context, socket, id string) error {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // ends what is waited for
	defer stop()
	const service, method, payload, containerID = 1, 2, 3, 1
	request := field(nil, service, "containerd.task.v2.Task")
	request = field(request, method, "State")
	request = field(request, payload, string(field(nil, containerID, id)))
	const stream, kindRequest = 1, 1
	message := binary.BigEndian.AppendUint32(nil, uint32(len(request)))
	message = append(binary.BigEndian.AppendUint32(message, stream), kindRequest, 0)
	if _, err = c.Write(append(message, request...)); err == nil {
		_, err = io.ReadFull(c, make([]byte, len(message)))
	}
	if err != nil {
		err = fmt.Errorf("ask the shim of container %.12s: %w", id, errors.Join(err, ctx.Err()))
	}
	return errors.Join(err, c.Close())
}

// field appends a field of protobuf whose value has a length.
func field(b []byte, number uint64, value string) []byte {
	const lengthDelimited = 2
	b = binary.AppendUvarint(b, number<<3|lengthDelimited)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// taskLeft says whether an Engine refused to start a container because containerd has a task
// of it still. One that was killed while it started the container, before version 23, knows
// nothing of the task when it is back, and every start fails from then on.
func taskLeft(err error) bool {
	text := err.Error()
	return strings.Contains(text, ": task ") && strings.Contains(text, ": already exists") || strings.Contains(text, ": id already in use")
}

// EndShim kills the shim of a container, whose processes containerd ends then, and forgets the
// task. The Engine must hold that the container does not run. The error is of class NotFound
// where there is no shim.
func EndShim(_ context.Context, id string) error {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		p, err := os.FindProcess(pid) // holds on to that very process
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err != nil || !isShim(line, id) {
			_ = p.Release()
			continue
		}
		if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end the shim of container %.12s: %w", id, err)
		}
		return nil
	}
	return fault.NotFound("container %.12s has no shim", id)
}

// isShim says whether a command line, as /proc has it, is that of a container's shim.
func isShim(line []byte, id string) bool {
	args := strings.Split(string(line), "\x00")
	at := slices.Index(args, "-id")
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && at >= 0 && at+1 < len(args) && args[at+1] == id
}
