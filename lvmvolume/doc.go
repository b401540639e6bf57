// Package lvmvolume is Docker's volume driver mos-lvm: volumes with a hard size
// on LVM, or on loop images where there is no volume group.
//
// # The life of a volume
//
// Create makes the blocks with the record in one act, in state creating, and
// formats them. The state ready is written later, for several volumes at once,
// and by the first Mount at the latest: until then nobody had the volume, so
// that a restart may format it again and finish it. Mount attaches, grows the
// file system where its blocks were grown, mounts, and gives the container the
// directory _data; Unmount only notes that a container is gone. Remove moves the
// volume to the recycle bin, from where it is purged after a while or when
// space is needed.
//
//	request ─ spec ─► observe ─► plan ─► steps ─► LVM, images, mkfs, mounts
//	                    ▲                  ▲
//	      start, every interval:  places list themselves + plan.Repair
//
// # What it promises
//
// A size is a hard limit. Get and List answer from memory and run no command;
// Get says "no such volume" only when that is certain, since Docker forgets what
// it knows of a volume that it cannot get, and hangs up when it is not. Whether
// somebody uses a volume is asked of the kernel, never of a counter: Docker's
// mount ids are a hint that keeps a volume mounted a little longer. A mount is
// looked at before it is handed out. Each call may be repeated and cut off
// anywhere. With the daemon stopped, containers go on.
//
// # Who owns which state
//
// Volumes: LVM's tags, or the small file beside an image; the index in memory is
// rebuilt from one report of LVM and one look at the folder. Mounts: the kernel.
// Which volume groups are expected: a file in the state directory.
//
// No call to Docker is made inside a plugin call: dockerd would wait for
// itself. Only the watchdog and the admin API ask it.
package lvmvolume
