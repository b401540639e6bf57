// Package spool keeps what a back end does not take at the moment, on disk and
// bounded, and gives it back in order: over restarts, after a cut in the middle of
// a write, and with a file in it that something else has changed.
//
// A spool is files of records, oldest first, the last being written to:
//
//	"MOSBUF1\n", how far it was read (8 bytes), then records:
//	length (4), CRC-32C of time and data (4), time in ns since 1970 (8), data
//
// Numbers are little-endian. How far a file was read is written but not synced:
// after a power cut some records may be given twice, which back ends bear better
// than a sync for each.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	magic      = "MOSBUF1\n"
	headSize   = int64(len(magic) + 8)
	recordHead = 16
	suffix     = ".buf"
	// perSpool is in how many files a full spool is, and so which part of it goes
	// when there is no more room.
	perSpool = 8
	// MinBytes is the smallest bound of a spool.
	MinBytes = 64 << 10
)

// Spool is used by one goroutine.
type Spool struct {
	dir      string
	maxBytes int64
	maxAge   time.Duration
	files    []*segment // oldest first
	next     uint64     // number of the next file
	size     int64
	buf      []byte
}

// segment is one file.
type segment struct {
	f       *os.File
	at      int64 // of the first record that was not given back
	end     int64 // of the last good record
	records int   // that were not given back
}

// Open opens the spool in a folder, which it makes, and drops what is older than
// maxAge as it comes to it. faults tells what was broken in it and is now left out.
func Open(dir string, maxBytes int64, maxAge time.Duration) (s *Spool, faults []error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("open buffer: %w", err)
	}
	s = &Spool{dir: dir, maxBytes: max(maxBytes, MinBytes), maxAge: maxAge, next: 1}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, nil, fmt.Errorf("open buffer: %w", err)
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), suffix), 10, 64)
		if err != nil || !strings.HasSuffix(e.Name(), suffix) {
			continue // not ours
		}
		s.next = max(s.next, n+1)
		seg, fault := load(filepath.Join(dir, e.Name()))
		if fault != nil {
			faults = append(faults, fault)
		}
		if seg != nil {
			s.files = append(s.files, seg)
			s.size += seg.end
		}
	}
	s.shed()
	return s, faults, nil
}

// load reads a file's records. A file that has none any more is removed.
func load(name string) (*segment, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("buffer file is left out: %w", err)
	}
	data, err := io.ReadAll(f)
	switch {
	case err != nil:
	case int64(len(data)) < headSize || string(data[:len(magic)]) != magic:
		err = errors.New("it is no file of a buffer")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("buffer file %s is left out: %w", name, err), f.Close(), os.Remove(name))
	}
	g := &segment{f: f, at: int64(binary.LittleEndian.Uint64(data[len(magic):])), end: headSize}
	if g.at < headSize || g.at > int64(len(data)) {
		g.at = headSize
	}
	for {
		size, ok := check(data[g.end:])
		if !ok {
			break
		}
		if g.end >= g.at {
			g.records++
		}
		g.end += size
	}
	if lost := int64(len(data)) - g.end; lost > 0 {
		err = fmt.Errorf("buffer file %s: its last %d bytes are broken and left out", name, lost)
		err = errors.Join(err, f.Truncate(g.end))
	}
	g.at = min(g.at, g.end)
	if g.records == 0 {
		return nil, errors.Join(err, g.remove())
	}
	return g, err
}

// check is the size of the whole record that data begins with.
func check(data []byte) (size int64, ok bool) {
	if len(data) < recordHead {
		return 0, false
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if n > int64(len(data)-recordHead) {
		return 0, false
	}
	return recordHead + n, crc32.Checksum(data[8:recordHead+n], crc32.MakeTable(crc32.Castagnoli)) == binary.LittleEndian.Uint32(data[4:])
}

func (g *segment) remove() error { return errors.Join(g.f.Close(), os.Remove(g.f.Name())) }

// Len is how many records wait.
func (s *Spool) Len() (n int) {
	for _, g := range s.files {
		n += g.records
	}
	return n
}

// Size is the bytes on disk.
func (s *Spool) Size() int64 { return s.size }

// Append keeps a record behind all others. When there is no room for it the oldest
// go; dropped is how many. A record that would not fit alone is refused.
func (s *Spool) Append(at time.Time, data []byte) (dropped int, err error) {
	need := recordHead + int64(len(data))
	if need+headSize > s.maxBytes {
		return 0, fmt.Errorf("a batch of %d bytes does not fit in a buffer of %d", len(data), s.maxBytes)
	}
	for len(s.files) > 0 && s.size+need+headSize > s.maxBytes {
		dropped += s.files[0].records
		if err := s.drop(); err != nil {
			return dropped, err
		}
	}
	g, err := s.last(need)
	if err != nil {
		return dropped, fmt.Errorf("buffer: %w", err)
	}
	s.buf = append(s.buf[:0], make([]byte, recordHead)...)
	s.buf = append(s.buf, data...)
	binary.LittleEndian.PutUint32(s.buf, uint32(len(data)))
	binary.LittleEndian.PutUint64(s.buf[8:], uint64(at.UnixNano()))
	binary.LittleEndian.PutUint32(s.buf[4:], crc32.Checksum(s.buf[8:], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := g.f.WriteAt(s.buf, g.end); err != nil {
		// What was written of it is left out when the file is read, or written over.
		return dropped, fmt.Errorf("buffer: %w", err)
	}
	g.end += need
	g.records++
	s.size += need
	return dropped, nil
}

// last is the file to write to.
func (s *Spool) last(need int64) (*segment, error) {
	if n := len(s.files); n > 0 && s.files[n-1].end+need <= max(s.maxBytes/perSpool, headSize+need) {
		return s.files[n-1], nil
	}
	name := filepath.Join(s.dir, fmt.Sprintf("%020d%s", s.next, suffix))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	g := &segment{f: f, at: headSize, end: headSize}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint64([]byte(magic), uint64(headSize)), 0); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	s.next++
	s.files, s.size = append(s.files, g), s.size+headSize
	return g, nil
}

// drop removes the oldest file.
func (s *Spool) drop() error {
	g := s.files[0]
	s.files, s.size = slices.Delete(s.files, 0, 1), s.size-g.end
	return g.remove()
}

// shed makes a spool fit whose bound was lowered.
func (s *Spool) shed() {
	for len(s.files) > 0 && s.size > s.maxBytes {
		_ = s.drop() // it is no part of the spool any more in any case
	}
}

// Next is the oldest record, which stays until [Spool.Done]. Records that are too
// old, and what cannot be read, are dropped on the way; dropped is how many. ok is
// false when there is none.
func (s *Spool) Next(now time.Time) (at time.Time, data []byte, dropped int, ok bool) {
	for len(s.files) > 0 {
		g := s.files[0]
		if g.records == 0 {
			_ = s.drop() // it is empty
			continue
		}
		var head [recordHead]byte
		_, err := g.f.ReadAt(head[:], g.at)
		n := int64(binary.LittleEndian.Uint32(head[:]))
		if err == nil && g.at+recordHead+n <= g.end {
			data = make([]byte, recordHead+n)
			_, err = g.f.ReadAt(data, g.at)
		}
		if _, whole := check(data); err != nil || !whole {
			dropped += g.records
			_ = s.drop() // something else wrote to it
			continue
		}
		at = time.Unix(0, int64(binary.LittleEndian.Uint64(head[8:])))
		if now.Sub(at) > s.maxAge {
			dropped++
			s.Done()
			continue
		}
		return at, data[recordHead:], dropped, true
	}
	return time.Time{}, nil, dropped, false
}

// Done drops the record that Next gave.
func (s *Spool) Done() {
	if len(s.files) == 0 || s.files[0].records == 0 {
		return
	}
	g := s.files[0]
	var head [4]byte
	if _, err := g.f.ReadAt(head[:], g.at); err != nil {
		g.records = 0
	} else {
		g.at += recordHead + int64(binary.LittleEndian.Uint32(head[:]))
		g.records--
	}
	if g.records == 0 {
		_ = s.drop() // all of it was given back
		return
	}
	// Lost, this is a record given twice.
	_, _ = g.f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(g.at)), int64(len(magic)))
}

// Close closes the files; what waits stays.
func (s *Spool) Close() error {
	var errs []error
	for _, g := range s.files {
		errs = append(errs, g.f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}
