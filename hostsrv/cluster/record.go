package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// version is that of the record on disk.
const version = 1

// record is what outlives mosd.
type record struct {
	Version int `json:"version"`
	// Machine tells this one from others of the same name.
	Machine string `json:"machine"`
	// Cluster is the mark of the cluster that has the host, "" of none.
	Cluster string `json:"cluster,omitzero"`
	// Name and Endpoints are those of a join.
	Name      string   `json:"name,omitzero"`
	Endpoints []string `json:"endpoints,omitzero"`
	// Peers are where leaders said that controllers are, the latest first. One that is away
	// is kept for a while.
	Peers []string `json:"peers,omitzero"`
	// Assignment is the last one.
	Assignment link.Assignment `json:"assignment,omitzero"`
}

const recordFile = "host.json"

// load reads the record, or begins one.
func load(dir string) (record, error) {
	var r record
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b := make([]byte, 16)
		_, _ = rand.Read(b) // it never fails
		r = record{Version: version, Machine: hex.EncodeToString(b)}
		return r, r.save(dir)
	case err != nil:
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", filepath.Join(dir, recordFile), err)
	}
	if r.Version != version {
		return r, fault.Conflict("%s is of version %d, and this mosd knows %d: run a newer one", filepath.Join(dir, recordFile), r.Version, version)
	}
	return r, nil
}

// save makes the record last.
func (r record) save(dir string) error {
	data, err := json.Marshal(r, jsontext.Multiline(true), json.Deterministic(true))
	if err != nil {
		return err
	}
	return write(dir, recordFile, append(data, '\n'))
}

// write makes data the content of a file, all of it or nothing, for good.
func write(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
