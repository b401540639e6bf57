package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	blockSize = 64 << 10
	pageSize  = 4 << 10
	magic     = "MOSCHECK"
)

// fill makes block i of a seed. Each page begins with the magic, the seed and
// the number, so that it is known wherever it turns up.
func fill(b []byte, seed, i uint64) {
	x := seed*0x9e3779b97f4a7c15 + i*0xbf58476d1ce4e5b9 + 1
	for at := 0; at < len(b); at += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[at:], x)
	}
	for at := 0; at < len(b); at += pageSize {
		copy(b[at:], magic)
		binary.LittleEndian.PutUint64(b[at+8:], seed)
		binary.LittleEndian.PutUint64(b[at+16:], i)
	}
}

// whole counts the blocks at the beginning of a file that are what they should be.
func whole(f io.ReaderAt, seed, most uint64) (uint64, error) {
	got, want := make([]byte, blockSize), make([]byte, blockSize)
	for i := uint64(0); most == 0 || i < most; i++ {
		n, err := f.ReadAt(got, int64(i)*blockSize)
		if errors.Is(err, io.EOF) && n < blockSize {
			return i, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return i, err
		}
		if fill(want, seed, i); !bytes.Equal(got, want) {
			return i, nil
		}
	}
	return most, nil
}

// write writes blocks and says "synced N" when an fsync made the first N last.
func write(ctx context.Context, o options, _ []string) error {
	return writeBlocks(ctx, o, func(n uint64) { fmt.Println("synced", n) })
}

func writeBlocks(ctx context.Context, o options, synced func(uint64)) (err error) {
	f, err := os.OpenFile(o.file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var i uint64
	if o.resume {
		if i, err = whole(f, o.seed, 0); err != nil {
			return fmt.Errorf("read block %d: %w", i, err)
		}
		fmt.Println("resumed", i)
	}
	b := make([]byte, blockSize)
	for ; ctx.Err() == nil && (o.count == 0 || i < o.count); i++ {
		fill(b, o.seed, i)
		if _, err := f.WriteAt(b, int64(i)*blockSize); err != nil {
			return errors.Join(fmt.Errorf("write block %d: %w", i, err), lastSync(f, i, synced))
		}
		if (i+1)%max(o.sync, 1) == 0 {
			if err := f.Sync(); err != nil {
				return fmt.Errorf("fsync after block %d: %w", i, err)
			}
			synced(i + 1)
		}
		time.Sleep(o.pause)
		if i+1 == o.hold && !exists(o.until) {
			i-- // once more
		}
	}
	return lastSync(f, i, synced)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// lastSync tells how much lasts when there is room for no more.
func lastSync(f *os.File, n uint64, synced func(uint64)) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("fsync at the end, after %d blocks: %w", n, err)
	}
	synced(n)
	return nil
}

// check looks whether the first blocks are what they should be.
func check(_ context.Context, o options, _ []string) error {
	f, err := os.Open(o.file)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := whole(f, o.seed, o.count)
	if err != nil {
		return err
	}
	if n < o.count {
		return fmt.Errorf("%s: %d of %d blocks are whole", o.file, n, o.count)
	}
	fmt.Println("whole", n)
	return nil
}

// stat tells the size of a volume's file system in MiB, and the owner and mode of
// its directory.
func stat(_ context.Context, o options, _ []string) error {
	var fs syscall.Statfs_t
	var st syscall.Stat_t
	if err := errors.Join(syscall.Statfs(o.file, &fs), syscall.Stat(o.file, &st)); err != nil {
		return err
	}
	fmt.Printf("mib %d uid %d mode %o\n", fs.Blocks*uint64(fs.Bsize)>>20, st.Uid, st.Mode&0o7777)
	return nil
}

// scan counts the pages of a device that hold blocks of a seed; 0 is any seed.
func scan(_ context.Context, o options, args []string) error {
	f, err := os.OpenFile(o.file, os.O_RDONLY|syscall.O_DIRECT, 0)
	if errors.Is(err, syscall.EINVAL) {
		f, err = os.Open(o.file)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	pages, nonzero, buf, zero := 0, 0, aligned(1<<20), make([]byte, pageSize)
	for {
		n, err := io.ReadFull(f, buf)
		for at := 0; at+pageSize <= n; at += pageSize {
			p := buf[at : at+pageSize]
			if !bytes.Equal(p, zero) {
				nonzero++
			}
			if bytes.HasPrefix(p, []byte(magic)) && (o.seed == 0 || binary.LittleEndian.Uint64(p[8:]) == o.seed) {
				pages++
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_ = args
	fmt.Println("pages", pages, "nonzero", nonzero)
	return nil
}

// aligned is memory that O_DIRECT takes.
func aligned(n int) []byte {
	m, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	return m
}
