package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFile makes a file whose content fill writes. It appears under its name
// when it is whole and on disk; else nothing is left of it, and what had that
// name stays.
func replaceFile(path string, fill func(io.Writer) error) (err error) {
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		return hinted(fmt.Errorf("%s is no regular file", path), "use a pipe or > "+path)
	}
	dir, name := filepath.Dir(path), filepath.Base(path)
	f, err := os.CreateTemp(dir, "."+name+".*")
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("write %s: %w", path, e.Err) // the name in it is nobody's
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // it may be closed,
			_ = os.Remove(f.Name()) // or have its name already
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
