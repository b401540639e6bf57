package stream

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Sink is what [Read] writes. All calls come from Read's caller's goroutine,
// with ascending offsets.
type Sink interface {
	io.WriterAt
	// Zeroed says that all of the sink reads as zeros before Read writes to it,
	// so that holes need no writing.
	Zeroed() bool
	// Zero makes a range read as zeros. It is called for the holes of a sink
	// that is not Zeroed, with at most [MaxZero] bytes at a time.
	Zero(offset, length int64) error
}

// MaxZero is how much a [Sink] has to zero in one call.
const MaxZero = 16 << 20

// Read reads the stream in r, which must end where the stream does, onto the
// sink that open gives.
//
// Open gets the checked header and must give a sink of at least its Size. An
// error of open is returned as it is. The names in the header are those of
// another host: open decides what they mean on this one. The sink is left to
// the caller, who makes it durable when Read returns no error, and throws it
// away when it does.
//
// Progress and ctx are as in [Write], with SetReadDeadline for a read from r
// that does not return.
func Read(ctx context.Context, r io.Reader, open func(Header) (Sink, error), progress func(Progress)) (Summary, error) {
	in := &reader{r: bufio.NewReaderSize(r, buffer), progress: progress, digest: sha256.New()}
	var err error
	if in.zstd, err = newDecoder(); err != nil {
		return in.sum, err
	}
	defer in.zstd.Close()
	var deadline func(time.Time) error
	if d, ok := r.(interface{ SetReadDeadline(t time.Time) error }); ok {
		deadline = d.SetReadDeadline
	}
	err = interruptible(ctx, deadline, func(ctx context.Context, cancel context.CancelFunc) error {
		if err := in.open(ctx, open); err != nil {
			return err
		}
		p := pipeline{produce: in.produce, work: in.unpack, consume: in.consume}
		if err := p.run(ctx, cancel); err != nil {
			return err
		}
		return in.finish(ctx)
	})
	return in.sum, stopped(ctx, err, "read", in.sum.Stream)
}

// buffer is for the small parts; data goes past it.
const buffer = 64 << 10

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers()),
		zstd.WithDecoderMaxMemory(8<<20),
		zstd.WithDecoderMaxWindow(8<<20),
		zstd.WithDecodeAllCapLimit(true), // nothing grows beyond the length in the frame's head
		zstd.WithDecoderLowmem(true))
}

type reader struct {
	r        *bufio.Reader
	sink     Sink
	zstd     *zstd.Decoder
	digest   hash.Hash
	sum      Summary
	progress func(Progress)

	// Of the first stage, until the pipeline is done.
	pos     int64 // in the stream
	number  int64 // of the frame before
	floor   int64 // its end in the volume
	trailer trailer

	done int64 // in the sink: all before is as it must be
}

func (r *reader) open(ctx context.Context, open func(Header) (Sink, error)) error {
	h, raw, err := readHeader(r.r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	r.digest.Write(raw)
	r.pos = int64(len(raw))
	r.sum.Header, r.sum.Stream = h, r.pos
	r.sink, err = open(h)
	return err
}

// produce reads the next frame, or the trailer.
func (r *reader) produce(_ context.Context, c *chunk) error {
	c.at, c.number = r.pos, 0
	mark, err := r.r.Peek(1)
	if err != nil {
		return broken(err, "frames, before the trailer", r.pos, 0)
	}
	switch mark[0] {
	case frameMark:
		c.number = r.number + 1
		return r.frame(c)
	case tailMark:
		return r.tail(c)
	}
	return c.damage("neither a frame nor the trailer begins here (%#02x)", mark[0])
}

// frame reads a frame. What its head says counts only when the CRC fits.
func (r *reader) frame(c *chunk) error {
	start, err := r.r.Peek(headLen)
	if err != nil {
		return broken(err, "frame", c.at, c.number)
	}
	h := parseHead(start)
	if h.size < 1 || h.size > maxData {
		return c.damage("a frame has 1 to %d bytes of data, this one %d", maxData, h.size)
	}
	b := c.take(1, headLen+int(h.size)+sumLen)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return broken(err, "frame", c.at, c.number)
	}
	size, floor := uint64(r.sum.Header.Size), uint64(r.floor)
	switch {
	case !whole(b):
		return c.damage("the frame's checksum does not fit")
	case h.length < 1 || h.length > MaxContent:
		return c.damage("a frame holds 1 to %d bytes, this one %d", MaxContent, h.length)
	case h.offset < floor:
		return c.damage("it holds byte %d of the volume, which the frames before it have passed: frames are repeated, moved or overlap", h.offset)
	case h.offset > size || h.length > size-h.offset:
		return c.damage("it holds %d bytes at byte %d of a volume of %d", h.length, h.offset, size)
	}
	c.offset, c.content, c.frame = int64(h.offset), c.take(0, int(h.length)), b
	r.floor, r.pos, r.number = int64(h.offset+h.length), r.pos+int64(len(b)), c.number
	return nil
}

// tail reads the trailer and makes sure that nothing follows.
func (r *reader) tail(c *chunk) error {
	var b [tailLen]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return broken(err, "trailer", c.at, 0)
	}
	if !whole(b[:]) {
		return c.damage("the trailer's checksum does not fit")
	}
	r.trailer = parseTrailer(b[:])
	r.pos += tailLen
	_, err := r.r.Peek(1)
	switch {
	case err == nil:
		c.at = r.pos
		return c.damage("something follows the trailer")
	case !errors.Is(err, io.EOF):
		return broken(err, "end", r.pos, 0)
	}
	return io.EOF
}

// unpack decompresses a frame.
func (r *reader) unpack(c *chunk) error {
	data := c.frame[headLen : len(c.frame)-sumLen]
	content, err := r.zstd.DecodeAll(data, c.content[:0:len(c.content)])
	if err != nil {
		return c.damage("the frame's data does not decompress to %d bytes (%v)", len(c.content), err)
	}
	if len(content) != len(c.content) {
		return c.damage("the frame's data decompresses to %d bytes, not %d", len(content), len(c.content))
	}
	c.content = content
	c.sum = sha256.Sum256(content)
	return nil
}

// consume brings a frame onto the sink.
func (r *reader) consume(ctx context.Context, c *chunk) error {
	if err := r.zero(ctx, c.offset); err != nil {
		return err
	}
	if _, err := r.sink.WriteAt(c.content, c.offset); err != nil {
		return fmt.Errorf("write the volume at byte %d: %w", c.offset, classed(err))
	}
	c.addTo(r.digest)
	r.done = c.offset + int64(len(c.content))
	r.sum.Frames++
	r.sum.Content += int64(len(c.content))
	r.sum.Stream = c.at + int64(len(c.frame))
	report(r.progress, r.sum.at(r.done))
	return nil
}

// zero makes the sink zero up to an offset.
func (r *reader) zero(ctx context.Context, end int64) error {
	for !r.sink.Zeroed() && r.done < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(MaxZero, end-r.done)
		if err := r.sink.Zero(r.done, n); err != nil {
			return fmt.Errorf("zero the volume at byte %d: %w", r.done, classed(err))
		}
		r.done += n
		report(r.progress, r.sum.at(r.done))
	}
	return nil
}

// finish compares the trailer with what came, and zeroes what is left.
func (r *reader) finish(ctx context.Context) error {
	have := trailer{frames: uint64(r.sum.Frames), content: uint64(r.sum.Content)}
	r.digest.Sum(have.digest[:0])
	at := r.pos - tailLen
	switch {
	case have.frames != r.trailer.frames || have.content != r.trailer.content:
		return &DamageError{at, 0, fmt.Sprintf("it has %d frames with %d bytes, and the trailer counts %d with %d",
			have.frames, have.content, r.trailer.frames, r.trailer.content)}
	case have.digest != r.trailer.digest:
		return &DamageError{at, 0, "the digest does not fit what came before"}
	}
	if err := r.zero(ctx, r.sum.Header.Size); err != nil {
		return err
	}
	r.sum.Stream, r.sum.Digest = r.pos, have.digest
	report(r.progress, r.sum.at(r.sum.Header.Size))
	return nil
}
