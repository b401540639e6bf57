package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// mostFile is how much of a file Get takes.
const mostFile = 1 << 20

// Put puts files into a container, and makes the folders that they lack.
func (e *Engine) Put(ctx context.Context, id string, files []plan.File) error {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Size: int64(len(f.Data)), Mode: 0o444}
		if f.Mode != "" {
			mode, err := strconv.ParseInt(f.Mode, 8, 32)
			if err != nil {
				return fault.Invalid("rights %q of file %s: write three octal digits such as 0440", f.Mode, f.Path)
			}
			h.Mode = mode
		}
		if f.User != "" {
			if _, err := fmt.Sscanf(f.User+":0", "%d:%d", &h.Uid, &h.Gid); err != nil {
				return fault.Invalid("owner %q of file %s: write numbers, UID or UID:GID", f.User, f.Path)
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(f.Data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err := e.c.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: "/", Content: &buf})
	return e.told(ctx, err)
}

// Get reads a file of a container; one of 1 MiB at most. An absent one is of class
// NotFound.
func (e *Engine) Get(ctx context.Context, id, path string) ([]byte, error) {
	out, err := e.c.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: path})
	if errdefs.IsNotFound(err) {
		return nil, fault.NotFound("there is no file %s in container %.12s", path, id)
	}
	if err != nil {
		return nil, e.told(ctx, err)
	}
	defer func() { _ = out.Content.Close() }()
	r := tar.NewReader(out.Content)
	h, err := r.Next()
	if err != nil {
		return nil, e.told(ctx, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size > mostFile {
		return nil, fault.Conflict("%s in container %.12s is no file of %d bytes at most", path, id, mostFile)
	}
	return io.ReadAll(r)
}
