// Package vm gives a test a Linux system of its own: Debian 13 with systemd,
// Docker 26, the kernel's Open vSwitch, device-mapper and cgroup v2, in QEMU.
//
//	func TestX(t *testing.T) {
//		m := vm.Start(t, vm.Config{})
//		m.MustRun(t, "docker run --rm "+m.TestImage(t)+" true")
//		m.MustPowerCut(t)
//	}
//
// The machine is emulated: a boot takes half a minute, a docker run four
// seconds. A test of a whole package runs faster in the warm machine, see
// README.md. Times measured inside are not those of a real machine.
package vm
