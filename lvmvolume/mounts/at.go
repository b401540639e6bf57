package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// At returns what is mounted at a path, in the mount namespace of the process;
// of several mounts on top of each other the one that is seen. ok is false when
// nothing is: the path is an ordinary directory, or is not there.
func At(path string) (m Mount, ok bool, err error) {
	ms, err := Own()
	if err != nil {
		return Mount{}, false, err
	}
	path, err = canonical(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Mount{}, false, nil
	}
	if err != nil {
		return Mount{}, false, err
	}
	m, ok = top(ms, path)
	return m, ok, nil
}

// Own returns all mounts of the mount namespace of the process.
func Own() ([]Mount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	return Parse(string(b))
}

// canonical resolves the links of the folder that holds the last element. It
// leaves that alone: looking at the root of a broken file system fails.
func canonical(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil || path == "/" {
		return path, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// top returns the mount at a path on which no other mount of that path lies.
// The order of the lines says nothing about that.
func top(ms []Mount, path string) (Mount, bool) {
	covered := map[int]bool{}
	for _, m := range ms {
		if m.Point == path {
			covered[m.Parent] = true
		}
	}
	for _, m := range ms {
		if m.Point == path && !covered[m.ID] {
			return m, true
		}
	}
	return Mount{}, false
}
