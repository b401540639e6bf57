package e2evm

import (
	"strings"
	"time"
)

// inits makes the groups that the other parts use: mosvg on two disks, and a
// trial group in a file.
func (s *system) inits() {
	s.want("docker mos volume status --format '{{.Default}}' 2>/dev/null || docker mos volume status | grep -o loop | head -1", "loop")
	// Somebody's file system, and somebody's group.
	s.sh("mkfs.ext4 -q -L precious /dev/disk/by-id/virtio-pv0")
	s.refused("mos-lvm init /dev/disk/by-id/virtio-pv0", "ext4", "force-wipe")
	s.refused("mos-lvm init /dev/disk/by-id/virtio-pv2", "LVM2", "force-wipe")
	s.refused("mos-lvm init /dev/vdb", "in use")
	s.want("blkid -s LABEL -o value /dev/disk/by-id/virtio-pv0; ! grep -c IDTYPE= /etc/lvm/devices/mos-lvm.devices", "precious\n0")

	// A disk of a group whose metadata is gone: a vgcreate that is killed at its worst moment leaves that.
	const lost = "--devicesfile mos-lvm.devices"
	s.sh("wipefs -qa /dev/disk/by-id/virtio-pv0; lvmdevices " + lost + " --yes --adddev $(readlink -f /dev/disk/by-id/virtio-pv0); vgcreate -q " + lost + " --yes half /dev/disk/by-id/virtio-pv0; dd if=/dev/zero of=/dev/disk/by-id/virtio-pv0 bs=4k seek=1 count=255 oflag=direct status=none")
	s.want("pvs "+lost+" --noheadings -o vg_name 2>/dev/null | xargs", "[unknown]")
	s.refused("mos-lvm init /dev/disk/by-id/virtio-pv0", "nothing can be read", "force-wipe")

	// Cut off at some moments, then repeated.
	for _, after := range []string{"0.7", "2", "4"} {
		s.try("setsid mos-lvm init -force-wipe /dev/disk/by-id/virtio-pv0 /dev/disk/by-id/virtio-pv1 >/dev/null & p=$!; sleep " + after + "; kill -9 $p; pkill -9 -x lvm; wait $p")
	}
	out := s.sh("mos-lvm init -force-wipe /dev/disk/by-id/virtio-pv0 /dev/disk/by-id/virtio-pv1 2>&1 || docker mos volume pool")
	s.t.Logf("init after three cuts: %s", out)
	s.want("lvs --devicesfile mos-lvm.devices --noheadings -o lv_name,zero,lv_layout mosvg | xargs", "mos-pool zero thin,pool")
	s.refused("mos-lvm init -force-wipe /dev/disk/by-id/virtio-pv0 /dev/disk/by-id/virtio-pv1", "ours already")
	s.refused("mos-lvm init -force-wipe -vg other /dev/disk/by-id/virtio-pv0", "mosvg")

	s.sh("mos-lvm init -size 1g -vg trial")
	s.refused("mos-lvm init -size 900g -vg large", "too little")
	s.want("docker volume create -d mos-lvm -o size=64m first && docker volume inspect -f '{{.Status.type}} {{.Status.vg}}' first", "first\nthin mosvg")
	s.want("docker volume create -d mos-lvm -o size=64m -o vg=trial -o fs=ext4 tried && docker volume inspect -f '{{.Status.type}} {{.Status.vg}}' tried", "tried\nthin trial")
	s.refused("docker volume create -d mos-lvm -o size=64m -o vg=foreign other", "foreign", "adopt")
	s.want("lvs --devicesfile mos-lvm.devices --noheadings -o vg_name | sort -u | xargs", "mosvg trial")
	for _, v := range []string{"first", "tried"} {
		s.sh("/opt/mos/bin/volumecheck write -volume " + v + " -file f -seed 5 -count 100")
	}
}

// comesBack cuts the power under running containers: they come back with their
// data, also those of the trial group, whose disk is a file.
func (s *system) comesBack() {
	s.sh(run("-d --restart always --name lasting -v first:/data") + "/mos/volumecheck write -file /data/f -seed 5 -sync 1 -pause 300ms -resume -count 800")
	s.sh(run("-d --restart always --name tried -v tried:/data") + "/mos/volumecheck write -file /data/f -seed 5 -sync 1 -pause 300ms -resume -count 800")
	s.sh("docker volume create -d mos-lvm -o size=64m stopped && /opt/mos/bin/volumecheck write -volume stopped -file f -seed 6 -count 50")
	s.settle(time.Minute, "docker logs lasting | grep -q synced && docker logs tried | grep -q synced && sync -f /var/lib/docker")
	acked := map[string]string{}
	for _, c := range []string{"lasting", "tried"} {
		acked[c] = s.sh("docker logs " + c + " | tail -1 | cut -d' ' -f2")
	}
	s.MustPowerCut(s.t)
	s.settle(3*time.Minute, "docker inspect -f '{{.State.Running}}' lasting tried | grep -c true | grep -q 2")
	for c, n := range acked {
		// The log of before the cut may have lost its end; what counts is what the
		// container found.
		s.settle(time.Minute, "docker logs "+c+" | grep resumed | tail -1 | awk '{exit !($2 >= "+n+")}'")
		s.t.Logf("%s: %s blocks were synced, then %s", c, n, s.sh("docker logs "+c+" | grep resumed | tail -1"))
	}
	s.sh("/opt/mos/bin/volumecheck check -volume stopped -file f -seed 6 -count 50")
	if out := s.try("docker mos audit"); !strings.Contains(out, "nothing is left over") {
		s.settle(time.Minute, "docker mos audit")
	}
}
