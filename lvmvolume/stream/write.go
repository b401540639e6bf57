package stream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
)

// Write writes the stream of src to w. The header's Size must be that of src.
//
// Progress, which may be nil, is called from the caller's goroutine after each
// piece of at most [MaxContent] bytes and at the end.
//
// When ctx ends, Write does so after the piece in hand. A write to w that does
// not return is ended only if w has a method SetWriteDeadline that can; for any
// other w the caller has to close it. What was written until an error is of no
// use.
func Write(ctx context.Context, w io.Writer, h Header, src Source, progress func(Progress)) (Summary, error) {
	out := &writer{w: w, src: src, progress: progress, digest: sha256.New(), sum: Summary{Header: h}}
	if have := src.Size(); have != h.Size {
		return out.sum, invalid("volume %s: its header says %d bytes and its device has %d", h.Volume, h.Size, have)
	}
	raw, err := h.encode()
	if err != nil {
		return out.sum, err
	}
	out.cells = cells{src: src, size: h.Size}
	out.digest.Write(raw)
	if out.zstd, err = newEncoder(); err != nil {
		return out.sum, err
	}
	defer func() { _ = out.zstd.Close() }() // it holds no stream of its own
	var deadline func(time.Time) error
	if d, ok := w.(interface{ SetWriteDeadline(t time.Time) error }); ok {
		deadline = d.SetWriteDeadline
	}
	err = interruptible(ctx, deadline, func(ctx context.Context, cancel context.CancelFunc) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.emit(raw); err != nil {
			return err
		}
		p := pipeline{produce: out.produce, work: out.pack, consume: out.consume}
		if err := p.run(ctx, cancel); err != nil {
			return err
		}
		return out.finish()
	})
	return out.sum, stopped(ctx, err, "write", out.sum.Stream)
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(workers()),
		zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true),
		zstd.WithWindowSize(MaxContent),
		zstd.WithLowerEncoderMem(true))
}

type writer struct {
	w        io.Writer
	src      Source
	cells    cells
	zstd     *zstd.Encoder
	digest   hash.Hash
	sum      Summary
	progress func(Progress)
}

// produce names the piece to read.
func (w *writer) produce(_ context.Context, c *chunk) error {
	offset, length, err := w.cells.take()
	if err != nil {
		return err
	}
	c.offset, c.content, c.frame = offset, c.take(0, length), nil
	return nil
}

// pack reads the piece and makes its frame, none if it is all zero.
func (w *writer) pack(c *chunk) error {
	n, err := w.src.ReadAt(c.content, c.offset)
	switch {
	case n == len(c.content): // with or without io.EOF
	case err == nil || errors.Is(err, io.EOF):
		return conflict("volume %s ends at byte %d and had %d before: export it again when nobody changes its size",
			w.sum.Header.Volume, c.offset+int64(n), w.sum.Header.Size)
	default:
		return fmt.Errorf("read volume %s at byte %d: %w", w.sum.Header.Volume, c.offset, classed(err))
	}
	content, front := trim(c.content)
	c.offset, c.content = c.offset+int64(front), content
	if len(content) == 0 {
		return nil
	}
	c.sum = sha256.Sum256(content)
	frame := c.take(1, len(content)+maxFrame-MaxContent)
	c.frame = c.end(w.zstd.EncodeAll(content, c.begin(frame)))
	if len(c.frame) > maxFrame {
		return fmt.Errorf("compress volume %s at byte %d: %d bytes became %d: %w",
			w.sum.Header.Volume, c.offset, len(content), len(c.frame), errdefs.ErrInternal)
	}
	return nil
}

// consume writes the frame.
func (w *writer) consume(_ context.Context, c *chunk) error {
	if len(c.frame) > 0 {
		if err := w.emit(c.frame); err != nil {
			return err
		}
		c.addTo(w.digest)
		w.sum.Frames++
		w.sum.Content += int64(len(c.content))
	}
	report(w.progress, w.sum.at(c.offset+int64(len(c.content))))
	return nil
}

func (w *writer) finish() error {
	t := trailer{frames: uint64(w.sum.Frames), content: uint64(w.sum.Content)}
	w.digest.Sum(t.digest[:0])
	if err := w.emit(t.encode()); err != nil {
		return err
	}
	w.sum.Digest = t.digest
	report(w.progress, w.sum.at(w.sum.Header.Size))
	return nil
}

func (w *writer) emit(b []byte) error {
	n, err := w.w.Write(b)
	w.sum.Stream += int64(max(n, 0))
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write the stream of volume %s at byte %d: %w", w.sum.Header.Volume, w.sum.Stream, classed(err))
	}
	return nil
}
