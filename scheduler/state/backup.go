package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Backup is a file that has all of etcd at one revision, and at its end the SHA-256 of
// what is before.
type Backup struct {
	Path   string
	Bytes  int64
	SHA256 string // in hex
}

// Backup writes all that etcd has into a file, which is either whole and on the disk, or
// not there. It must not be there before. Package embed restores it.
func (s *Store) Backup(ctx context.Context, path string) (b Backup, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return Backup{}, fault.Exists("backup %s: there is a file of this name", path)
	}
	r, err := s.etcd.SnapshotWithVersion(ctx)
	if err != nil {
		return Backup{}, explain(err, "backup %s", path)
	}
	defer func() { err = errors.Join(err, r.Snapshot.Close()) }()
	part, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Backup{}, fmt.Errorf("backup: %w", err)
	}
	_, err = io.Copy(part, r.Snapshot)
	if err = errors.Join(explain(err, "backup %s", path), part.Sync(), part.Close()); err == nil {
		b, err = Verify(part.Name())
	}
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return Backup{}, errors.Join(err, os.Remove(part.Name()))
	}
	b.Path = path
	return b, syncDir(filepath.Dir(path))
}

// Verify reads a backup and compares its checksum.
func Verify(path string) (Backup, error) {
	f, err := os.Open(path)
	if err != nil {
		return Backup{}, fmt.Errorf("verify a backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	info, err := f.Stat()
	if err != nil {
		return Backup{}, fmt.Errorf("verify a backup: %w", err)
	}
	// The database is in pages, so what is left is the sum.
	const page = 512
	if info.Size()%page != sha256.Size {
		return Backup{}, fault.Invalid("%s is no backup, or not all of it: it has no checksum at its end", path)
	}
	is, want := sha256.New(), make([]byte, sha256.Size)
	if _, err := io.CopyN(is, f, info.Size()-sha256.Size); err != nil {
		return Backup{}, fmt.Errorf("verify a backup: %w", err)
	}
	if _, err := io.ReadFull(f, want); err != nil {
		return Backup{}, fmt.Errorf("verify a backup: %w", err)
	}
	if !bytes.Equal(is.Sum(nil), want) {
		return Backup{}, fault.Invalid("%s is damaged: its SHA-256 is %x, it says %x", path, is.Sum(nil), want)
	}
	return Backup{path, info.Size(), hex.EncodeToString(want)}, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
