// Package file reads the file of a set, with the files that it names.
package file

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/pkg/kvfile"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Read reads the file of a set. What its env files say is in Env then, and what is in
// the sources of Files is given by digest, which stands in their place. A file that
// cannot be meant is of class InvalidArgument.
func Read(path string) (*spec.Set, map[string][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return Parse(path, data)
}

// Parse is Read with what is in the file.
func Parse(path string, data []byte) (*spec.Set, map[string][]byte, error) {
	set, err := spec.Decode(path, data)
	if err != nil {
		return nil, nil, err
	}
	if err := envFiles(path, set); err != nil {
		return nil, nil, err
	}
	files, err := sources(path, set)
	return set, files, err
}

// envFiles takes what the env files of containers say into their Env.
func envFiles(path string, set *spec.Set) error {
	for i := range set.Containers {
		o := &set.Containers[i].Options
		env := map[string]string{}
		for _, file := range o.EnvFiles {
			vars, err := readEnvFile(path, file)
			if err != nil {
				return fmt.Errorf("container %s: %w", set.Containers[i].Name, err)
			}
			maps.Copy(env, vars)
		}
		if len(env) > 0 {
			maps.Copy(env, o.Env)
			o.Env, o.EnvFiles = env, nil
		}
	}
	return nil
}

// readEnvFile reads a file of NAME=VALUE lines as docker run does, relative to the
// file of the set.
func readEnvFile(set, file string) (map[string]string, error) {
	lines, err := kvfile.Parse(beside(set, file), os.LookupEnv)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, l := range lines {
		k, v, _ := strings.Cut(l, "=")
		env[k] = v
	}
	return env, nil
}

// beside is a file that the file of a set names, from its folder.
func beside(set, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(filepath.Dir(set), file)
}

// mostSource is how long the source of a file of a container may be.
const mostSource = 1 << 20

// sources reads the sources of the files of containers, and puts their digests in
// their places. What is in them is given by digest.
func sources(path string, set *spec.Set) (map[string][]byte, error) {
	out := map[string][]byte{}
	for i := range set.Containers {
		files := set.Containers[i].Options.Files
		for k := range files {
			if files[k].Source == "" {
				continue
			}
			data, err := readSource(beside(path, files[k].Source))
			if err != nil {
				return nil, fmt.Errorf("container %s: %w", set.Containers[i].Name, err)
			}
			digest := spec.Digest(data)
			if want := files[k].Digest; want != "" && want != digest {
				return nil, fault.Invalid("container %s: file %s has %s, not %s: drop Digest to take it as it is", set.Containers[i].Name, files[k].Source, digest, want)
			}
			files[k].Source, files[k].Digest, out[digest] = "", digest, data
		}
	}
	return out, nil
}

func readSource(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, mostSource+1))
	if len(data) > mostSource {
		return nil, fault.Invalid("file %s is longer than %d bytes: mount it instead", path, mostSource)
	}
	return append([]byte{}, data...), err
}
