package embed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap/zapcore"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// launch starts etcd, which ends the process, or panics, when its files are not as it left
// them: here that becomes an error of class DataLoss.
func launch(ec *embed.Config, last *lastWords) (e *embed.Etcd, err error) {
	db := filepath.Join(ec.Dir, "member", "snap", "db")
	if info, err := os.Stat(db); err == nil {
		if err := readable(db, info.Size()); err != nil {
			return nil, damaged(ec.Dir, err)
		}
		// Without its log it would take the database for that of a member that joins anew.
		if !wal.Exist(filepath.Join(ec.Dir, "member", "wal")) {
			return nil, damaged(ec.Dir, "its write-ahead log is not there")
		}
	}
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, damaged(ec.Dir, fmt.Sprintf("etcd gave up on it (%v)", r))
		}
	}()
	last.starting.Store(true)
	defer last.starting.Store(false)
	e, err = embed.StartEtcd(ec)
	for _, of := range []error{wal.ErrCRCMismatch, wal.ErrMetadataConflict, wal.ErrFileNotFound, wal.ErrSliceOutOfRange, wal.ErrSnapshotMismatch, walpb.ErrCRCMismatch, io.ErrUnexpectedEOF} {
		if errors.Is(err, of) {
			return nil, damaged(ec.Dir, err)
		}
	}
	return e, err
}

// readable looks at the ends of a database: etcd would open it where no panic can be caught,
// and fault on pages that are not there.
func readable(path string, size int64) error {
	const patience = 10 * time.Second
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: patience})
	if err != nil {
		return fmt.Errorf("open its database: %w", err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > size {
			return fmt.Errorf("its database has %d of %d bytes", size, tx.Size())
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

func damaged(dir string, why any) error {
	return fault.Of(errdefs.ErrDataLoss, "etcd's data directory %s is damaged: %v: move it away, and restore a backup; one of several servers is removed from its cluster, and added again with an empty one", dir, why)
}

// lastWords is what happens after etcd wrote a line of level panic or fatal.
type lastWords struct{ starting atomic.Bool }

// OnWrite is for zap: it does not return.
func (l *lastWords) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	text := e.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			text = fmt.Sprintf("%s: %v", text, err)
		}
	}
	if e.Level == zapcore.FatalLevel && !l.starting.Load() {
		os.Exit(1) //nolint:forbidigo // as etcd means it: the line was written
	}
	panic(text)
}
