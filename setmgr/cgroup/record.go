package cgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// caps is the record of what folders of the cgroup file system are to hold: that is
// empty after the host started.
type caps struct {
	Version int             `json:"version"`
	Caps    map[string]cap1 `json:"caps"`
}

// cap1 is one of them.
type cap1 struct {
	CPU spec.Cores `json:"cpu"`
	MEM spec.Bytes `json:"memory"`
}

// remember notes or, with nil, forgets a cap.
func (f *folders) remember(parent string, l *plan.Limits) error {
	unlock, err := lock(f.record)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := load(f.record)
	if err != nil {
		return err
	}
	if l == nil {
		delete(c.Caps, parent)
	} else {
		c.Caps[parent] = cap1(*l)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	part := f.record + ".new"
	if err := write(part, append(data, '\n')); err != nil {
		return err
	}
	if err := os.Rename(part, f.record); err != nil {
		return err
	}
	// The new name lasts when its folder does.
	dir, err := os.Open(filepath.Dir(f.record))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func write(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// lock keeps others who change the record away.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func load(path string) (caps, error) {
	c := caps{Version: 1, Caps: map[string]cap1{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err == nil && c.Version != 1 {
		err = fmt.Errorf("it is of version %d, this release reads 1", c.Version)
	}
	if err != nil {
		return c, fmt.Errorf("record of caps %s: %w", path, err)
	}
	if c.Caps == nil {
		c.Caps = map[string]cap1{}
	}
	return c, nil
}

// Apply makes all caps of the record again, before the Engine starts containers.
// Those of slices are systemd's to keep, and not in the record.
func Apply(ctx context.Context) error {
	f := &folders{root: mountPoint, version: 1, record: record}
	if _, err := os.Stat(mountPoint + "/cgroup.controllers"); err == nil {
		f.version = 2
	}
	return f.apply(ctx)
}

func (f *folders) apply(ctx context.Context) error {
	c, err := load(f.record)
	if err != nil {
		return err
	}
	var errs []error
	for parent, l := range c.Caps {
		if err := f.write(parent, plan.Limits(l)); err != nil {
			errs = append(errs, fmt.Errorf("cap %s: %w", parent, err))
		}
	}
	return errors.Join(append(errs, context.Cause(ctx))...)
}
