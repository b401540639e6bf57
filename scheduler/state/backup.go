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
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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
// not there. It must not be there before. What was acknowledged before the call is in it.
// Package embed restores it.
func (s *Store) Backup(ctx context.Context, path string) (b Backup, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return Backup{}, fault.Exists("backup %s: there is a file of this name", path)
	}
	if err := s.level(ctx); err != nil {
		return Backup{}, err
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

// level waits until no server that answers is behind what is acknowledged: any of them may
// be asked for a backup.
func (s *Store) level(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	now, err := s.etcd.Get(ctx, s.keys.schema(), clientv3.WithKeysOnly())
	if err != nil {
		return explain(err, "look at the store's revision")
	}
	members, err := s.etcd.MemberList(ctx)
	if err != nil {
		return explain(err, "list the members of etcd")
	}
	for _, m := range members.Members {
		for behind := true; behind && len(m.ClientURLs) > 0; {
			r, err := s.etcd.Status(ctx, m.ClientURLs[0])
			if behind = err == nil && r.Header.Revision < now.Header.Revision; !behind {
				break
			}
			select {
			case <-ctx.Done():
				return fault.Unavailable("etcd member %s is behind the others (revision %d of %d): %w", m.Name, r.Header.Revision, now.Header.Revision, ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
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
