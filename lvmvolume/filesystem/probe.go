package filesystem

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Journal is the state of a file system's journal.
type Journal string

// The states of a journal.
const (
	// Clean is a file system that was unmounted in good order.
	Clean Journal = "clean"
	// Replay is one that is mounted, or was when its host stopped; mounting
	// it mends it.
	Replay Journal = "replay"
	// Unknown is that of every xfs: only its log tells, and mounting reads it.
	Unknown Journal = "unknown"
)

// Info is what the super block of a file system says.
type Info struct {
	Type      Type
	UUID      string
	Label     string
	Size      int64 // of the file system in bytes, not of the device
	BlockSize int64
	Journal   Journal
	Errors    bool // the kernel found damage, see NeedsCheck

	tail    tail
	journal int64 // where ext4's journal begins on the device, 0 when not known
}

// tail is what decides whether the last group of blocks of a device is used.
type tail struct {
	group int64 // blocks in a group
	least int64 // with fewer blocks it is left unused
}

// Probe reads the super block of the file system on a device, or in an image file.
// What holds neither ext4 nor xfs gives ErrNotFound. Of a mounted xfs it may see
// an old size: that is on the disk only after the log was written out.
func Probe(device string) (Info, error) {
	head, err := readAt(device, 0)
	if os.IsNotExist(err) {
		return Info{}, fault.NotFound("device %s is not there", device)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read the super block of %s: %w", device, err)
	}
	info, ok := parseSuper(head)
	if !ok {
		return Info{}, fault.NotFound("device %s holds neither ext4 nor xfs", device)
	}
	return info, nil
}

// headSize holds the super blocks of both types.
const headSize = 4096

// readAt reads headSize bytes past the page cache: xfs writes past it, too, so that
// an old page would be believed.
func readAt(device string, offset int64) ([]byte, error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECT, 0)
	if isErrno(err, unix.EINVAL) { // an image file where direct reads are not possible
		f, err = os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw := make([]byte, 2*headSize)
	shift := -int(uintptr(unsafe.Pointer(unsafe.SliceData(raw)))) & (headSize - 1) //nolint:gosec // direct reads go to an aligned address
	head := raw[shift : shift+headSize]
	n, err := io.ReadFull(io.NewSectionReader(f, offset, headSize), head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

func parseSuper(head []byte) (Info, bool) {
	if len(head) < headSize {
		return Info{}, false
	}
	if info, ok := parseXFS(head[:512]); ok {
		return info, true
	}
	return parseExt4(head[1024:2048])
}

// parseXFS reads struct xfs_dsb.
func parseXFS(b []byte) (Info, bool) {
	if string(b[:4]) != "XFSB" {
		return Info{}, false
	}
	block, blocks := int64(binary.BigEndian.Uint32(b[4:])), binary.BigEndian.Uint64(b[8:])
	group := int64(binary.BigEndian.Uint32(b[84:]))
	inProgress := b[126] != 0 // mkfs did not come to its end
	if !blockSizeOK(block) || !fits(blocks, block) || group == 0 || inProgress {
		return Info{}, false
	}
	const minGroup = 64 // XFS_MIN_AG_BLOCKS
	return Info{
		Type: XFS, UUID: uuid(b[32:48]), Label: text(b[108:120]), Size: int64(blocks) * block, BlockSize: block,
		Journal: Unknown, tail: tail{group: group, least: minGroup},
	}, true
}

// Features of ext4's super block.
const (
	ext4Recover = 0x4
	ext4Extents = 0x40
	ext4Bits64  = 0x80
)

// parseExt4 reads struct ext4_super_block. ext2 and ext3 have the same magic
// number; they lack extents.
func parseExt4(b []byte) (Info, bool) {
	le := binary.LittleEndian
	incompat := le.Uint32(b[0x60:])
	if le.Uint16(b[0x38:]) != 0xEF53 || incompat&ext4Extents == 0 || le.Uint32(b[0x18:]) > 6 {
		return Info{}, false
	}
	block := int64(1024) << le.Uint32(b[0x18:])
	blocks := uint64(le.Uint32(b[0x4:]))
	if incompat&ext4Bits64 != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	group := int64(le.Uint32(b[0x20:]))
	if !fits(blocks, block) || group == 0 {
		return Info{}, false
	}
	state := le.Uint16(b[0x3A:])
	info := Info{
		Type: Ext4, UUID: uuid(b[0x68:0x78]), Label: text(b[0x78:0x88]), Size: int64(blocks) * block, BlockSize: block,
		Journal: Clean, Errors: state&2 != 0, tail: tail{group: group, least: ext4Least(b, block)},
		journal: ext4Journal(b) * block,
	}
	if incompat&ext4Recover != 0 || state&1 == 0 && !info.Errors {
		info.Journal = Replay
	}
	return info, true
}

// ext4Journal returns the first block of the journal by the copy of its inode's map
// in the super block, 0 when that is not a plain one.
func ext4Journal(b []byte) int64 {
	le := binary.LittleEndian
	tree := b[0x10C:]
	const magic = 0xF30A
	if b[0xFD] != 1 || le.Uint16(tree) != magic || le.Uint16(tree[2:]) == 0 || le.Uint16(tree[6:]) != 0 || le.Uint32(tree[12:]) != 0 {
		return 0
	}
	return int64(le.Uint16(tree[18:]))<<32 | int64(le.Uint32(tree[20:]))
}

// ext4Least returns how many blocks a last group must have for resize2fs and the
// kernel to use it: fifty beyond its own tables.
func ext4Least(b []byte, block int64) int64 {
	le := binary.LittleEndian
	inodes, size := int64(le.Uint32(b[0x28:])), int64(le.Uint16(b[0x58:]))
	tables := (inodes*size + block - 1) / block
	descriptors := int64(le.Uint16(b[0xCE:])) + 1
	return tables + descriptors + 3 + 50
}

func blockSizeOK(n int64) bool { return n >= 512 && n <= 65536 && n&(n-1) == 0 }

// fits says that the size in bytes is a sensible number.
func fits(blocks uint64, block int64) bool {
	return blocks > 0 && blocks <= uint64(math.MaxInt64/block)
}

func uuid(b []byte) string {
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
