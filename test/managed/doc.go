// Package managed is the life of both drivers as managed plugins, from their installation
// by a registry until nothing is left. It is told in shell lines, so that every host can
// live it: one of a rig, whose volumes are loop images, and a VM, whose are on LVM.
package managed
