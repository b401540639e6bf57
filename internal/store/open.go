package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long Open waits for another process to let go of the file.
const lockWait = 2 * time.Second

// meta is the bucket of this package; its one entry is the schema's version.
const meta = "_store"

// Migration brings the content from one version of the schema to the next. It
// runs in the transaction that also writes the version.
type Migration func(*Tx) error

// Open opens the store in the file path, made with its folder when missing. The
// schema is the version that the caller reads and writes, from 1 on. A file of
// version n below it needs migrate[n] (n to n+1) and those up to schema; all of
// them happen or none.
//
// Errors: [errdefs.ErrDataLoss] for a damaged file, [errdefs.ErrFailedPrecondition]
// for a newer version, a missing migration, or a file that another process holds,
// [errdefs.ErrResourceExhausted] for a full disk. All name the file.
func Open(path string, schema int, migrate map[int]Migration) (*DB, error) {
	if schema < 1 {
		return nil, fmt.Errorf("open store %s: schema version %d is below 1: %w", path, schema, errdefs.ErrInvalidArgument)
	}
	if err := create(path, schema); err != nil {
		return nil, fmt.Errorf("make store %s: %w", path, explain("write", path, err))
	}
	d, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := d.upgrade(schema, migrate); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), d.Close())
	}
	return d, nil
}

// open opens an existing file and reads all of it. Pages that make no sense make
// bbolt panic, and a file that ends early makes reads of the mapping fault;
// both become errors here.
func open(path string) (d *DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var b *bolt.DB
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		} else if err == nil {
			return
		}
		if b != nil {
			// The lock on the file ends with it; without, a next Open would wait.
			_ = b.Close()
		}
		d, err = nil, openError(path, err)
	}()
	b, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	d = &DB{bolt: b}
	return d, b.View(func(tx *bolt.Tx) error { return readAll(path, tx) })
}

func readAll(path string, tx *bolt.Tx) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("it ends after %d of %d bytes", info.Size(), tx.Size())
	}
	if tx.Bucket([]byte(meta)) == nil {
		return errors.New("it is a bbolt file of something else")
	}
	return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
		return b.ForEach(func(_, _ []byte) error { return nil })
	})
}

func openError(path string, err error) error {
	var class error
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("open store %s: another process holds it: stop that one first: %w", path, errdefs.ErrFailedPrecondition)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		class = errdefs.ErrFailedPrecondition
	default:
		class = errdefs.ErrDataLoss
	}
	return fmt.Errorf("open store %s: the file is unusable: %w: put a copy in its place, or move it away to begin empty: %w", path, err, class)
}

// upgrade checks the version of the content and runs the migrations it needs.
func (d *DB) upgrade(schema int, migrate map[int]Migration) error {
	versions := NewBucket[int](meta)
	var have int
	err := d.View(func(tx *Tx) (err error) {
		have, err = versions.Get(tx, "schema")
		return err
	})
	switch {
	case err != nil:
		return err
	case have == schema:
		return nil
	case have > schema:
		return fmt.Errorf("its schema is version %d, this program reads up to %d: use the newer program: %w", have, schema, errdefs.ErrFailedPrecondition)
	}
	return d.Update(func(tx *Tx) error {
		for v := have; v < schema; v++ {
			if migrate[v] == nil {
				return fmt.Errorf("its schema is version %d, and nothing leads from %d to %d: use a program between: %w", have, v, v+1, errdefs.ErrFailedPrecondition)
			}
			if err := migrate[v](tx); err != nil {
				return fmt.Errorf("migrate schema %d to %d: %w", v, v+1, err)
			}
		}
		return versions.Put(tx, "schema", schema)
	})
}

// create makes an empty store aside and links it into place, unless there is a
// file already.
func create(path string, schema int) (err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(aside)) }()
	b, err := bolt.Open(aside, 0o600, &bolt.Options{Timeout: lockWait})
	if err != nil {
		return err
	}
	d := &DB{bolt: b}
	err = d.Update(func(tx *Tx) error { return NewBucket[int](meta).Put(tx, "schema", schema) })
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
