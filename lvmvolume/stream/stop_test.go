package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// after calls f once n bytes have passed.
type after struct {
	io.Reader
	io.Writer
	n int
	f func() error
}

func (a *after) pass(n int) error {
	a.n -= n
	if a.n <= 0 {
		return a.f()
	}
	return nil
}

func (a *after) Read(p []byte) (int, error) {
	if err := a.pass(len(p)); err != nil {
		return 0, err
	}
	return a.Reader.Read(p)
}

func (a *after) Write(p []byte) (int, error) {
	if err := a.pass(len(p)); err != nil {
		return 0, err
	}
	return a.Writer.Write(p)
}

func TestCancelInTheMiddleOfWrite(t *testing.T) {
	src := filled(32*mib, 2)
	ctx, cancel := context.WithCancel(t.Context())
	w := &after{Writer: io.Discard, n: 3 * mib, f: func() error { cancel(); return nil }}
	sum, err := stream.Write(ctx, w, header(src.Size()), src, nil)
	if !errors.Is(err, context.Canceled) || sum.Content == 0 || sum.Content > 16*mib || !strings.Contains(err.Error(), "stopped at byte") {
		t.Fatalf("got %+v, %v", sum, err)
	}
}

func TestCancelInTheMiddleOfRead(t *testing.T) {
	src := filled(32*mib, 2)
	b, _ := write(t, src)
	ctx, cancel := context.WithCancel(t.Context())
	r := &after{Reader: bytes.NewReader(b), n: 3 * mib, f: func() error { cancel(); return nil }}
	sum, err := stream.Verify(ctx, r, nil)
	if !errors.Is(err, context.Canceled) || sum.Content > 16*mib {
		t.Fatalf("got %+v, %v", sum, err)
	}
}

func TestCancelWhileZeroing(t *testing.T) {
	b, _ := write(t, fresh(64*mib, true))
	ctx, cancel := context.WithCancel(t.Context())
	sink := fresh(64*mib, false)
	calls := 0
	_, err := stream.Read(ctx, bytes.NewReader(b), sink.open, func(stream.Progress) { calls++; cancel() })
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Fatalf("got %v after %d calls", err, calls)
	}
}

func TestCancelledBeforeNothingIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if _, err := stream.Write(ctx, &b, header(mib), filled(mib, 1), nil); !errors.Is(err, context.Canceled) || b.Len() != 0 {
		t.Errorf("wrote %d bytes, error %v", b.Len(), err)
	}
	good, _ := write(t, filled(mib, 1))
	open := func(stream.Header) (stream.Sink, error) { t.Error("opened"); return nil, io.EOF }
	if _, err := stream.Read(ctx, bytes.NewReader(good), open, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestCancelEndsABlockedPipe holds for the files and connections whose calls
// can be ended; a full or empty pipe would block for ever.
func TestCancelEndsABlockedPipe(t *testing.T) {
	src := filled(8*mib, 2)
	b, _ := write(t, src)
	for _, what := range []string{"read", "write"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if what == "read" {
			go w.Write(b[:1000])
			_, err = stream.Verify(ctx, r, nil)
		} else {
			_, err = stream.Write(ctx, w, header(src.Size()), src, nil)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
		r.Close()
		w.Close()
	}
}

func TestErrorsOfTheWriter(t *testing.T) {
	src := filled(8*mib, 2)
	for _, c := range []struct {
		err error
		is  func(error) bool
	}{
		{syscall.ENOSPC, errdefs.IsResourceExhausted},
		{syscall.EPIPE, errdefs.IsUnavailable},
		{fmt.Errorf("no: %w", errdefs.ErrPermissionDenied), errdefs.IsPermissionDenied},
	} {
		for _, n := range []int{1, 1000, 2 * mib} {
			w := &after{Writer: io.Discard, n: n, f: func() error { return c.err }}
			_, err := stream.Write(t.Context(), w, header(src.Size()), src, nil)
			if !errors.Is(err, c.err) || !c.is(err) {
				t.Errorf("after %d bytes: %v", n, err)
			}
		}
	}
	if _, err := stream.Write(t.Context(), short{}, header(src.Size()), src, nil); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestErrorsOfTheReader(t *testing.T) {
	b, _ := write(t, filled(4*mib, 2))
	for _, n := range []int{0, 20, 200, len(b) / 2, len(b)} {
		r := io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(syscall.EIO))
		if _, err := stream.Verify(t.Context(), r, nil); !errors.Is(err, syscall.EIO) || !errdefs.IsUnavailable(err) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// failing is a source and sink with one bad place.
type failing struct {
	volume
	bad int64
	err error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.bad {
		n, _ := f.volume.ReadAt(p[:max(0, f.bad-off)], off)
		return n, f.err
	}
	return f.volume.ReadAt(p, off)
}

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.bad {
		return 0, f.err
	}
	return f.volume.WriteAt(p, off)
}

func (f *failing) Zero(int64, int64) error { return f.err }

func TestErrorsOfSourceAndSink(t *testing.T) {
	src := filled(8*mib, 2)
	b, _ := write(t, src)
	f := &failing{*filled(8*mib, 2), 5*mib + 1, syscall.EIO}
	if _, err := stream.Write(t.Context(), io.Discard, header(f.Size()), f, nil); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "read volume web-data at byte 5242880") {
		t.Error(err)
	}
	f.err = io.EOF
	if _, err := stream.Write(t.Context(), io.Discard, header(f.Size()), f, nil); !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
	f.err = syscall.ENOSPC
	open := func(stream.Header) (stream.Sink, error) { return f, nil }
	sum, err := stream.Read(t.Context(), bytes.NewReader(b), open, nil)
	if !errdefs.IsResourceExhausted(err) || sum.Content == 0 {
		t.Error(err)
	}
	f.zeroed = false
	zeros, _ := write(t, fresh(8*mib, true))
	if _, err := stream.Read(t.Context(), bytes.NewReader(zeros), open, nil); !errdefs.IsResourceExhausted(err) {
		t.Error(err)
	}
	refuse := errors.New("no such pool")
	if _, err := stream.Read(t.Context(), bytes.NewReader(b), func(stream.Header) (stream.Sink, error) { return nil, refuse }, nil); err != refuse { //nolint:errorlint // it is passed as it is
		t.Error(err)
	}
}

// TestSinkErrorEndsABlockedRead is the import whose disk is full while the
// sender is slow.
func TestSinkErrorEndsABlockedRead(t *testing.T) {
	src := filled(8*mib, 2)
	b, _ := write(t, src)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	go w.Write(b[:parts(t, b)[3]+100])
	f := &failing{*fresh(8*mib, true), 0, syscall.ENOSPC}
	if _, err := stream.Read(t.Context(), r, func(stream.Header) (stream.Sink, error) { return f, nil }, nil); !errdefs.IsResourceExhausted(err) {
		t.Error(err)
	}
}

func TestSlowEnds(t *testing.T) {
	src := filled(3*mib, 6)
	b, _ := write(t, src)
	sink := fresh(len(src.data), false)
	if _, err := stream.Read(t.Context(), iotest.OneByteReader(bytes.NewReader(b)), sink.open, nil); err != nil || !bytes.Equal(sink.data, src.data) {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		_, err := stream.Write(t.Context(), w, header(src.Size()), src, nil)
		w.CloseWithError(err)
	}()
	var got bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, iotest.HalfReader(r), make([]byte, 999)); err != nil || !bytes.Equal(got.Bytes(), b) {
		t.Fatalf("%d bytes, want %d: %v", got.Len(), len(b), err)
	}
}
