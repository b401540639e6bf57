package stream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// damaged checks that a stream is refused with a place and what to do.
func damaged(t *testing.T, b []byte, reason string, offset, frame int64) {
	t.Helper()
	_, err := verify(b)
	var d *stream.DamageError
	if !errors.As(err, &d) || !errdefs.IsDataLoss(err) {
		t.Fatalf("got error %v", err)
	}
	if d.Offset != offset || d.Frame != frame || !strings.Contains(d.Reason, reason) || !strings.Contains(err.Error(), "export the volume again") {
		t.Fatalf("got %v, want byte %d, frame %d: %s", err, offset, frame, reason)
	}
}

// sparse is a volume of a few small frames, so that many readings take no time.
func sparse() *volume {
	v := filled(4*mib, 3)
	for i := range 4 {
		clear(v.data[i*mib+9000 : (i+1)*mib-900*i])
	}
	copy(v.data, "some text, in case that the first part is zero")
	return v
}

func TestEveryTruncationIsFound(t *testing.T) {
	b, _ := write(t, sparse())
	var cuts []int
	for _, p := range parts(t, b) {
		for d := -5; d <= 20; d++ {
			cuts = append(cuts, p+d)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		cuts = append(cuts, rng.IntN(len(b)))
	}
	slices.Sort(cuts)
	for _, n := range slices.Compact(cuts) {
		if n < 0 || n >= len(b) {
			continue
		}
		_, err := verify(b[:n])
		var d *stream.DamageError
		if !errors.As(err, &d) || d.Offset > int64(n) || !strings.Contains(d.Reason, "missing") {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	b, _ := write(t, sparse())
	var bits []int
	all := parts(t, b)
	for i, p := range all[:len(all)-1] { // each bit of header, trailer and two frames' heads
		end := all[i+1]
		if end-p > 1000 {
			end = p + 18
		}
		for bit := 8 * p; bit < 8*end; bit++ {
			bits = append(bits, bit)
		}
	}
	rng := rand.New(rand.NewPCG(11, 2))
	for range 150 {
		bits = append(bits, rng.IntN(8*len(b)))
	}
	for _, bit := range bits {
		b[bit/8] ^= 1 << (bit % 8)
		_, err := verify(b)
		if err == nil || errdefs.IsUnknown(errdefs.Resolve(err)) {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestFramesOutOfPlaceAreRefused(t *testing.T) {
	b, _ := write(t, filled(5*mib, 9))
	p := parts(t, b)
	if len(p) < 6 {
		t.Fatalf("only %d parts", len(p))
	}
	part := func(i int) []byte { return b[p[i]:p[i+1]] }
	rest := func(i int) []byte { return b[p[i]:] }
	at := func(i int) int64 { return int64(p[i]) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	damaged(t, join(part(0), part(1), part(1), rest(2)), "repeated, moved or overlap", at(2), 2)
	damaged(t, join(part(0), part(2), part(1), rest(3)), "repeated, moved or overlap", at(1)+int64(len(part(2))), 2)
	damaged(t, join(part(0), rest(2)), "the trailer counts", at(len(p)-2)-int64(len(part(1))), 0)
	damaged(t, append(slices.Clone(b), 0), "something follows the trailer", int64(len(b)), 0)
	damaged(t, join(b, b), "something follows the trailer", int64(len(b)), 0)
	damaged(t, join(part(0), part(1), []byte("x"), rest(2)), "neither a frame nor the trailer", at(2), 0)
	damaged(t, join(part(0), part(0), rest(1)), "neither a frame nor the trailer", at(1), 0)

	other, _ := write(t, filled(5*mib, 10))
	q := parts(t, other)
	damaged(t, join(part(0), other[q[1]:q[len(q)-2]], b[p[len(p)-2]:]), "", int64(q[len(q)-2]), 0)
}

func TestBadFramesWithGoodChecksumsAreRefused(t *testing.T) {
	b, _ := write(t, fresh(3*mib, true))
	p := parts(t, b)
	text := []byte(strings.Repeat("content ", 512))
	n := uint32(len(text))
	data := packed(text)
	bomb := packed(make([]byte, 64*mib))
	for _, c := range []struct {
		name, reason string
		frame        []byte
	}{
		{"empty", "holds 1 to", frame(0, 0, data)},
		{"too-long", "holds 1 to", frame(0, mib+1, data)},
		{"no-data", "1 to 1056768 bytes of data", frame(0, n, nil)},
		{"too-much-data", "1 to 1056768 bytes of data", frame(0, n, make([]byte, mib+8<<10+1))},
		{"past-the-end", "of a volume of 3145728", frame(3*mib-1, n, data)},
		{"far-past-the-end", "of a volume of 3145728", frame(1<<63, n, data)},
		{"wrapping", "of a volume of 3145728", frame(1<<64-1, n, data)},
		{"bomb", "does not decompress", frame(0, n, bomb)},
		{"bomb-at-the-limit", "does not decompress", frame(0, mib, bomb)},
		{"bomb-of-two-frames", "does not decompress", frame(0, n, append(slices.Clone(data), data...))},
		{"shorter", "decompresses to 4096 bytes, not 4097", frame(0, n+1, data)},
		{"longer", "does not decompress", frame(0, n-1, data)},
		{"not-zstd", "does not decompress", frame(0, n, text)},
	} {
		t.Run(c.name, func(t *testing.T) {
			damaged(t, bytes.Join([][]byte{b[:p[1]], c.frame, b[p[1]:]}, nil), c.reason, int64(p[1]), 1)
		})
	}
	overlap := append(frame(100, n, data), frame(100+uint64(n)-1, n, data)...)
	damaged(t, bytes.Join([][]byte{b[:p[1]], overlap, b[p[1]:]}, nil), "overlap", int64(p[1]+len(overlap)/2), 2)
}

func TestTrailerMustFit(t *testing.T) {
	b, _ := write(t, filled(2*mib, 4))
	p := parts(t, b)
	at := p[len(p)-2]
	for i := at + 1; i < len(b)-4; i++ {
		c := slices.Clone(b)
		c[i] ^= 4
		binary.BigEndian.PutUint32(c[len(c)-4:], crc32.ChecksumIEEE(c[at:len(c)-4]))
		reason := "the digest does not fit"
		if i < at+17 {
			reason = "the trailer counts"
		}
		damaged(t, c, reason, int64(at), 0)
	}
}

// TestFramesBeforeTheDamageArrive holds the promise that an error says how far
// it came.
func TestFramesBeforeTheDamageArrive(t *testing.T) {
	src := filled(8*mib, 12)
	b, _ := write(t, src)
	p := parts(t, b)
	bad := len(p) - 3
	b[p[bad]+30] ^= 1
	sink := fresh(len(src.data), true)
	sum, err := stream.Read(t.Context(), bytes.NewReader(b), sink.open, nil)
	if !errdefs.IsDataLoss(err) || sum.Frames != int64(bad-1) || sum.Stream != int64(p[bad]) || sum.Digest != (stream.Digest{}) {
		t.Fatalf("got %+v, %v", sum, err)
	}
}
