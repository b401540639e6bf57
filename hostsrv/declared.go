package hostsrv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/setmgr/file"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// declared is a set as a file declares it, or as a cluster wishes it, by its mark.
type declared struct {
	path  string
	set   *spec.Set
	files map[string][]byte
	stamp string

	mark string
	wish Wish
}

// filesEvery is how often the folder of declared sets is looked at.
const filesEvery = 2 * time.Second

// watchFiles reads the files of declared sets again when they change. A file that goes
// leaves its set as it is: docker set rm removes it.
func (s *Supervisor) watchFiles(ctx context.Context) {
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		s.readFiles(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Supervisor) readFiles(ctx context.Context) {
	entries, err := os.ReadDir(s.cfg.Declared)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	faults, there := map[string]string{}, map[string]bool{}
	if err != nil {
		faults[s.cfg.Declared] = err.Error()
	}
	for _, e := range entries {
		if !slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(e.Name())) {
			continue
		}
		path := filepath.Join(s.cfg.Declared, e.Name())
		there[path] = true
		if err := s.readFile(ctx, path); err != nil {
			faults[path] = err.Error()
		}
	}
	s.mu.Lock()
	for name, d := range s.declared {
		if !there[d.path] && err == nil {
			delete(s.declared, name)
		}
	}
	before := s.faults
	s.faults = faults
	s.mu.Unlock()
	for path, fault := range faults {
		if before[path] != fault {
			s.note(ctx, "declared", "", "", fmt.Sprintf("%s is not taken over: %s", path, fault))
		}
	}
}

// readFile takes a file over if it is new or another. A faulty one leaves the set as
// it was declared before.
func (s *Supervisor) readFile(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stamp := fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
	s.mu.Lock()
	known := false
	for _, d := range s.declared {
		known = known || d.path == path && d.stamp == stamp
	}
	s.mu.Unlock()
	if known {
		return nil
	}
	set, files, err := file.Read(path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	other := s.declared[set.Name]
	if other.path != "" && other.path != path {
		s.mu.Unlock()
		return fmt.Errorf("set %s is declared by %s already", set.Name, other.path)
	}
	for name, d := range s.declared {
		if d.path == path {
			delete(s.declared, name) // it may have another name now
		}
	}
	s.declared[set.Name] = declared{path: path, set: set, files: files, stamp: stamp}
	if x := s.sets[set.Name]; x != nil {
		x.Failures, x.hold = 0, time.Time{} // what failed may be mended
	}
	if other.path != "" {
		s.held.tryAgain(set.Name)
	}
	s.mu.Unlock()
	s.note(ctx, "declared", set.Name, "", path+" was read")
	s.mark(set.Name, 0)
	return nil
}
