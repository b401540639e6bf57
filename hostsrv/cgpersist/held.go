package cgpersist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// held is what was written where, and what was there before. It is on disk as long as
// the host runs, so that a new daemon can take back what the one before wrote.
type held struct {
	Version int               `json:"version"`
	Groups  map[string]*group `json:"cgroups"` // by their path
	path    string
	dirty   bool
}

// group is one cgroup. A container that is started again has another one at the same
// path, with another inode.
type group struct {
	Inode uint64           `json:"inode"`
	Unit  string           `json:"unit,omitempty"` // of systemd, "" for none
	Atoms map[string]*atom `json:"values"`
}

// atom is one value that is kept.
type atom struct {
	setting.Atom

	// Asked says that systemd has the property.
	Asked bool `json:"asked,omitempty"`
	// Source is where it is wanted.
	Source string `json:"source"`
	Before string `json:"before"` // what others want it to be
	Kernel string `json:"kernel"` // what was read when Value had been written, "" while that was not
}

func loadHeld(path string) (*held, error) {
	h := &held{Version: version, Groups: map[string]*group{}, path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(data, h)
	}
	if err == nil && h.Version != version {
		err = fmt.Errorf("it is of version %d, this release reads %d", h.Version, version)
	}
	if err != nil || h.Groups == nil {
		h.Version, h.Groups = version, map[string]*group{}
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w: what is in force now stays when it is unset, until its container is started again", path, err)
	}
	return h, nil
}

// of is what is held of a cgroup that is there.
func (h *held) of(path string, inode uint64, unit string) *group {
	g := h.Groups[path]
	if g == nil || g.Inode != inode {
		g = &group{Inode: inode, Atoms: map[string]*atom{}}
		h.Groups[path] = g
	}
	if unit != "" { // a volume's limits at a set know of none
		g.Unit = unit
	}
	return g
}

// save writes what changed.
func (h *held) save() error {
	if !h.dirty {
		return nil
	}
	data, err := json.Marshal(h)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(h.path), 0o700)
	}
	if err == nil {
		err = replace(h.path, data, false)
	}
	if err != nil {
		return fmt.Errorf("what was in force before is not kept: %w", err)
	}
	h.dirty = false
	return nil
}
