// Package filesystem makes, checks, grows and mounts the file systems of
// volumes: ext4 and xfs on a block device. It decides nothing and keeps no state;
// every verb may be repeated.
//
// # Which is done how
//
// Super blocks are read and mounted file systems are grown without a command, so
// that the calls which a volume needs each day start no process. [FS] holds the
// verbs that need programs: mkfs, e2fsck, resize2fs, wipefs. A program that is not
// installed gives ErrFailedPrecondition with the name of its Debian package.
//
// # A life
//
//	FS.Make ─ Mount ─ Usage … GrowOnline … Freeze, Thaw ─ Unmount
//	              └─ or, when NeedsGrow: FS.GrowOffline ─┘
//
// [FS.Make] overwrites what is on the device. It belongs on a device that was made
// in the same transaction, never on one that merely looks empty; for a device that
// an operator names, [FS.Signatures] says what he has on it.
//
// # What mkfs is told
//
// No discard: on a file with reserved blocks that gives the whole reserve back (seen:
// a plain mkfs.ext4 left 33 MiB of a reserve of 1 GiB). On a device that reads as
// zeros ext4 need not write its inode tables at all, neither now nor by the kernel's
// thread after the first mount: that thread zeroes with unmap allowed, which on
// a loop device punches the tables (16 MiB per GiB) out of the reserve, and on
// a thin volume takes blocks of the pool for nothing. Blocks and xfs sectors have
// 4096 bytes, so that the file system can move to a disk with such sectors.
//
// xfs is never checked or repaired here: its log is replayed by mounting it, and
// only by that.
package filesystem
