package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// file is the record of a volume as a file beside its image.
type file struct {
	Version int      `json:"version"`
	Tags    []string `json:"record"`
}

// Marshal is the record as a file. It holds the same tags that LVM would, so
// that there is one form to read and to keep readable.
func (v Volume) Marshal() ([]byte, error) {
	b, err := json.MarshalIndent(file{1, v.Tags()}, "", "  ")
	return append(b, '\n'), err
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(id ID, data []byte) (Volume, error) {
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return Volume{}, fmt.Errorf("record of %s: %w", id.Label(), err)
	}
	if f.Version != 1 {
		return Volume{}, invalid("record of %s is of version %d, this release reads 1", id.Label(), f.Version)
	}
	return FromTags(id, f.Tags)
}
