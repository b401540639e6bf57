package stream_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// The streams in testdata were written by version 1 and must be readable for
// ever. They are never written again: MOS_UPDATE makes only a missing one.
//
// v1.stream is by this package, v1-python.stream by v1.py and zstd(1), which
// use what a writer may do and this one does not.
func TestStreamsOfVersion1CanBeRead(t *testing.T) {
	if _, err := os.Stat("testdata/v1.stream"); os.IsNotExist(err) && os.Getenv("MOS_UPDATE") == "1" {
		b, _ := write(t, goldenVolume())
		if err := os.WriteFile("testdata/v1.stream", b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, digest, volume string
		frames, content      int64
		image                []byte
	}{
		{"v1.stream", digestV1, "web-data", 4, 77824, goldenVolume().data},
		{"v1-python.stream", digestPython, "golden", 5, 1169354, nil},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", c.name))
		if err != nil {
			t.Fatal(err)
		}
		var sink *volume
		sum, err := stream.Read(t.Context(), bytes.NewReader(b), func(h stream.Header) (stream.Sink, error) {
			sink = fresh(int(h.Size), false)
			return sink, nil
		}, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if sum.Digest.String() != c.digest || sum.Frames != c.frames || sum.Content != c.content || sum.Header.Volume != c.volume {
			t.Errorf("%s: %+v", c.name, sum)
		}
		if c.image != nil && !bytes.Equal(sink.data, c.image) {
			t.Errorf("%s holds something else", c.name)
		}
	}
}

// TestGoldenDigest holds the writer to its format: only the compressed bytes
// may change within a version.
func TestGoldenDigest(t *testing.T) {
	_, sum := write(t, goldenVolume())
	if diff := cmp.Diff(digestV1, sum.Digest.String()); diff != "" {
		t.Error(diff)
	}
}

const (
	digestV1     = "2388a37d3b8149a3d95732f90b4e011e79c2eda977894d38fac6a88ffe7b4f1f"
	digestPython = "324776f95be058950221569424919ab9d98d1c4dd2ad57b99c4e60009ecb85c7"
)

func goldenVolume() *volume {
	v := fresh(4*mib+100, true)
	for i := range 5000 {
		v.data[i] = byte(i * i >> 5)
	}
	copy(v.data[2*mib-4:], "over the border")
	for i := 3*mib + 70000; i < 3*mib+130000; i++ {
		v.data[i] = byte(i >> 9)
	}
	return v
}

// TestAnotherReaderAndWriter runs v1.py, which was written from the package
// comment.
func TestAnotherReaderAndWriter(t *testing.T) {
	for _, program := range []string{"python3", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	run := func(args ...string) error {
		out, err := exec.CommandContext(t.Context(), "python3", append([]string{"testdata/v1.py"}, args...)...).CombinedOutput()
		if len(out) > 0 {
			t.Logf("%s", out)
		}
		return err
	}
	dir := t.TempDir()
	in, image := filepath.Join(dir, "in"), filepath.Join(dir, "image")
	src := filled(6*mib+1, 21)
	b, _ := write(t, src)
	if err := os.WriteFile(in, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run("read", in, image); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, src.data) {
		t.Fatalf("python read something else: %v", err)
	}
	if err := run("write", in); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := verify(made); err != nil || sum.Digest.String() != digestPython {
		t.Fatalf("what python wrote: %+v, %v", sum, err)
	}
}
