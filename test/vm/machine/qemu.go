package machine

import (
	"fmt"
	"hash/fnv"
	"strconv"
)

// argv returns QEMU's command line.
func (m *Machine) argv() []string {
	c := m.state.Config
	argv := []string{
		"qemu-system-x86_64", "-name", "mos-vm", "-nodefaults", "-no-user-config", "-display", "none",
		// Emulated. With cx16 QEMU 7.2 corrupts memory under kernel 6.12 and
		// the guest panics; la57 makes each page walk a level longer.
		"-accel", "tcg,thread=multi,tb-size=1024",
		"-cpu", "max,cx16=off,la57=off,pku=off",
		// A reset in the same QEMU 7.2 boots four times slower (the guest finds
		// its timer broken): a reboot ends QEMU, and we start another.
		"-no-reboot",
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemoryMiB),
		"-kernel", m.state.Image.file("vmlinuz"), "-initrd", m.state.Image.file("initrd.img"),
		"-append", m.kernelArgs(),
		"-chardev", "file,id=console,append=on,path=" + m.file(consoleFile), "-serial", "chardev:console",
		"-device", "virtio-rng-pci",
		// The guest reaches nothing outside; only ssh comes in.
		"-netdev", fmt.Sprintf("user,id=rig,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:%d-:22", m.state.Port),
		"-device", "virtio-net-pci,netdev=rig,romfile=,mac=" + mac(m.dir, 0),
	}
	argv = append(argv, disk("root", m.state.Image.file("root.squashfs"), "readonly=on")...)
	argv = append(argv, disk("data", m.file(dataFile), writable)...)
	for i := range c.DisksGiB {
		argv = append(argv, disk(fmt.Sprintf("pv%d", i), m.diskFile(i), writable)...)
	}
	for i, nic := range c.NICs {
		argv = append(argv,
			"-netdev", fmt.Sprintf("dgram,id=nic%d,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", i, nic.Local, nic.Remote),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=nic%d,romfile=,mac=%s", i, nic.MAC))
	}
	return argv
}

func (m *Machine) kernelArgs() string {
	args := "console=ttyS0 net.ifnames=0 mitigations=off apparmor=0 selinux=0 audit=0 quiet loglevel=4 panic=-1 systemd.show_status=0"
	if n := m.state.Config.IdleMinutes; n > 0 {
		args += fmt.Sprintf(" mos.idle=%d", n)
	}
	if m.state.Config.KernelArgs != "" {
		args += " " + m.state.Config.KernelArgs
	}
	return args
}

// writable has no flush reach the host's disk: the host's page cache outlives
// a killed QEMU, so a power cut of the guest loses nothing that the guest had
// written, and fsync costs nothing.
const writable = "cache=unsafe,discard=unmap,detect-zeroes=unmap"

// disk returns the arguments of a disk; inside it is /dev/disk/by-id/virtio-ID.
// The order of the disks is that of /dev/vda, /dev/vdb and so on.
func disk(id, path, options string) []string {
	return []string{
		"-drive", fmt.Sprintf("id=%s,if=none,format=raw,%s,file=%s", id, options, path),
		"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", id, id),
	}
}

// mac returns a hardware address that only card n of the machine in dir has.
func mac(dir string, n byte) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(dir)) // never fails
	s := h.Sum32()
	return fmt.Sprintf("52:54:%02x:%02x:%02x:%02x", byte(s>>16), byte(s>>8), byte(s), n)
}
