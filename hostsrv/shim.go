package hostsrv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
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
