package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Config says what a machine is made of. The zero value is a good machine.
type Config struct {
	// CPUs is the number of processors; 0 means 2.
	CPUs int `json:"cpus"`
	// MemoryMiB is the size of the memory in MiB; 0 means 4096.
	MemoryMiB int `json:"memory_mib"`
	// DataGiB is the size in GiB of the disk that holds what survives a power
	// cut; 0 means 16. The file is sparse.
	DataGiB int `json:"data_gib"`
	// DisksGiB holds the size in GiB of each empty disk; nil means one of 8.
	// Inside they are /dev/disk/by-id/virtio-pv0, -pv1 and so on.
	DisksGiB []int `json:"disks_gib"`
	// NICs holds the network cards after eth0, which is for the rig alone.
	// Inside they are eth1, eth2 and so on.
	NICs []NIC `json:"nics"`
	// KernelArgs is added to the kernel's command line.
	KernelArgs string `json:"kernel_args"`
	// IdleMinutes powers the machine off when no ssh session was there for so
	// long; 0 means never.
	IdleMinutes int `json:"idle_minutes"`
	// Detached lets the machine outlive the process that boots it. Otherwise
	// the kernel kills it when that process ends.
	Detached bool `json:"detached"`
}

// NIC is one network card, a pair of UNIX datagram sockets that carry one
// Ethernet frame a datagram.
type NIC struct {
	// Local is the path of the socket that the machine binds; at most 100
	// bytes.
	Local string `json:"local"`
	// Remote is the path of the socket that the machine sends to. It need not
	// exist, frames are lost then as on a loose cable.
	Remote string `json:"remote"`
	// MAC is the card's hardware address.
	MAC string `json:"mac"`
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.CPUs, 2)
	def(&c.MemoryMiB, 4096)
	def(&c.DataGiB, 16)
	if c.DisksGiB == nil {
		c.DisksGiB = []int{8}
	}
	return c
}

// Image is a built image of the rig: a folder with root.squashfs, vmlinuz,
// initrd.img, key and known_hosts.
type Image struct {
	Dir string `json:"dir"`
}

func (i Image) file(name string) string { return filepath.Join(i.Dir, name) }

// BuildImage returns the image of the recipe test/vm/image, which it builds
// when the cache has none; that takes minutes and needs root. The working
// directory must be inside the module.
func BuildImage(ctx context.Context) (Image, error) {
	dir, err := recipe(ctx)
	return Image{Dir: dir}, err
}

// imagePath returns the folder of the image, built or not.
func imagePath(ctx context.Context) (string, error) { return recipe(ctx, "--path") }

func recipe(ctx context.Context, args ...string) (string, error) {
	script, err := sourceFile("test/vm/image/build")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, script, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build the VM image: %w: %s", err, tail(stderr.String(), 20))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// sourceFile finds a file of the module from any working directory in it.
func sourceFile(name string) (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			file := filepath.Join(dir, name)
			_, err := os.Stat(file)
			return file, err
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find %s: %s is not inside the module, change to a folder of it", name, start)
		}
	}
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
