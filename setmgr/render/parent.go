package render

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Parent is the cgroup parent of a set's containers. Under both drivers it is below
// mosset.slice, so that all sets of a host can be capped together: for systemd each
// dash in a name is a level.
func Parent(f Facts, set string) string {
	slice := "mosset-" + parentID(set) + ".slice"
	if f.CgroupDriver == "systemd" {
		return slice
	}
	return "/mosset.slice/" + slice
}

// maxID keeps names of units below the 255 bytes that systemd and file systems allow,
// also with the drop-ins beside them.
const maxID = 100

// parentID is a set's name in letters that stand for themselves in a unit's name. A
// name that had to be changed ends in a hash of it; so does one that looks as if it
// did, else the two could meet.
func parentID(set string) string {
	id := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(set))
	if id == set && len(id) <= maxID && !hashed(id) {
		return id
	}
	sum := sha256.Sum256([]byte(set))
	return id[:min(len(id), maxID)] + "_" + hex.EncodeToString(sum[:4])
}

func hashed(id string) bool {
	i := strings.LastIndexByte(id, '_')
	return i >= 0 && len(id)-i == 9 && strings.Trim(id[i+1:], "0123456789abcdef") == ""
}
