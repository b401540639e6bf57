package lvmvolume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mosdocker/mosdocker/lvmvolume/loop"
)

// expected is the file that lists the volume groups which are ours. Without it
// nobody could tell a group that was never there from one whose disk is late,
// and what the second holds must not be called absent.
type expected struct{ dir string }

type expectedFile struct {
	Version int      `json:"version"`
	Groups  []string `json:"groups"`
}

func (e expected) path() string { return filepath.Join(e.dir, "groups.json") }

func (e expected) names() ([]string, error) {
	data, err := os.ReadFile(e.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var f expectedFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil && f.Version != 1 {
		err = fmt.Errorf("it is of version %d, this release reads 1", f.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("list of volume groups %s: %w", e.path(), err)
	}
	return f.Groups, nil
}

// set adds a group, or takes it off.
func (e expected) set(vg string, there bool) error {
	groups, err := e.names()
	if err != nil {
		return err
	}
	groups = slices.DeleteFunc(groups, func(g string) bool { return g == vg })
	if there {
		groups = append(groups, vg)
	}
	slices.Sort(groups)
	data, err := json.Marshal(expectedFile{1, groups})
	if err != nil {
		return err
	}
	return replace(e.path(), append(data, '\n'))
}

// replace writes a file so that after a cut there is the old one or the new one.
func replace(path string, data []byte) error {
	if err := swap(path, data); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// swap is replace for who syncs the folder: until then a cut may bring back the
// old file, and none of the new one's contents is lost when it does not.
func swap(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), loop.PartPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// syncDir makes names in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
