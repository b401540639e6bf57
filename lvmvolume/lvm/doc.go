// Package lvm drives LVM: volume groups, thin pools and logical volumes. It
// runs the program lvm and reads its JSON reports, and asks dmsetup for the
// fill of pools. It knows nothing of Docker.
//
// A [Client] holds no state: each answer was asked for. Names and tags are
// checked before they become arguments. Every verb may be repeated: what is
// there in the wished form, or is gone, is no error, except that a create under
// a taken name is AlreadyExists, since only the caller's tags tell whose it is.
//
// # Which devices are seen
//
// All commands run with a devices file of our own below /etc/lvm/devices, so
// volume groups of others are neither touched nor scanned, and a device is found
// by its identity (serial number, WWN, backing file of a loop device) when its
// name changes. lvm 2.03.16 takes a missing devices file for "all devices"; hence
// the client makes an empty one, which means "none", before the first command.
//
// # Locks
//
// Each command that changes a volume group holds LVM's lock of that group
// from its start to its end, so two changes of one group run one after the other,
// in whatever order the kernel lets them; reports share the lock and wait for
// changes. Commands on different groups run side by side, except those that
// change the devices file ([Client.AddDevices], [Client.RemoveDevices],
// [Client.CreateVG], [Client.ExtendVG], [Client.RemoveVG]). [Client.Pools],
// [Client.ThinUses] and [Client.PoolStatus] ask the kernel and take no lock.
// Batches ([Client.Remove], [Client.Retag], [Client.Activate]) take less than half
// the time of their single commands: 276 ms against 8 times 83 for a tag on 8 of
// 1,000 volumes.
//
// # The end of a context
//
// A report is cut when its context ends. A change that has begun is not: lvm
// killed at the wrong moment leaves a device suspended, and all who write to it
// hanging, until [Client.Refresh]. Changes end by themselves or at [Config.Limit].
//
// # Crash rule
//
// A volume's tags are written by the command that makes it. Whatever cuts the
// command, its volume is absent or carries them.
package lvm
