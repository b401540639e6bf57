package e2evm

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// resizes lets writers run through growth, on each type and file system.
func (s *system) resizes() {
	type grown struct {
		name, opts, pad, to string
		count               int
	}
	var all []grown
	for _, kind := range []string{"thin-ext4", "linear-xfs", "striped-ext4", "thin-xfs", "linear-ext4"} {
		typ, fs, _ := strings.Cut(kind, "-")
		g := grown{kind, "-o size=64m", "25m", "128m", 900}
		if fs == "xfs" {
			g = grown{kind, "-o fs=xfs -o size=320m", "200m", "400m", 1000}
		}
		g.opts += " -o type=" + typ
		all = append(all, g)
	}
	if os.Getenv("MOS_FULL") == "" {
		all = all[:3] // each type, each file system
	}
	inContainer := func(name string) bool { return name == "thin-ext4" || name == "linear-xfs" } // each costs emulated seconds
	for _, g := range all {
		// The writer needs more than the old size. However slow the machine is, it does not
		// come that far before there is more: it goes on over a block that it has.
		s.sh("docker volume create -d mos-lvm " + g.opts + " " + g.name)
		writer := fmt.Sprintf("-seed 3 -count %d -sync 20 -pause 15ms -hold 400 -until /tmp/grown-%s", g.count, g.name)
		in := ""
		if inContainer(g.name) {
			in = "docker exec w-" + g.name + " "
			s.sh(run("-d --name w-"+g.name+" -v "+g.name+":/data") + "sh -c 'fallocate -l " + g.pad + " /data/pad; exec /mos/volumecheck write -file /data/f " + writer + "'")
		} else {
			s.sh("at=$(/opt/mos/bin/volumecheck call Mount '{\"Name\":\"" + g.name + "\",\"ID\":\"pad\"}' | sed 's/.*Mountpoint\":\"\\([^\"]*\\).*/\\1/') && fallocate -l " + g.pad + " $at/pad" +
				" && (setsid sh -c '/opt/mos/bin/volumecheck write -volume " + g.name + " -file f " + writer + "; echo $?' >/tmp/w-" + g.name + " 2>&1 </dev/null &)" +
				" && /opt/mos/bin/volumecheck call Unmount '{\"Name\":\"" + g.name + "\",\"ID\":\"pad\"}'")
		}
		s.sh("docker mos volume resize " + g.name + " " + g.to + " && " + in + "touch /tmp/grown-" + g.name)
	}
	for _, g := range all {
		if inContainer(g.name) {
			s.want("docker wait w-"+g.name, "0")
			s.want("docker logs w-"+g.name+" | tail -1", fmt.Sprint("synced ", g.count))
			continue
		}
		s.settle(3*time.Minute, "tail -1 /tmp/w-"+g.name+" | grep '^[0-9]*$'")
		s.want("tail -2 /tmp/w-"+g.name, fmt.Sprintf("synced %d\n0", g.count))
	}
	s.sh("docker rm $(docker ps -aq --filter name=w-) >/dev/null")
	// Looked at with fresh eyes, after the pages are gone.
	s.sh("echo 3 >/proc/sys/vm/drop_caches")
	for _, g := range all {
		s.sh("/opt/mos/bin/volumecheck check -volume " + g.name + fmt.Sprintf(" -file f -seed 3 -count %d", g.count))
	}
	s.refused("docker mos volume resize thin-ext4 64m", "shrink")
	s.sh("docker mos volume resize thin-ext4 128m")
	// The size is hard, and what was written before the end lasts.
	s.refused("/opt/mos/bin/volumecheck write -volume thin-ext4 -file g -seed 4", "no space left")
	s.sh("/opt/mos/bin/volumecheck check -volume thin-ext4 -file f -seed 3 -count 900")
	stripes := s.sh("lvs --devicesfile mos-lvm.devices --noheadings -o stripes mosvg | sort -n | tail -1 | xargs")
	if stripes != "2" {
		s.t.Errorf("the striped volume has %s stripes", stripes)
	}
	// Not mounted: the file system follows at the next mount.
	s.sh("docker volume create -d mos-lvm -o size=64m later")
	s.idle()
	s.sh("docker mos volume resize later 200m")
	s.want("/opt/mos/bin/volumecheck stat -volume later | awk '{print ($2 > 150)}'", "1")
	for _, g := range all {
		s.sh("docker volume rm " + g.name + " >/dev/null")
	}
	s.sh("docker volume rm later >/dev/null")
}

// bins takes volumes through the recycle bin.
func (s *system) bins() {
	s.sh("docker mos volume trash purge --all --force >/dev/null")
	types := []string{"linear", "thin"}
	if os.Getenv("MOS_FULL") == "" {
		types = types[:1] // which we overwrite; the pool of the other zeroes, as inits saw
	}
	for _, typ := range types {
		s.sh("docker volume create -d mos-lvm -o size=64m -o type=" + typ + " gone")
		s.sh("/opt/mos/bin/volumecheck write -volume gone -file f -seed 77 -count 200")
		id := s.sh("docker volume inspect -f '{{.Status.lv}}' gone")
		s.sh("docker volume rm gone")
		s.want("docker mos volume trash ls --format '{{.Name}}'", "gone")
		// The name is free at once, and the old one comes back under another.
		s.sh("docker volume create -d mos-lvm -o size=64m gone && docker mos volume trash restore --as back gone")
		s.sh("/opt/mos/bin/volumecheck check -volume back -file f -seed 77 -count 200")
		s.want("docker volume inspect -f '{{.Status.lv}}' back", id)
		places := s.sh("lvs --devicesfile mos-lvm.devices --noheadings -o seg_pe_ranges mosvg/" + id)
		pages := s.raw(id, 77)
		if pages < 200*16 {
			s.t.Errorf("%s: the scan sees %d pages of the old volume", typ, pages)
		}
		s.sh("docker volume rm back gone >/dev/null && docker mos volume trash purge --all --force >/dev/null")
		s.sh("docker volume create -d mos-lvm -o size=64m -o type=" + typ + " next")
		next := s.sh("docker volume inspect -f '{{.Status.lv}}' next")
		if now := s.sh("lvs --devicesfile mos-lvm.devices --noheadings -o seg_pe_ranges mosvg/" + next); typ == "linear" && now != places {
			s.t.Errorf("the next volume has other blocks, this shows nothing: %s, was %s", now, places)
		}
		if pages := s.raw(next, 77); pages != 0 {
			s.t.Errorf("%s: the next volume shows %d pages of the one before", typ, pages)
		}
		// Written to, and read beside it: chunks are given anew to thin volumes.
		s.sh("/opt/mos/bin/volumecheck write -volume next -file f -seed 78 -count 300")
		if pages := s.raw(next, 77); pages != 0 {
			s.t.Errorf("%s: the next volume shows %d pages of the one before, after it was written to", typ, pages)
		}
		s.sh("docker volume rm next >/dev/null && docker mos volume trash purge next >/dev/null")
	}
	s.sh("docker volume create -d mos-lvm -o size=64m held && " + run("-d --name holds -v held:/data") + "sleep 1000")
	s.refused("docker volume rm held", "in use")
	s.refused("volumecheck=1; curl -s --unix-socket /run/mos/mos-lvm.sock -d '{\"volume\":\"held\"}' -f http://x/v1/remove")
	s.sh("docker rm -f holds && docker volume rm held && docker mos volume trash purge held >/dev/null")
}

// raw counts the pages of a seed on a volume's device.
func (s *system) raw(lv string, seed int) int {
	s.t.Helper()
	// Held open, since the sweep takes what nobody has; it may come between the two.
	out := s.sh(fmt.Sprintf(`dev=/dev/mosvg/%s; sync && echo 3 >/proc/sys/vm/drop_caches
		for i in 1 2 3 4 5; do
			lvchange --devicesfile mos-lvm.devices -ay -K mosvg/%s
			sh -c "exec 9<$dev && /opt/mos/bin/volumecheck scan -file $dev -seed %d" && exit
		done; exit 1`, lv, lv, seed))
	var pages, nonzero int
	if _, err := fmt.Sscanf(out, "pages %d nonzero %d", &pages, &nonzero); err != nil {
		s.t.Errorf("scan said %q: %v", out, err)
	}
	return pages
}

// copies takes snapshots of volumes in use and copies of them.
func (s *system) copies() {
	for _, fs := range []string{"ext4", "xfs"} {
		size := map[string]string{"ext4": "64m", "xfs": "320m"}[fs]
		s.sh("docker volume create -d mos-lvm -o size=" + size + " -o fs=" + fs + " -o uid=1000 -o mode=0750 src")
		s.sh("setsid -f /opt/mos/bin/volumecheck write -volume src -file f -seed 9 -sync 1 -pause 50ms -count 600 >/tmp/src.log 2>&1")
		s.settle(time.Minute, "grep -q 'synced 20$' /tmp/src.log")
		s.sh("docker mos volume snapshot create src monday")
		at := s.sh("tail -1 /tmp/src.log | cut -d' ' -f2")
		s.sh("docker mos volume clone src@monday mon && docker mos volume clone -o size=450m src@monday large && docker mos volume clone src live")
		s.refused("docker mos volume clone -o size=32m src@monday small", "smaller")
		// All of them beside their origin, which is mounted still.
		for _, c := range []string{"mon", "large", "live"} {
			s.sh("/opt/mos/bin/volumecheck check -volume " + c + " -file f -seed 9 -count 20")
		}
		s.want("/opt/mos/bin/volumecheck stat -volume large | awk '{print ($2 > 380), $4, $6}'", "1 1000 750")
		s.sh("pkill -TERM -x volumecheck; while pgrep -x volumecheck; do sleep 0.2; done; ! grep error /tmp/src.log")
		s.t.Logf("%s: the snapshot was taken before block %s", fs, at)
		// A clone outlives its source, snapshots and all.
		s.sh("docker mos volume snapshot rm src@monday || docker mos volume snapshot rm src monday")
		s.sh("docker volume rm src && docker mos volume trash purge src >/dev/null")
		s.sh("/opt/mos/bin/volumecheck check -volume mon -file f -seed 9 -count 20 && /opt/mos/bin/volumecheck write -volume mon -file f -seed 9 -resume -count 300")
		if out := s.sh("docker mos volume ls --format '{{.Name}}'"); strings.Contains(out, "src") {
			s.t.Errorf("the source is there still: %s", out)
		}
		s.sh("docker volume rm mon large live >/dev/null && docker mos volume trash purge --all --force >/dev/null")
	}
	s.sh("docker volume create -d mos-lvm -o type=linear -o size=64m thick")
	s.refused("docker mos volume snapshot create thick", "thin")
	s.sh("docker volume rm thick >/dev/null")
}
