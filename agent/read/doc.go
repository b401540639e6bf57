// Package read takes the values of an object from the kernel: a [Source] keeps the
// files of one container, set or the host open, and each sample is one pread(2) a
// file and a parser that allocates nothing. Opening a file of a cgroup by package
// os costs nine system calls, which is why others that measure are slower.
//
// A kept file of a removed cgroup gives ENODEV: so [Source.Sample] says that its
// object has ended. Files below /proc/PID/net stay readable after that and keep the
// network namespace alive, so an ended source is closed at once.
package read
