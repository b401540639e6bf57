package authz

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// mostDockerfile is more than anybody writes.
const mostDockerfile = 1 << 20

// copyContext copies the archive of a build, with each of its Dockerfiles as pin has it. It is
// written anew, entry by entry, so that an Engine sees what was seen here, whatever else it would
// make of the bytes. What could be a Dockerfile in a way that is not seen is refused. The end of
// the archive is not written after an error, before which Engines build nothing.
func copyContext(to io.Writer, from io.Reader, dockerfile string, pin func(string) (string, error)) error {
	plain, err := unpacked(from)
	if err != nil {
		return err
	}
	is := dockerfiles(dockerfile)
	in, out, links := tar.NewReader(plain), tar.NewWriter(to), map[string]bool{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the build context is no whole archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := whole(h, is, links); err != nil {
			return err
		}
		h.Format = tar.FormatPAX
		body := io.Reader(in)
		if is[place(h.Name)] && h.Typeflag == tar.TypeReg {
			text, err := io.ReadAll(io.LimitReader(in, mostDockerfile+1))
			if err != nil {
				return fmt.Errorf("the build context is no whole archive: %w", err)
			}
			if len(text) > mostDockerfile {
				return fault.Invalid("%s is larger than %d bytes", h.Name, mostDockerfile)
			}
			now, err := pin(string(text))
			if err != nil {
				return err
			}
			h.Size, body = int64(len(now)), strings.NewReader(now)
		}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("the build context: %.200q: %w", h.Name, err)
		}
		if _, err := io.Copy(out, body); err != nil {
			return err
		}
	}
	return out.Close()
}

// unpacked is an archive without its compression.
func unpacked(from io.Reader) (io.Reader, error) {
	b := bufio.NewReader(from)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("\x1f\x8b")) {
		return gzip.NewReader(b)
	}
	for _, magic := range []string{"BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return nil, fault.Invalid("a build context must be a plain archive, or one of gzip")
		}
	}
	return b, nil
}

// place is where an Engine puts an entry, below the folder of the context.
func place(name string) string { return path.Clean("/" + name) }

// dockerfiles are the places that an Engine may read the Dockerfile from.
func dockerfiles(name string) map[string]bool {
	is := map[string]bool{}
	if name == "" {
		name = "Dockerfile"
	}
	is[place(name)] = true
	if name == "Dockerfile" {
		is["/dockerfile"] = true
	}
	return is
}

// whole refuses an entry that could make a Dockerfile of something else.
func whole(h *tar.Header, is, links map[string]bool) error {
	at := place(h.Name)
	for above := path.Dir(at); above != "/"; above = path.Dir(above) {
		if links[above] {
			return fault.Invalid("the build context has %.200q behind the link %.200q", h.Name, above)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeFifo:
		if is[at] {
			return fault.Invalid("the Dockerfile %.200q is a pipe, which an Engine would wait for", h.Name)
		}
	case tar.TypeGNUSparse: // which was read with its holes filled
		h.Typeflag = tar.TypeReg
	case tar.TypeLink, tar.TypeSymlink:
		for file := range is {
			if file == at || strings.HasPrefix(file, at+"/") {
				return fault.Invalid("the Dockerfile is, or is behind, the link %.200q: build with the file itself", h.Name)
			}
		}
		links[at] = true // a second name of a link is one, too
		return nil
	default:
		return fault.Invalid("the build context has %.200q, which is neither a file, a folder nor a link", h.Name)
	}
	delete(links, at)
	return nil
}
