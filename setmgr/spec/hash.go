package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
)

// Hash is of what the user wrote. It stays as it is over releases: fields are taken
// in the order of their names, and those that are zero are left out, so that a field
// which is added later changes no hash.
func Hash(v any) string {
	data, _ := encode(nil, reflect.ValueOf(v), true) // only what no check lets pass is not written
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// HashSet is of a set, without its containers and without what changes while it
// runs: its totals, Overcommit, which only a check reads, the size of its volume, and
// Cgroup, which counts from the next infra container on.
func HashSet(s Set) string {
	s.Containers, s.CPU, s.MEM, s.Overcommit, s.Cgroup = nil, 0, 0, false, nil
	if s.Volume != nil {
		v := *s.Volume
		v.Size = 0
		s.Volume = &v
	}
	return Hash(s)
}

// HashContainer is of a container, without its limits and its Update, which change
// nothing in a container that runs. The contents of its EnvFiles are to be in Env, and
// those of files that have a Source in their Digest.
func HashContainer(c Container) string {
	o := &c.Options
	o.CPU, o.MEM, o.Cores, o.Memory, o.Update, o.EnvFiles = 0, 0, 0, 0, Update{}, nil
	o.Files = slices.Clone(o.Files)
	for i := range o.Files {
		if o.Files[i].Digest != "" {
			o.Files[i].Source = ""
		}
	}
	return Hash(c)
}

// Digest is how File has it: sha256:HEX.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
