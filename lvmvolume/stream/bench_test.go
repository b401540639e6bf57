package stream_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// disk is a volume like those of servers: the Go distribution's sources and
// binaries, noise as of archives and pictures, and zeros between them.
func disk(tb testing.TB, size int) *volume {
	tb.Helper()
	v := fresh(size, true)
	root, err := exec.CommandContext(tb.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		tb.Skip(err)
	}
	at := 0
	for _, dir := range []string{"src", "pkg/tool", "bin"} {
		_ = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || at >= size/2 {
				return err
			}
			b, err := os.ReadFile(p)
			n := copy(v.data[at:size/2], b)
			at += (n + 4095) / 4096 * 4096
			return err
		})
	}
	for at = size / 2; at < size*3/4; at += 3 * mib {
		copy(v.data[at:size*3/4], filled(3*mib, uint64(at)).data)
	}
	return v
}

const diskSize = 256 * mib

// cpu reports the processor's time for a MiB, which a busy machine changes less
// than the time on the clock. Who is RUSAGE_SELF or RUSAGE_CHILDREN.
func cpu(b *testing.B, who int) func() {
	b.Helper()
	used := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N)/1e6/(diskSize/mib), "cpu-ms/MiB") }
}

func BenchmarkWrite(b *testing.B) {
	src := disk(b, diskSize)
	b.SetBytes(diskSize)
	b.ReportAllocs()
	var sum stream.Summary
	defer cpu(b, unix.RUSAGE_SELF)()
	for b.Loop() {
		var err error
		if sum, err = stream.Write(b.Context(), io.Discard, header(diskSize), src, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(sum.Stream)/diskSize, "size/size")
}

func BenchmarkVerify(b *testing.B) {
	data, _ := write(b, disk(b, diskSize))
	b.SetBytes(diskSize)
	b.ReportAllocs()
	defer cpu(b, unix.RUSAGE_SELF)()
	for b.Loop() {
		if _, err := verify(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteOfZeros(b *testing.B) {
	src := fresh(diskSize, true)
	b.SetBytes(diskSize)
	for b.Loop() {
		if _, err := stream.Write(b.Context(), io.Discard, header(diskSize), src, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPeer is zstd(1) on the same bytes, from and to a pipe.
func BenchmarkPeer(b *testing.B) {
	if _, err := exec.LookPath("zstd"); err != nil {
		b.Skip(err)
	}
	src := disk(b, diskSize)
	var packed []byte
	for _, args := range [][]string{{"-1", "-T" + strconv.Itoa(stream.Workers)}, {"-d"}} {
		b.Run("zstd"+args[0], func(b *testing.B) {
			in := src.data
			if args[0] == "-d" {
				in = packed
			}
			b.SetBytes(diskSize)
			defer cpu(b, unix.RUSAGE_CHILDREN)()
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), "zstd", append(args, "-q", "-c")...)
				var out bytes.Buffer
				cmd.Stdin, cmd.Stdout = bytes.NewReader(in), io.Discard
				if packed == nil {
					cmd.Stdout = &out
				}
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				if packed == nil {
					packed = out.Bytes()
				}
			}
			b.ReportMetric(float64(len(packed))/diskSize, "size/size")
		})
	}
}

// TestMemoryIsBounded holds the promise of the package comment.
func TestMemoryIsBounded(t *testing.T) {
	src := filled(40*mib, 3)
	b, _ := write(t, src)
	var most uint64
	base := heap()
	watch := func(stream.Progress) { most = max(most, heap()-base) }
	if _, err := stream.Write(t.Context(), io.Discard, header(src.Size()), src, every(8, watch)); err != nil {
		t.Fatal(err)
	}
	wrote := most
	most, base = 0, heap()
	if _, err := stream.Verify(t.Context(), bytes.NewReader(b), every(8, watch)); err != nil {
		t.Fatal(err)
	}
	t.Logf("write %.1f MiB, read %.1f MiB", float64(wrote)/mib, float64(most)/mib)
	if limit := uint64(32 * mib); wrote > limit || most > limit {
		t.Errorf("write took %d bytes, read %d", wrote, most)
	}
}

func every(n int, f func(stream.Progress)) func(stream.Progress) {
	i := 0
	return func(p stream.Progress) {
		if i++; i%n == 0 {
			f(p)
		}
	}
}

// heap is what is in use after what is not has gone.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
