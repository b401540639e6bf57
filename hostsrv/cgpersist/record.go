package cgpersist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/setting"
)

// version is that of the files.
const version = 1

// record is what a target is to have.
type record struct {
	Version  int               `json:"version"`
	Target   Target            `json:"target"`
	Settings map[string]string `json:"settings"` // as setting.Parse gives them
}

// Target is what has settings: the name of a container, or set/NAME.
type Target string

const setPrefix = "set/"

// Set is the name of the set that a target is, "" for a container.
func (t Target) Set() string {
	name, is := strings.CutPrefix(string(t), setPrefix)
	if !is {
		return ""
	}
	return name
}

func (t Target) String() string {
	if set := t.Set(); set != "" {
		return "set " + set
	}
	if name, is := strings.CutPrefix(string(t), volumePrefix); is {
		return "volume " + name
	}
	return "container " + string(t)
}

// file is the name of a target's file. Names of sets and containers have no slash, nor
// begin with a point.
func (t Target) file() string {
	if set := t.Set(); set != "" {
		return "set-" + set + ".json"
	}
	return "container-" + string(t) + ".json"
}

// valid refuses what would be no file of ours.
func (t Target) valid() error {
	name := strings.TrimPrefix(string(t), setPrefix)
	if name == "" || len(name) > 200 || name[0] == '.' || strings.ContainsAny(name, "/\x00") {
		return fault.Invalid("%.60q is neither the name of a container nor set/NAME", string(t))
	}
	return nil
}

// records is the folder of records. It is small, and read whole.
type records struct{ dir string }

// load reads all records. Those that cannot be read are told by their file's name.
func (r records) load() (out map[Target]map[string]string, faults map[string]error, err error) {
	out, faults = map[Target]map[string]string{}, map[string]error{}
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return out, faults, nil
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		one, rerr := r.read(e.Name())
		if rerr != nil {
			faults[e.Name()] = rerr
			continue
		}
		out[one.Target] = one.Settings
	}
	return out, faults, err
}

func (r records) read(name string) (one record, err error) {
	path := filepath.Join(r.dir, name)
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &one)
	}
	switch {
	case err != nil:
	case one.Version != version:
		err = fmt.Errorf("it is of version %d, this release reads %d", one.Version, version)
	case one.Target.valid() != nil || one.Target.file() != name:
		err = fmt.Errorf("it is of target %q, which is in another file", one.Target)
	}
	for key, value := range one.Settings {
		if err == nil {
			one.Settings[key], err = setting.Parse(key, value)
		}
	}
	if err != nil {
		return one, fmt.Errorf("record %s is left aside: %w: mend or remove it", path, err)
	}
	return one, nil
}

// save writes the record of a target, or removes it when there is nothing in it. It
// lasts when save returns.
func (r records) save(t Target, settings map[string]string) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(r.dir, t.file())
	if len(settings) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(r.dir)
	}
	data, err := json.MarshalIndent(record{version, t, maps.Clone(settings)}, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(path, append(data, '\n'), true); err != nil {
		return err
	}
	return syncDir(r.dir)
}

// replace makes data the content of a file, all of it or nothing.
func replace(path string, data []byte, lasting bool) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && lasting {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// syncDir makes the names in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
