// Package mounts asks the kernel who uses a block device. It keeps no state and
// changes nothing: what a driver remembers about mounts is a hint, and this is
// the truth that the hint is checked with.
//
// [At] looks at one path in the mount namespace of the process. [Take] reads
// the mounts of every mount namespace of the machine, once, and the [Snapshot]
// then says for any number of devices who has them mounted: [Snapshot.Holders].
//
// # Copies and users
//
// A new mount namespace begins with a copy of all mounts, so a device that we
// mount may show in dozens of namespaces that do not use it. Such a copy has the
// root of the file system ("/") at the very path where we mounted it. Whatever
// else has the device mounted is a user: a bind of a directory of it (the root
// field is then "/_data"), or a mount at another path.
//
// # What it cannot see
//
//   - Namespaces are found through /proc/PID/ns/mnt. A process of another PID
//     namespace that is no child of ours has no entry there: in a container
//     without the host's PID namespace this package sees next to nothing.
//     [Snapshot.Blind] tells.
//   - A namespace that no process is in (it is kept by an open or bound file) has
//     no entry either, nor has a mount that was detached (MNT_DETACH) while files
//     are open in it. Both keep the device open: the last word before a device is
//     taken away is the kernel's own refusal to do so.
//   - Processes come and go while we look. One that ends is skipped; one that
//     begins has its namespace from its parent, which we saw, or has mounted
//     after we looked.
package mounts
