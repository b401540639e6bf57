package vm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
	"github.com/mosdocker/mosdocker/test/vm/machine"
)

// long skips a test of the rig alone, but for MOS_FULL: test/e2evm boots the same machines,
// cuts their power and joins them, and test/ring runs packages in the warm one, each time.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("MOS_FULL") == "" {
		t.Skip("the long form only: test/night rig")
	}
}

// TestBoot shows what the rig promises: systemd, Docker, the kernel datapath of
// Open vSwitch, thin volumes, cgroup v2.
func TestBoot(t *testing.T) {
	long(t)
	m := vm.Start(t, vm.Config{})
	image := m.TestImage(t)
	for _, tt := range []struct{ name, line, want string }{
		{"systemd", "systemctl is-system-running", "running"},
		{"engine", "docker info -f '{{.ServerVersion}} {{.Driver}} {{.CgroupVersion}}' | sed 's/^26[^ ]*/26/'", "26 overlay2 2"},
		{"container", "docker run --rm " + image + " sh -c 'echo a | sha256sum | cut -c1-8'", "87428fc5"},
		{"privileged", "docker run --rm --privileged " + image + " sh -c 'mount -t tmpfs x /tmp && echo yes'", "yes"},
		{"datapath", "ovs-vsctl add-br br0 && ovs-vsctl get bridge br0 datapath_type && ovs-appctl dpctl/dump-dps", "\"\"\nsystem@ovs-system"},
		{"disk", "blockdev --getsize64 /dev/disk/by-id/virtio-pv0", "8589934592"},
		{"thin", "vgcreate -q vg0 /dev/disk/by-id/virtio-pv0 >&2 && lvcreate -q -T -L 1G vg0/pool >&2 && lvcreate -q -V 2G -T vg0/pool -n a >&2 && " +
			"mkfs.xfs -q /dev/vg0/a && mount /dev/vg0/a /mnt && stat -f -c %T /mnt", "xfs"},
		{"growth", "lvextend -q -L 3G vg0/a >&2 && xfs_growfs /mnt >&2 && lvs --noheadings --units g -o lv_size vg0/a | tr -d ' '", "3.00g"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := m.MustRun(t, tt.line); got != tt.want {
				t.Errorf("%s\ngot  %q\nwant %q", tt.line, got, tt.want)
			}
		})
	}
	t.Run("exit_code", func(t *testing.T) { wantExit(t, m) })
	t.Run("context_ends_the_command", func(t *testing.T) { wantKilled(t, m) })
	t.Run("copy", func(t *testing.T) { wantCopied(t, m) })
}

func wantExit(t *testing.T, m *vm.VM) {
	t.Helper()
	out, errs, err := m.Run(t.Context(), "echo out; echo err >&2; exit 7")
	var exit *machine.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || out != "out\n" || errs != "err\n" {
		t.Errorf("got %q, %q, %v; want out, err and exit code 7", out, errs, err)
	}
}

func wantKilled(t *testing.T, m *vm.VM) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, _, err := m.Run(ctx, "sleep 4242"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	if got := m.MustRun(t, "pgrep -fx 'sleep 4242' || echo none; ls /run/mos-vm-* | wc -l"); got != "none\n1" {
		t.Errorf("left in the VM: %s", got)
	}
}

func wantCopied(t *testing.T, m *vm.VM) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a script"), []byte("#!/bin/sh\necho \"it's $1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.MustCopy(t, dir, "/root/a folder")
	m.MustCopy(t, filepath.Join(dir, "a script"), "/root/deep/script")
	if got := m.MustRun(t, "'/root/a folder/a script' me; /root/deep/script you"); got != "it's me\nit's you" {
		t.Errorf("got %q", got)
	}
	back := filepath.Join(t.TempDir(), "back")
	if err := m.Fetch(t.Context(), "/root/a folder", back); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(back, "a script")); err != nil {
		t.Error(err)
	}
}

// TestPowerCutKeepsTheDisks writes to all that lies on a disk, cuts the power and
// looks at it again; what lies in memory must be gone, or no power was cut.
func TestPowerCutKeepsTheDisks(t *testing.T) {
	long(t)
	m := vm.Start(t, vm.Config{})
	boot := m.MustRun(t, "cat /proc/sys/kernel/random/boot_id")
	id := m.MustRun(t, "cat /etc/machine-id")
	pid := m.PID()
	m.MustRun(t, "docker create --name kept "+m.TestImage(t)+" true")
	m.MustRun(t, "ovs-vsctl add-br br7")
	m.MustRun(t, "vgcreate -q vg0 /dev/disk/by-id/virtio-pv0 && lvcreate -q -W n -L 64M -n lv vg0")
	m.MustRun(t, "printf '[Service]\\nExecStart=/usr/local/bin/own\\nRemainAfterExit=yes\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/own.service && "+
		"printf '#!/bin/sh\\necho own service ran\\n' >/usr/local/bin/own && chmod +x /usr/local/bin/own && systemctl enable own")
	m.MustRun(t, "for d in /var/lib/mos /etc/mos /opt /root; do echo $d >$d/synced; done; echo gone >/etc/gone; sync; (sleep 30; echo late >/var/lib/mos/late) >/dev/null 2>&1 &")

	m.MustPowerCut(t)
	for _, tt := range []struct{ line, want string }{
		{"cat /etc/machine-id", id},
		{"docker ps -a --format '{{.Names}} {{.State}}'", "kept created"},
		{"ovs-vsctl list-br", "br7"},
		{"lvs --noheadings -o lv_name vg0 | tr -d ' '", "lv"},
		{"systemctl is-active own; journalctl -b -o cat -u own | grep -c 'own service ran'", "active\n1"},
		{"cat /var/lib/mos/synced /etc/mos/synced /opt/synced /root/synced", "/var/lib/mos\n/etc/mos\n/opt\n/root"},
		{"ls /etc/gone 2>&1 | grep -c 'No such'", "1"},
		{"journalctl --list-boots -q | wc -l", "2"},
	} {
		if got := m.MustRun(t, tt.line); got != tt.want {
			t.Errorf("after the power cut: %s\ngot  %q\nwant %q", tt.line, got, tt.want)
		}
	}
	if now := m.MustRun(t, "cat /proc/sys/kernel/random/boot_id"); now == boot || m.PID() == pid {
		t.Errorf("the VM was not booted again: boot %s then %s, process %d then %d", boot, now, pid, m.PID())
	}

	m.MustReboot(t)
	if got := m.MustRun(t, "journalctl --list-boots -q | wc -l; cat /var/lib/mos/synced"); got != "3\n/var/lib/mos" {
		t.Errorf("after the reboot: got %q", got)
	}
}

// TestLinkJoinsMachines pings from one machine to another over the kernel
// datapath of both, over a link that is cut and mended.
func TestLinkJoinsMachines(t *testing.T) {
	long(t)
	link := vm.NewLink(t)
	small := func() vm.Config { return vm.Config{NICs: []machine.NIC{link.NIC()}, CPUs: 1, MemoryMiB: 1536} }
	a, b := vm.Start(t, small()), vm.Start(t, small())
	for m, ip := range map[*vm.VM]string{a: "192.0.2.1", b: "192.0.2.2"} {
		m.MustRun(t, "ovs-vsctl add-br br0 && ovs-vsctl add-port br0 eth1 && ip link set eth1 up && ip link set br0 up && ip addr add "+ip+"/24 dev br0")
	}
	ping := "ping -n -q -c 3 -W 5 192.0.2.2 | grep -o '[0-9]* received'; true"
	if got := a.MustRun(t, ping); got != "3 received" {
		t.Errorf("over the link: %s, want 3", got)
	}
	link.Cut()
	if got := a.MustRun(t, "ping -n -q -c 2 -W 1 192.0.2.2 | grep -o '[0-9]* received'; true"); got != "0 received" {
		t.Errorf("over the cut link: %s, want 0", got)
	}
	link.Mend()
	if got := a.MustRun(t, ping); got != "3 received" {
		t.Errorf("over the mended link: %s, want 3", got)
	}
}
