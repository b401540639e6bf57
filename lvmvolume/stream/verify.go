package stream

import (
	"bufio"
	"context"
	"io"
)

// Verify reads a whole stream as [Read] does, and writes nothing.
func Verify(ctx context.Context, r io.Reader, progress func(Progress)) (Summary, error) {
	return Read(ctx, r, func(Header) (Sink, error) { return nowhere{}, nil }, progress)
}

// Info reads the header of a stream. It may read more of r than that, so that r
// must be opened anew or sought back to be read whole.
func Info(r io.Reader) (Header, error) {
	h, _, err := readHeader(bufio.NewReaderSize(r, 4<<10))
	return h, err
}

// nowhere is a sink that keeps nothing.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Zeroed() bool                           { return true }
func (nowhere) Zero(int64, int64) error                { return nil }
