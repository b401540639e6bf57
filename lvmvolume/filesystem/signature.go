package filesystem

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// Signature is one sign that a device holds somebody's data.
type Signature struct {
	Type   string // as blkid has it: ext4, LVM2_member, swap, gpt, …; or partition, holder, data
	Offset int64  // in bytes; -1 for what is no place on the device
	Label  string
	UUID   string
	Detail string // of a partition or holder, its name
}

// String names the signature in a message.
func (s Signature) String() string {
	switch {
	case s.Detail != "":
		return s.Type + " " + s.Detail
	case s.Label != "":
		return fmt.Sprintf("%s %q at byte %d", s.Type, s.Label, s.Offset)
	}
	return fmt.Sprintf("%s at byte %d", s.Type, s.Offset)
}

// edge is how much at each end of a device is looked at and wiped.
const edge = mib

// Signatures returns all that speaks against overwriting a device: file systems,
// partition tables, members of LVM, RAID and others, swap; partitions and mappings
// that the kernel has made of it; and bytes other than zero in its first MiB when
// nothing known is there. None is an empty device. A device that is mounted or
// claimed gives ErrFailedPrecondition.
func (f FS) Signatures(ctx context.Context, device string) ([]Signature, error) {
	d, err := openExclusive(device)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	found, err := relatives(device)
	if err != nil {
		return nil, err
	}
	out, err := f.run(ctx, "wipefs", "--no-act", "--json", "--", device)
	if err != nil {
		return nil, err
	}
	known, err := parseWipefs(out)
	if err != nil {
		return nil, fmt.Errorf("read the output of wipefs for device %s: %w", device, err)
	}
	found = append(found, known...)
	if len(found) > 0 {
		return found, nil
	}
	return unknownData(d)
}

// parseWipefs reads what wipefs --json writes: nothing for an empty device.
func parseWipefs(out []byte) ([]Signature, error) {
	if len(strings.TrimSpace(string(out))) == 0 {
		return nil, nil
	}
	var report struct {
		Signatures []struct {
			Offset string `json:"offset"`
			Type   string `json:"type"`
			UUID   string `json:"uuid"`
			Label  string `json:"label"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, err
	}
	var found []Signature
	for _, s := range report.Signatures {
		n, err := strconv.ParseInt(s.Offset, 0, 64)
		if err != nil {
			return nil, err
		}
		found = append(found, Signature{Type: s.Type, Offset: n, UUID: s.UUID, Label: s.Label})
	}
	return found, nil
}

// relatives returns the partitions of a device and what is mapped onto it.
func relatives(device string) ([]Signature, error) {
	dev, err := mounts.DevOf(device)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join("/sys/dev/block", dev.String())
	var found []Signature
	for kind, pattern := range map[string]string{"partition": "*/partition", "holder": "holders/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if kind == "partition" {
				p = filepath.Dir(p)
			}
			found = append(found, Signature{Type: kind, Offset: -1, Detail: filepath.Base(p)})
		}
	}
	return found, nil
}

// unknownData looks for bytes other than zero at the beginning of a device.
func unknownData(d *os.File) ([]Signature, error) {
	b := make([]byte, edge)
	n, err := io.ReadFull(io.NewSectionReader(d, 0, edge), b)
	if err != nil && n == 0 {
		return nil, fmt.Errorf("read device %s: %w", d.Name(), err)
	}
	for i, c := range b[:n] {
		if c != 0 {
			return []Signature{{Type: "data", Offset: int64(i)}}, nil
		}
	}
	return nil, nil
}

// Wipe removes all signatures from a device, so that [FS.Signatures] finds none.
// The data in between stays: see [Zero]. A device that is mounted, claimed, or that
// has something mapped onto it gives ErrFailedPrecondition.
func (f FS) Wipe(ctx context.Context, device string) error {
	found, err := f.Signatures(ctx, device)
	if err != nil {
		return err
	}
	for _, s := range found {
		if s.Type == "holder" {
			return fault.Conflict("device %s is in use by %s: remove that first", device, s.Detail)
		}
	}
	if _, err := f.run(ctx, "wipefs", "--all", "--", device); err != nil {
		if inUse(err) {
			return fault.Conflict("%w", err)
		}
		return err
	}
	return zeroEdges(device)
}

func zeroEdges(device string) error {
	d, err := openExclusive(device)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	size, err := deviceSize(d)
	if err != nil {
		return err
	}
	n := min(size, edge)
	for _, at := range []int64{0, size - n} {
		if _, err := d.WriteAt(make([]byte, n), at); err != nil {
			return fmt.Errorf("wipe device %s: %w", device, err)
		}
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("wipe device %s: %w", device, err)
	}
	return rereadPartitions(d)
}

// rereadPartitions makes the kernel forget partitions. Not every device can have
// such.
func rereadPartitions(d *os.File) error {
	err := ioctl(d, unix.BLKRRPART, new(int))
	if err == nil || isErrno(err, unix.EINVAL, unix.ENOTTY) {
		return nil
	}
	return fmt.Errorf("read the partition table of device %s again: %w", d.Name(), err)
}
