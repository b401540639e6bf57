package infra

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"path"
	"testing"

	"github.com/containerd/errdefs"
)

// files are what a tar holds.
func files(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

// initOf is the program in the image of an architecture.
func initOf(t *testing.T, arch string) []byte {
	t.Helper()
	image, err := Image(arch)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files(t, image) {
		if path.Base(name) == "layer.tar" {
			return files(t, bytes.NewReader(data))["init"]
		}
	}
	t.Fatal("no layer")
	return nil
}

// A change of the image needs another tag: engines that have this one keep it.
func TestReferenceNamesThisContent(t *testing.T) {
	want := map[string]string{
		"amd64": "03020980d0897fe4ba6e2443ed062e775b88fbe267a7d3a75ced6bac4f64bb0e",
		"arm64": "6e82e522319de644b9b2c9946d851752455f41e8555abaebb791af2da740315a",
	}
	for arch, w := range want {
		for range 2 {
			r, err := Image(arch)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := sum(data); got != w {
				t.Errorf("%s: image is %s, was %s: raise the tag of %s", arch, got, w, Reference)
			}
		}
	}
}

func TestProgramIsSmallAndStatic(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "x86_64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "aarch64": elf.EM_AARCH64} {
		data := initOf(t, arch)
		f, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || f.Type != elf.ET_EXEC || len(data) > 400 {
			t.Errorf("%s: got %s %s of %d bytes", arch, f.Type, f.Machine, len(data))
		}
		for _, p := range f.Progs {
			if p.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X || p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: got segment %+v", arch, p.ProgHeader)
			}
		}
	}
}

func TestOtherArchitecturesAreRefused(t *testing.T) {
	if _, err := Image("riscv64"); !errdefs.IsNotImplemented(err) {
		t.Errorf("got %v", err)
	}
}
