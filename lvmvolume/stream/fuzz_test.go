package stream_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// ledger is a sink that checks what a reader promises and keeps nothing.
type ledger struct {
	size, end int64
	err       error
}

func (l *ledger) take(off, n, most int64) {
	if off < l.end || n < 1 || n > most || off > l.size-n {
		l.err = fmt.Errorf("%d bytes at %d after %d of %d", n, off, l.end, l.size)
	}
	l.end = off + n
}

func (l *ledger) WriteAt(p []byte, off int64) (int, error) {
	l.take(off, int64(len(p)), stream.MaxContent)
	return len(p), nil
}

func (l *ledger) Zero(off, n int64) error {
	l.take(off, n, stream.MaxZero)
	return nil
}

func (l *ledger) Zeroed() bool { return l.size > 1<<30 }

// FuzzRead reads anything. What is accepted was written within the volume, in
// order, and is a stream that says the same again; what is refused has a class
// and a short sentence.
func FuzzRead(f *testing.F) {
	small, _ := write(f, goldenVolume())
	f.Add(small)
	empty, _ := write(f, fresh(1, true))
	f.Add(empty)
	f.Add(empty[:len(empty)-1])
	f.Add(append(headerOf(good), frame(0, 5, packed([]byte("12345")))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &ledger{size: math.MaxInt64}
		sum, err := stream.Read(t.Context(), bytes.NewReader(b), func(h stream.Header) (stream.Sink, error) {
			l.size = h.Size
			return l, nil
		}, nil)
		if l.err != nil {
			t.Fatal(l.err)
		}
		if err != nil {
			if errdefs.IsUnknown(errdefs.Resolve(err)) || len(err.Error()) > 2000 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if sum.Stream != int64(len(b)) || !l.Zeroed() && l.end != l.size {
			t.Fatalf("accepted %+v of %d bytes, wrote up to %d", sum, len(b), l.end)
		}
	})
}

// FuzzHeader puts any JSON under a checksum that fits. What is accepted can be
// written again and is the same then.
func FuzzHeader(f *testing.F) {
	f.Add(good)
	f.Add(`{"volume":"v","volume":"w","options":{"a":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := stream.Info(bytes.NewReader(headerOf(text)))
		if err != nil {
			if errdefs.IsUnknown(errdefs.Resolve(err)) || len(err.Error()) > 2000 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if h.Size > mib {
			h.Used, h.Size = 0, 1
		}
		var b bytes.Buffer
		if _, err := stream.Write(t.Context(), &b, h, fresh(int(h.Size), true), nil); err != nil {
			t.Fatalf("%q is read and not written: %v", text, err)
		}
		again, err := stream.Info(&b)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(h) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
