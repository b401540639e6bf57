package spec

import (
	"strings"
)

// longestName and longestSnapshot are what one LVM tag holds, both and what else
// is in it, with room to spare.
const (
	longestName     = 255
	longestSnapshot = 100
)

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// CheckName refuses names that Docker's own driver would not take either. The
// Engine does not check those of plugins.
func CheckName(name string) error {
	return checkName("volume", name, longestName)
}

// CheckSnapshotName does so for the part behind the @.
func CheckSnapshotName(name string) error {
	return checkName("snapshot", name, longestSnapshot)
}

func checkName(what, name string, longest int) error {
	switch {
	case name == "":
		return invalid("the %s has no name", what)
	case len(name) > longest:
		return invalid("%s name %.20q… has %d characters: at most %d are possible", what, name, len(name), longest)
	case strings.Trim(name, letters+"_.-") != "" || !strings.ContainsAny(name[:1], letters):
		return invalid("%q is no %s name: it begins with a letter or digit and has only letters, digits, '_', '.' and '-'", name, what)
	}
	return nil
}

// SplitRef cuts "NAME@SNAPSHOT" in two; without an @ the snapshot is empty.
func SplitRef(ref string) (volume, snapshot string, err error) {
	volume, snapshot, at := strings.Cut(ref, "@")
	if err := CheckName(volume); err != nil {
		return "", "", err
	}
	if at {
		err = CheckSnapshotName(snapshot)
	}
	return volume, snapshot, err
}

// Drive says whether `docker run -v NAME:/data` takes a name for a drive of Windows.
func Drive(name string) bool {
	return len(name) == 1 && (name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z')
}
