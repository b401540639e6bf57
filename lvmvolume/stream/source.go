package stream

import (
	"errors"
	"fmt"
	"io"
)

// Source is what [Write] reads. It must not change meanwhile. ReadAt is called
// by up to [Workers] goroutines at once.
type Source interface {
	io.ReaderAt
	// Size is the number of bytes there are.
	Size() int64
}

// Holes is a [Source] that knows where it is zero, so that these parts need not
// be read.
type Holes interface {
	Source
	// NextData gives the first range at or after from that may hold something
	// else than zeros, cut at from; io.EOF if there is none. It is called with
	// ascending from.
	NextData(from int64) (start, end int64, err error)
}

// cells walks over the pieces of MaxContent bytes, aligned to that, which may
// hold data.
type cells struct {
	src  Source
	size int64
	next int64 // where the next piece begins
	end  int64 // data is known up to here
}

// take gives the next piece, and io.EOF after the last.
func (w *cells) take() (offset int64, length int, err error) {
	if w.next >= w.end && w.next < w.size {
		if err := w.seek(); err != nil {
			return 0, 0, err
		}
	}
	if w.next >= w.size {
		return 0, 0, io.EOF
	}
	offset = w.next
	w.next += MaxContent
	return offset, int(min(MaxContent, w.size-offset)), nil
}

// seek goes to the piece with the next data. Data that ends within a piece has
// its end moved by take to that of the piece.
func (w *cells) seek() error {
	h, ok := w.src.(Holes)
	if !ok {
		w.end = w.size
		return nil
	}
	start, end, err := h.NextData(w.next)
	switch {
	case errors.Is(err, io.EOF):
		w.next = w.size
		return nil
	case err != nil:
		return fmt.Errorf("look for data after byte %d of the volume: %w", w.next, classed(err))
	case start < w.next || end <= start || end > w.size:
		return conflict("data after byte %d of the volume is said to be at %d to %d, of %d", w.next, start, end, w.size)
	}
	w.next, w.end = start/MaxContent*MaxContent, end
	return nil
}
