package stream

import (
	"crypto/sha256"
	"encoding/hex"
)

// Progress is how far a stream is.
type Progress struct {
	Position int64 // bytes of the volume that are done, holes counted
	Size     int64 // bytes of the volume
	Content  int64 // bytes of the volume that were in frames
	Frames   int64 // number of frames
	Stream   int64 // bytes of the stream
}

// Digest is the SHA-256 at the end of a stream, over its header and the
// position and content of its frames.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Summary is what there was in a stream. With an error it tells how far it came,
// without a digest.
type Summary struct {
	Header  Header
	Frames  int64 // number of frames
	Content int64 // bytes of the volume in them
	Stream  int64 // bytes of the stream, all counted
	Digest  Digest
}

func (s Summary) at(position int64) Progress {
	return Progress{Position: position, Size: s.Header.Size, Content: s.Content, Frames: s.Frames, Stream: s.Stream}
}

// report calls progress if there is one.
func report(progress func(Progress), p Progress) {
	if progress != nil {
		progress(p)
	}
}
