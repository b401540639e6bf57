package lvmvolume

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// streamOf is the stream of a volume of 16 MiB, whose first 4 are noise.
func streamOf(t *testing.T) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "volume"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, 4*mib); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(16 * mib); err != nil {
		t.Fatal(err)
	}
	src, err := stream.NewFileSource(f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	h := stream.Header{Volume: "in", FS: "ext4", Size: 16 * mib, Created: time.Now().UTC()}
	if _, err := stream.Write(t.Context(), &b, h, src, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stalled begins an import whose sender stands still after it sent start.
func stalled(t *testing.T, c *api.Client, start []byte) (said chan error) {
	t.Helper()
	in, out := io.Pipe()
	said = make(chan error, 1)
	t.Cleanup(func() { _ = out.Close() })
	go func() {
		_, err := c.Import(t.Context(), in, api.CreateRequest{Name: "in"}, nil)
		said <- err
		_ = in.Close()
	}()
	_, _ = out.Write(start) // a refused one is not read to its end
	return said
}

func within(t *testing.T, d time.Duration, said chan error) error {
	t.Helper()
	select {
	case err := <-said:
		return err
	case <-time.After(d):
		t.Fatalf("nothing was said within %v", d)
	}
	return nil
}

// TestAStalledImportEnds: its sender may stand still for a while, in the header or
// behind it; then nothing is left of it.
func TestAStalledImportEnds(t *testing.T) {
	testx.Need(t, testx.Root)
	whole := streamOf(t)
	for _, n := range []int{3, len(whole) / 2} {
		r := bareRig(t)
		r.mustLook()
		r.stall = 300 * time.Millisecond
		if err := within(t, 30*time.Second, stalled(t, newAdmin(t, r), whole[:n])); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "nothing came for 300ms") {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if got := r.images(); got != "" || r.titles(anything) != "" {
			t.Errorf("after %d bytes it left %s", n, got)
		}
	}
}

// TestNobodyWaitsForAnImport: who wants the name is told at once, and the stop ends
// it at once, with nothing left.
func TestNobodyWaitsForAnImport(t *testing.T) {
	testx.Need(t, testx.Root)
	whole := streamOf(t)
	r := bareRig(t)
	r.mustLook()
	c := newAdmin(t, r)
	said := stalled(t, c, whole[:len(whole)/2])
	for end := time.Now().Add(10 * time.Second); r.streaming("in") == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	_, err := r.create(t.Context(), request("in", "size", "16m"), false)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "an import of volume in is under way") {
		t.Errorf("create says %v", err)
	}
	if err := within(t, 10*time.Second, stalled(t, c, whole)); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "under way") {
		t.Errorf("another import says %v", err)
	}
	r.cutImports()
	if err := within(t, 10*time.Second, said); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "mos-lvm stops") {
		t.Errorf("the import says %v", err)
	}
	if got := r.images(); got != "" || r.titles(anything) != "" {
		t.Errorf("it left %s", got)
	}
}
