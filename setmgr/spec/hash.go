package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
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
// runs: its totals, Overcommit, which only a check reads, and the size of its volume.
func HashSet(s Set) string {
	s.Containers, s.CPU, s.MEM, s.Overcommit = nil, 0, 0, false
	if s.Volume != nil {
		v := *s.Volume
		v.Size = 0
		s.Volume = &v
	}
	return Hash(s)
}

// HashContainer is of a container, without its limits and its Update, which change
// nothing in a container that runs. The contents of its EnvFiles are to be in Env.
func HashContainer(c Container) string {
	o := &c.Options
	o.CPU, o.MEM, o.Cores, o.Memory, o.Update, o.EnvFiles = 0, 0, 0, 0, Update{}, nil
	return Hash(c)
}
