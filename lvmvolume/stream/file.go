package stream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// FileSource is a [Source] on a file or block device. It skips the holes of
// files on file systems that tell them; block devices tell none.
type FileSource struct {
	f    *os.File
	size int64
}

// NewFileSource takes an open file, whose position it moves and which it leaves
// to the caller to close.
func NewFileSource(f *os.File) (*FileSource, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("find the size: %w", classed(err))
	}
	return &FileSource{f, size}, nil
}

// ReadAt reads the file.
func (s *FileSource) ReadAt(p []byte, offset int64) (int, error) { return s.f.ReadAt(p, offset) }

// Size is that of the file when the source was made.
func (s *FileSource) Size() int64 { return s.size }

// NextData asks the file system; one that does not know says that all is data.
func (s *FileSource) NextData(from int64) (start, end int64, err error) {
	start, err = s.f.Seek(from, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, io.EOF
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return from, s.size, nil
	case err != nil:
		return 0, 0, err
	}
	end, err = s.f.Seek(start, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, err
	}
	if start >= s.size { // it grew meanwhile
		return 0, 0, io.EOF
	}
	return start, min(end, s.size), nil
}

// FileSink is a [Sink] on a file or block device.
type FileSink struct {
	f      *os.File
	zeroed bool
}

// NewFileSink takes an open file, which it leaves to the caller to sync and to
// close. Zeroed is the caller's word that all of it reads as zeros, as an empty
// file truncated to its size does, and a thin volume just made with its pool's
// zeroing on; a linear one does not.
func NewFileSink(f *os.File, zeroed bool) *FileSink { return &FileSink{f, zeroed} }

// WriteAt writes to the file.
func (s *FileSink) WriteAt(p []byte, offset int64) (int, error) { return s.f.WriteAt(p, offset) }

// Zeroed is as given to [NewFileSink].
func (s *FileSink) Zeroed() bool { return s.zeroed }

// Zero punches a hole, and writes zeros where that is not possible. On a block
// device the kernel does the first only if the device promises zeros after it
// (fallocate(2), since Linux 4.9).
func (s *FileSink) Zero(offset, length int64) error {
	err := s.punch(offset, length)
	cannot := func(no syscall.Errno) bool { return errors.Is(err, no) }
	if !slices.ContainsFunc([]syscall.Errno{unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS, unix.ENODEV}, cannot) {
		return err
	}
	zeros := make([]byte, min(length, MaxContent))
	for end := offset + length; offset < end; {
		n, err := s.f.WriteAt(zeros[:min(end-offset, MaxContent)], offset)
		if err != nil {
			return err
		}
		offset += int64(n)
	}
	return nil
}

func (s *FileSink) punch(offset, length int64) error {
	conn, err := s.f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			result = unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
			if !errors.Is(result, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, result)
}
