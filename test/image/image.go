package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Ref is the name and tag of the image.
const Ref = "mos-test:1"

const netcheckPackage = "github.com/mosdocker/mosdocker/test/image/netcheck"

// Tar returns the path of the image as a tar file for "docker load". It builds
// it when the cache does not hold it.
func Tar(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "mos-image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	netcheck := filepath.Join(dir, "netcheck")
	if err := Netcheck(ctx, netcheck); err != nil {
		return "", err
	}
	rootfs, err := layer(ctx, netcheck)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", Ref, err)
	}
	sum := sha256.Sum256(rootfs)
	path := filepath.Join(testx.Cache(), "image", "mos-test-"+hex.EncodeToString(sum[:8])+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	archive, err := archive(rootfs)
	if err != nil {
		return "", err
	}
	return path, writeWhole(path, archive)
}

// Netcheck builds netcheck, statically, into the file dst, for use outside of
// containers. Go's build cache makes a repeated call cheap.
func Netcheck(ctx context.Context, dst string) error {
	c := xexec.Cmd{
		Argv: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-buildvcs=false", "-o", dst, netcheckPackage},
		Env:  []string{"CGO_ENABLED=0", "GOFLAGS="},
	}
	if _, err := (xexec.Host{}).Run(ctx, c); err != nil {
		return fmt.Errorf("build netcheck: %w", err)
	}
	return nil
}

// layer returns the root file system as a tar file.
func layer(ctx context.Context, netcheck string) ([]byte, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: install busybox-static", err)
	}
	applets, err := xexec.Host{}.Run(ctx, xexec.Cmd{Argv: []string{busybox, "--list"}})
	if err != nil {
		return nil, err
	}
	var b builder
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "var"} {
		b.dir(dir, 0o755)
	}
	b.dir("tmp", 0o1777)
	b.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	b.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	b.copy("bin/busybox", busybox)
	b.copy("bin/netcheck", netcheck)
	for name := range strings.FieldsSeq(string(applets)) {
		if name != "busybox" {
			b.link("bin/"+name, "busybox")
		}
	}
	b.link("sbin", "bin") // some programs are looked for there only
	return b.bytes()
}

// archive wraps the layer in what "docker save" would write.
func archive(rootfs []byte) ([]byte, error) {
	sum := sha256.Sum256(rootfs)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      "2000-01-01T00:00:00Z",
		"config": map[string]any{
			"Env": []string{"PATH=/bin"},
			"Cmd": []string{"sleep", "infinity"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return nil, err
	}
	configSum := sha256.Sum256(config)
	configName := hex.EncodeToString(configSum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{Ref}, "Layers": []string{"layer/layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	var b builder
	b.file(configName, 0o644, config)
	b.dir("layer", 0o755)
	b.file("layer/layer.tar", 0o644, rootfs)
	b.file("manifest.json", 0o644, manifest)
	return b.bytes()
}

// builder writes a tar file without times and owners. Its first error stays.
type builder struct {
	buf bytes.Buffer
	w   *tar.Writer
	err error
}

func (b *builder) add(h *tar.Header, content []byte) {
	if b.w == nil {
		b.w = tar.NewWriter(&b.buf)
	}
	h.Size = int64(len(content))
	if b.err == nil {
		b.err = b.w.WriteHeader(h)
	}
	if b.err == nil {
		_, b.err = b.w.Write(content)
	}
}

func (b *builder) dir(name string, mode int64) {
	b.add(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (b *builder) file(name string, mode int64, content []byte) {
	b.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

func (b *builder) copy(name, from string) {
	content, err := os.ReadFile(from)
	b.err = errors.Join(b.err, err)
	b.file(name, 0o755, content)
}

func (b *builder) link(name, to string) {
	b.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, nil)
}

func (b *builder) bytes() ([]byte, error) {
	return b.buf.Bytes(), errors.Join(b.err, b.w.Close())
}

// writeWhole writes a file that is there completely or not at all.
func writeWhole(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
