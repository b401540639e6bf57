package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/image"
)

// read returns the entries of a tar file.
func read(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = append(b, h.Linkname...)
	}
}

func TestTarIsWhatDockerLoads(t *testing.T) {
	testx.Need(t, testx.Docker) // busybox comes with it
	t.Setenv("MOS_CACHE", t.TempDir())
	path, err := image.Tar(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, bytes.NewReader(b))
	var manifest []struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || len(manifest[0].RepoTags) != 1 || manifest[0].RepoTags[0] != image.Ref || files[manifest[0].Config] == nil {
		t.Errorf("got manifest %+v", manifest)
	}
	root := read(t, bytes.NewReader(files["layer/layer.tar"]))
	for _, name := range []string{"bin/sh", "bin/ping", "bin/ip", "bin/nc"} {
		if string(root[name]) != "busybox" {
			t.Errorf("%s is %q, want a link to busybox", name, root[name])
		}
	}
	if len(root["bin/netcheck"]) < 1<<20 {
		t.Error("netcheck is missing")
	}
	again, err := image.Tar(t.Context())
	if err != nil || again != path {
		t.Errorf("got %s, %v: the second build differs from %s", again, err, path)
	}
}
