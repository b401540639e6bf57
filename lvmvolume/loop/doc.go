// Package loop keeps volumes in image files and gives them to the kernel as loop
// devices, without the command losetup. It decides nothing and keeps no state:
// what is attached is asked of the kernel each time.
//
// # The reserve
//
// [Create] reserves every block of an image when it makes it, so that a volume never
// runs into a full host: what was promised is there. Three things would give blocks
// back, and with them the promise:
//
//   - mkfs that discards: package filesystem tells it not to;
//   - discards by hand or by the mount option: FITRIM, fstrim, "discard";
//   - zeroing that may unmap, which the kernel turns into holes: ext4 does so for
//     inode tables and for parts of extents, at any time.
//
// [Attach] therefore turns discards of its devices off (discard_max_bytes=0 in sysfs):
// the loop driver then refuses both, trimming gives ErrNotImplemented, and the
// kernel zeroes by writing. Before Linux 5.19 the driver does not look at that for
// zeroing; [Grow] to the size that an image has fills holes again. Where sysfs cannot
// be written, [Handle.Reserved] is false. The setting cannot be taken back on a live
// device, so that our devices have numbers of their own, from [FirstNumber] up, and
// an unused one is removed by [Detach] and [Sweep].
//
// A clone ([Clone]) shares its blocks with its origin: a write to either needs a new
// block of the host. The caller must keep that much free.
//
// # Attached, as long as it is used
//
// A device is attached with the autoclear flag: the kernel detaches it when the last
// user closes it, a mount being a user. So the caller holds the [Handle] until the
// file system is mounted, closes it then, and has nothing to do after the last
// unmount, in whatever mount namespace that is. A process killed in between leaves
// nothing attached; one killed in [Create] or [Clone] leaves no file, since the file
// has no name until it is whole (on a host's file system without O_TMPFILE it leaves
// a file whose name begins with [PartPrefix]).
//
// # Nodes
//
// Loop devices belong to the machine, /dev to a mount namespace. A node that is
// missing in /dev is made.
package loop
