package store

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// DB is an open store. Its methods may be called by several goroutines.
type DB struct {
	bolt *bolt.DB

	queueMu sync.Mutex // guards all below
	queue   []*call

	commitMu sync.Mutex // held by the caller who commits a batch
}

// Tx is a transaction. It is valid only inside the function it is given to, and
// must not be used by several goroutines.
type Tx struct {
	tx *bolt.Tx
}

// Path returns the name of the file.
func (d *DB) Path() string { return d.bolt.Path() }

// Close waits for running transactions, then closes the file. Closing twice is
// well.
func (d *DB) Close() error { return d.bolt.Close() }

// View calls fn with a consistent picture of the store that changes of others do
// not touch. It returns the error of fn as it is. A View inside an Update of
// the same goroutine may wait for ever.
func (d *DB) View(fn func(*Tx) error) error {
	return explain("read", d.Path(), d.bolt.View(func(tx *bolt.Tx) error { return fn(&Tx{tx}) }))
}

// Update calls fn once and makes its changes last when fn returns nil; else
// nothing is changed and the error of fn is returned as it is. One Update runs
// at a time. A full disk is [errdefs.ErrResourceExhausted].
func (d *DB) Update(fn func(*Tx) error) error {
	return explain("write", d.Path(), d.bolt.Update(func(tx *bolt.Tx) error { return fn(&Tx{tx}) }))
}

// explain gives the errors of the disk and of bbolt a class and a sentence; those
// of the caller pass.
func explain(verb, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s store %s: no space is left on its file system: free some: %w (%w)", verb, path, errdefs.ErrResourceExhausted, err)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return fmt.Errorf("%s store %s: it is closed: %w", verb, path, errdefs.ErrUnavailable)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s store %s: look at its disk: %w (%w)", verb, path, errdefs.ErrUnavailable, err)
	case errors.Is(err, berrors.ErrTxNotWritable):
		return fmt.Errorf("%s store %s: a View changes nothing: %w", verb, path, errdefs.ErrInvalidArgument)
	}
	return err
}
