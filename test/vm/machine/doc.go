// Package machine runs QEMU machines of the VM rig, without a test around them.
//
// A [Machine] lives in a folder of its own: its disks, its console log and
// vm.json, which says what the machine is made of and which process it is.
// Any process that knows the folder can [Open] the machine, run commands in it
// and cut its power; none needs to be the one that started it.
//
// The life of a machine is [Create], [Machine.Boot], any number of
// [Machine.PowerCut] and [Machine.Reboot], and [Machine.Remove], which ends the
// process and takes the folder away. Two processes must not start or stop the
// same machine at once; the warm machine has a lock for that, see [Warm].
//
// A process is known by its id and its start time, so that a signal never hits
// a stranger that was given the same id.
package machine
