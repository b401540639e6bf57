package stream

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FS names a file system.
type FS string

// The file systems a volume may have.
const (
	Ext4 FS = "ext4"
	XFS  FS = "xfs"
)

// Limits of what a header may hold.
const (
	MaxHeader  = 64 << 10 // bytes of the JSON
	MaxSize    = 1 << 60  // bytes of the volume
	maxName    = 255
	maxOptions = 64
	maxKey     = 64
	maxValue   = 4096
)

// Header says what a stream holds. All fields but Used, Host and Options must
// be set.
type Header struct {
	Volume  string            `json:"volume"`  // name on the host it comes from; safe as a file's name
	FS      FS                `json:"fs"`      // file system on the device
	Size    int64             `json:"size"`    // bytes of the device
	Used    int64             `json:"used"`    // bytes in use as the file system tells; an estimate
	Created time.Time         `json:"created"` // when the stream was begun
	Host    string            `json:"host"`    // where it was made; may be empty
	Options map[string]string `json:"options"` // what the volume was created with; may be empty
}

// check refuses what the package comment does not allow.
func (h Header) check() error {
	switch {
	case !plain(h.Volume):
		return invalid("volume name %.64q is not 1 to %d letters, digits, dots, dashes and underscores", h.Volume, maxName)
	case h.FS != Ext4 && h.FS != XFS:
		return invalid("file system %.64q of volume %s is neither %s nor %s", h.FS, h.Volume, Ext4, XFS)
	case h.Size <= 0 || h.Size > MaxSize:
		return invalid("size %d of volume %s is not between 1 and 2^60 bytes", h.Size, h.Volume)
	case h.Used < 0 || h.Used > h.Size:
		return invalid("%d bytes in use of volume %s do not fit its size %d", h.Used, h.Volume, h.Size)
	case h.Created.IsZero():
		return invalid("volume %s: the time of the stream is not set", h.Volume)
	case !text(h.Host, maxName):
		return invalid("host name %.64q has control characters or more than %d bytes", h.Host, maxName)
	case len(h.Options) > maxOptions:
		return invalid("volume %s has %d options, more than %d", h.Volume, len(h.Options), maxOptions)
	}
	for k, v := range h.Options {
		if k == "" || !text(k, maxKey) || !text(v, maxValue) {
			return invalid("option %.64q of volume %s is empty, too long or has control characters", k, h.Volume)
		}
	}
	return nil
}

// plain holds for names that need no quoting anywhere.
func plain(name string) bool {
	if name == "" || len(name) > maxName || strings.ContainsRune("_.-", rune(name[0])) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_.-", r)
	})
}

// text holds for a line of UTF-8 that may be printed on a terminal.
func text(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
