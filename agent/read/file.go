package read

import (
	"errors"

	"golang.org/x/sys/unix"
)

// file says what to read and how.
type file struct {
	controller string // whose tree it is in; see cgroup.Tree.Dir
	name       string
	when       when
	// many is a file that the kernel writes record by record: one pread may give
	// less than there is. All others come whole.
	many  bool
	parse func(s *Source, data []byte)
}

// when says in which samples a file is read.
type when uint8

const (
	always when = iota
	slow        // those of the slow interval
	ran         // when the cgroup used CPU time since the last sample, and the slow ones
	within      // when something moved in the cgroup around, if that is known; see Source.Within
	moved       // as ran, and when its memory is not what it was
	linked      // as ran, and when the other ends of its links moved or are not known; see Ends
)

// kept is an open file.
type kept struct {
	*file
	fd int
}

// Buffer holds what is being read, for all sources that are read one after the other.
type Buffer struct{ b []byte }

const firstBuffer = 16 << 10

// room is all of the buffer, at least firstBuffer.
func (b *Buffer) room() []byte {
	if b.b == nil {
		b.b = make([]byte, firstBuffer)
	}
	return b.b
}

// pread reads a whole file from its beginning.
func (b *Buffer) pread(k *kept) ([]byte, error) {
	b.room()
	for at := 0; ; {
		n, err := unix.Pread(k.fd, b.b[at:], int64(at))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		at += n
		switch {
		case n == 0 || !k.many && at < len(b.b):
			return b.b[:at], nil
		case at < len(b.b):
		case k.many:
			b.b = append(b.b, make([]byte, len(b.b))...)
		default: // longer than the buffer: once more, in one piece
			b.b, at = make([]byte, 2*len(b.b)), 0
		}
	}
}

// open opens a file, or returns -1 where there is none to read.
func open(path string) (fd int, err error) {
	for {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return -1, nil
	}
	return fd, err
}
