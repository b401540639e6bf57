// Package lvmtest stands in for LVM in tests, and makes real volume groups for
// them. [Fake] is a runner that behaves like the programs lvm and dmsetup for
// the commands that package lvm issues; [Start] makes a group on a loop device;
// [Suite] is what both have to pass.
package lvmtest
