package stream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

func header(size int64) stream.Header {
	return stream.Header{
		Volume: "web-data", FS: stream.Ext4, Size: size, Used: size / 2,
		Created: time.Date(2026, 11, 23, 8, 30, 0, 0, time.UTC),
		Host:    "node-7", Options: map[string]string{"size": "4m", "uid": "1000"},
	}
}

// volume is a device in memory. As a sink it begins with what is in it.
type volume struct {
	data   []byte
	zeroed bool
}

func (v *volume) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(v.data).ReadAt(p, off)
}
func (v *volume) Size() int64  { return int64(len(v.data)) }
func (v *volume) Zeroed() bool { return v.zeroed }

func (v *volume) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > v.Size() {
		return 0, fmt.Errorf("write of %d bytes at %d of %d", len(p), off, v.Size())
	}
	return copy(v.data[off:], p), nil
}

func (v *volume) Zero(off, n int64) error {
	if off < 0 || n <= 0 || n > stream.MaxZero || off+n > v.Size() {
		return fmt.Errorf("zero %d bytes at %d of %d", n, off, v.Size())
	}
	clear(v.data[off : off+n])
	return nil
}

func (v *volume) open(stream.Header) (stream.Sink, error) { return v, nil }

// fresh is a sink of that size, all zeros or all garbage.
func fresh(size int, zeroed bool) *volume {
	v := &volume{data: make([]byte, size), zeroed: zeroed}
	if !zeroed {
		for i := range v.data {
			v.data[i] = 0xa5
		}
	}
	return v
}

// filled is a volume in which each part is text, noise or zeros, by seed.
func filled(size int, seed uint64) *volume {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := fresh(size, true)
	for at := 0; at < size; {
		n := min(1+rng.IntN(mib+mib/2), size-at)
		part := v.data[at : at+n]
		switch rng.IntN(3) {
		case 0:
			for i := 0; i+8 <= n; i += 8 {
				binary.NativeEndian.PutUint64(part[i:], rng.Uint64())
			}
		case 1:
			copy(part, strings.Repeat(fmt.Sprintf("line %d of a file\n", rng.IntN(1000)), 1+n/16))
		}
		at += n
	}
	return v
}

func write(tb testing.TB, src stream.Source) ([]byte, stream.Summary) {
	tb.Helper()
	var b bytes.Buffer
	sum, err := stream.Write(tb.Context(), &b, header(src.Size()), src, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), sum
}

func verify(b []byte) (stream.Summary, error) {
	return stream.Verify(context.Background(), bytes.NewReader(b), nil)
}

// parts are where a stream's header, frames and trailer begin, and its end, as
// the package comment tells.
func parts(tb testing.TB, b []byte) []int {
	tb.Helper()
	var v, n int
	var crc string
	if _, err := fmt.Sscanf(string(b), "mos-volume-stream %d %d %s\n", &v, &n, &crc); err != nil {
		tb.Fatal(err)
	}
	at := bytes.IndexByte(b, '\n') + 1 + n + 1
	all := []int{0, at}
	for b[at] == 'F' {
		at += 17 + int(binary.BigEndian.Uint32(b[at+13:])) + 4
		all = append(all, at)
	}
	if b[at] != 'T' || at+53 != len(b) {
		tb.Fatalf("no trailer at byte %d of %d", at, len(b))
	}
	return append(all, len(b))
}

// frame makes a frame by the package comment, whatever it is told.
func frame(offset uint64, length uint32, data []byte) []byte {
	b := []byte{'F'}
	b = binary.BigEndian.AppendUint64(b, offset)
	b = binary.BigEndian.AppendUint32(b, length)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func packed(content []byte) []byte {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return e.EncodeAll(content, nil)
}

// headerOf is a header with any JSON.
func headerOf(json string) []byte {
	return fmt.Appendf(nil, "mos-volume-stream 1 %d %08x\n%s\n", len(json), crc32.ChecksumIEEE([]byte(json)), json)
}

func TestLifeOfAStream(t *testing.T) {
	src := filled(9*mib+4321, 7)
	clear(src.data[3*mib : 6*mib])
	var b bytes.Buffer
	var last stream.Progress
	watch := func(p stream.Progress) {
		if p.Position < last.Position || p.Stream < last.Stream || p.Frames < last.Frames {
			t.Errorf("progress went from %+v back to %+v", last, p)
		}
		last = p
	}
	wrote, err := stream.Write(t.Context(), &b, header(src.Size()), src, watch)
	if err != nil {
		t.Fatal(err)
	}
	want := stream.Progress{Position: src.Size(), Size: src.Size(), Content: wrote.Content, Frames: wrote.Frames, Stream: int64(b.Len())}
	if last != want || wrote.Stream != want.Stream {
		t.Fatalf("last progress is %+v, want %+v", last, want)
	}
	info, err := stream.Info(bytes.NewReader(b.Bytes()))
	if err != nil || info.Volume != "web-data" || info.Options["uid"] != "1000" || !info.Created.Equal(wrote.Header.Created) {
		t.Fatalf("header: %+v, %v", info, err)
	}
	for _, zeroed := range []bool{true, false} {
		last = stream.Progress{}
		sink := fresh(len(src.data), zeroed)
		read, err := stream.Read(t.Context(), bytes.NewReader(b.Bytes()), sink.open, watch)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sink.data, src.data) {
			t.Fatalf("zeroed %v: what arrived is not what was sent", zeroed)
		}
		if read.Digest != wrote.Digest || read.Stream != wrote.Stream || read.Frames != wrote.Frames || last != want {
			t.Fatalf("zeroed %v: read %+v, %+v, wrote %+v", zeroed, read, last, wrote)
		}
	}
	if sum, err := verify(b.Bytes()); err != nil || sum.Digest != wrote.Digest || len(sum.Digest.String()) != 64 {
		t.Fatalf("verify: %+v, %v", sum, err)
	}
}

func TestZeroVolumeHasNoFrames(t *testing.T) {
	for _, size := range []int{1, 4095, mib, 3*mib + 1} {
		b, sum := write(t, fresh(size, true))
		if sum.Frames != 0 || len(parts(t, b)) != 3 {
			t.Errorf("size %d: %d frames", size, sum.Frames)
		}
		sink := fresh(size, false)
		if _, err := stream.Read(t.Context(), bytes.NewReader(b), sink.open, nil); err != nil || !bytes.Equal(sink.data, make([]byte, size)) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// holey knows its holes, and counts what is read.
type holey struct {
	volume
	data [][2]int64 // ascending
	read chan int64
}

func (h *holey) NextData(from int64) (start, end int64, err error) {
	for _, d := range h.data {
		if d[1] > from {
			return max(from, d[0]), d[1], nil
		}
	}
	return 0, 0, io.EOF
}

func (h *holey) ReadAt(p []byte, off int64) (int, error) {
	h.read <- int64(len(p))
	return h.volume.ReadAt(p, off)
}

func TestHolesAreNotReadAndChangeNothing(t *testing.T) {
	h := &holey{volume: *fresh(64*mib+5, true), read: make(chan int64, 100)}
	for _, d := range [][2]int64{{100, 200}, {300, 301}, {5*mib - 1, 5*mib + 1}, {40 * mib, 43*mib + 7}, {64*mib + 1, 64*mib + 5}} {
		h.data = append(h.data, d)
		for i := d[0]; i < d[1]; i++ {
			h.volume.data[i] = byte(1 + i%255)
		}
	}
	b, _ := write(t, h)
	plain, _ := write(t, &h.volume)
	if !bytes.Equal(b, plain) {
		t.Error("a source that knows its holes gives another stream than one that does not")
	}
	close(h.read)
	var read int64
	for n := range h.read {
		read += n
	}
	if want := int64(7*mib + 5); read != want {
		t.Errorf("read %d bytes, want %d", read, want)
	}
}

type liar struct {
	volume
	start, end int64
}

func (l *liar) NextData(int64) (start, end int64, err error) { return l.start, l.end, nil }

func TestHolesOutsideTheVolumeAreRefused(t *testing.T) {
	for _, r := range [][2]int64{{-1, 5}, {5, 5}, {7, 6}, {0, mib + 1}, {2 * mib, 3 * mib}} {
		l := &liar{volume: *filled(mib, 1), start: r[0], end: r[1]}
		if _, err := stream.Write(t.Context(), io.Discard, header(mib), l, nil); err == nil {
			t.Errorf("data at %v was believed", r)
		}
	}
}
