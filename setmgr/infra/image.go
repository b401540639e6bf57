package infra

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"runtime"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Reference is the name of the image on an Engine. Its tag counts: other content
// has another, since an Engine that has the image is not given it again.
const Reference = "mos-infra:1"

// Image is the image for an architecture, as docker load takes it; the same bytes
// each time. The architecture is one of Go, or as an Engine names it; "" is that of
// this machine.
func Image(arch string) (io.Reader, error) {
	if arch == "" {
		arch = runtime.GOARCH
	}
	var init []byte
	switch arch {
	case "amd64", "x86_64":
		arch, init = "amd64", program(elf.EM_X86_64, linkAMD64(amd64()))
	case "arm64", "aarch64":
		arch, init = "arm64", program(elf.EM_AARCH64, linkARM64(arm64()))
	default:
		return nil, fault.Later("there is no image of infra containers for architecture %.20q: let Infra.Image of the set name one, such as busybox", arch)
	}
	layer, err := archive(file{"init", 0o755, init})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": arch, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{
			"Entrypoint": []string{"/init"}, "WorkingDir": "/",
			"Labels": map[string]string{
				"org.opencontainers.image.title":       "mos-infra",
				"org.opencontainers.image.description": "holds the network, the volume and the IPC of a set",
				"org.opencontainers.image.source":      "https://github.com/mosdocker/mosdocker",
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.ref.name":    Reference,
			},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer)}},
		"history": []map[string]string{{"created": "1970-01-01T00:00:00Z", "created_by": "docker set"}},
	})
	if err != nil {
		return nil, err
	}
	configName, layerName := sum(config)+".json", sum(layer)+"/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{Reference}, "Layers": []string{layerName},
	}})
	if err != nil {
		return nil, err
	}
	image, err := archive(file{configName, 0o644, config}, file{layerName, 0o644, layer}, file{"manifest.json", 0o644, manifest})
	return bytes.NewReader(image), err
}

type file struct {
	name string
	mode int64
	data []byte
}

// archive is a tar of files of root, without times.
func archive(files ...file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var errs []error
	for _, f := range files {
		errs = append(errs, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.data))}))
		_, err := w.Write(f.data)
		errs = append(errs, err)
	}
	return b.Bytes(), errors.Join(append(errs, w.Close())...)
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
