package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
)

// Limits of a frame.
const (
	MaxContent = 1 << 20            // bytes of the volume in one frame
	maxData    = MaxContent + 8<<10 // the same, compressed
	page       = 4 << 10            // a frame has no pages of zeros at its ends
	headLen    = 1 + 8 + 4 + 4      // before the data
	sumLen     = 4                  // the CRC at the end
	tailLen    = 1 + 8 + 8 + 32 + sumLen
	maxFrame   = headLen + maxData + sumLen
	frameMark  = 'F'
	tailMark   = 'T'
)

// chunk is a piece of the volume on its way through the pipeline, with all
// memory that it needs, so that the number of chunks bounds the memory.
type chunk struct {
	offset  int64
	content []byte // at most MaxContent
	frame   []byte // as it stands in the stream, at most maxFrame
	sum     [sha256.Size]byte
	at      int64 // where in the stream the frame begins
	number  int64 // of the frame, from 1 on
	err     error
	done    chan struct{}

	memory [2][]byte
}

// take gives n bytes of one of the two memories, the first for the content and
// the second for the frame. They grow when they must, up to the most there can
// be, so that a small volume takes little.
func (c *chunk) take(which, n int) []byte {
	if cap(c.memory[which]) < n {
		const step = 64 << 10
		c.memory[which] = make([]byte, (n+step-1)/step*step)
	}
	return c.memory[which][:n]
}

func (c *chunk) damage(format string, args ...any) error {
	return &DamageError{c.at, c.number, fmt.Sprintf(format, args...)}
}

// begin puts the frame's head into b, which gets its data appended.
func (c *chunk) begin(b []byte) []byte {
	b = append(b[:0], frameMark)
	b = binary.BigEndian.AppendUint64(b, uint64(c.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.content)))
	return binary.BigEndian.AppendUint32(b, 0)
}

// end puts in the size of the data and the CRC.
func (c *chunk) end(b []byte) []byte {
	binary.BigEndian.PutUint32(b[headLen-4:], uint32(len(b)-headLen))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// head is the decoded start of a frame.
type head struct {
	offset, length, size uint64
}

func parseHead(b []byte) head {
	return head{
		offset: binary.BigEndian.Uint64(b[1:]),
		length: uint64(binary.BigEndian.Uint32(b[9:])),
		size:   uint64(binary.BigEndian.Uint32(b[13:])),
	}
}

// whole says whether the CRC at the end of b fits what is before it.
func whole(b []byte) bool {
	n := len(b) - sumLen
	return binary.BigEndian.Uint32(b[n:]) == crc32.ChecksumIEEE(b[:n])
}

// trailer ends a stream.
type trailer struct {
	frames, content uint64
	digest          [sha256.Size]byte
}

func (t trailer) encode() []byte {
	b := []byte{tailMark}
	b = binary.BigEndian.AppendUint64(b, t.frames)
	b = binary.BigEndian.AppendUint64(b, t.content)
	b = append(b, t.digest[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func parseTrailer(b []byte) trailer {
	t := trailer{frames: binary.BigEndian.Uint64(b[1:]), content: binary.BigEndian.Uint64(b[9:])}
	copy(t.digest[:], b[17:])
	return t
}

// addTo adds the frame to the digest of the stream.
func (c *chunk) addTo(digest hash.Hash) {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(c.offset))
	binary.BigEndian.PutUint32(b[8:], uint32(len(c.content)))
	digest.Write(b[:])
	digest.Write(c.sum[:])
}

// zero says whether b is all zero: its first byte is, and each other equals the
// one before.
func zero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// trim takes the zero pages from both ends of b and says how many bytes it took
// from the front.
func trim(b []byte) (rest []byte, front int) {
	if zero(b) {
		return nil, len(b)
	}
	for zero(b[front:min(front+page, len(b))]) {
		front += page
	}
	end := len(b)
	for cut := (end - 1) / page * page; zero(b[cut:end]); cut = (end - 1) / page * page {
		end = cut
	}
	return b[front:end], front
}
