package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// newVolumes is a lab of volumes whose daemon works as on a real host.
func newVolumes(b *testing.B, engine rig.Engine, args ...string) *lab.Host {
	b.Helper()
	return lab.NewVolumes(b, rig.Config{Engine: engine}, append([]string{"-log.level=info", "-interval=1m", "-linger=10s", "-trash.keep=0s"}, args...)...).Hosts[0]
}

// sh is how many milliseconds a script takes on the host.
func sh(b *testing.B, h *lab.Host, script string) float64 {
	b.Helper()
	start := time.Now()
	h.MustExec(b, "sh", "-ec", script)
	return ms(start)
}

func ms(start time.Time) float64 { return float64(time.Since(start).Microseconds()) / 1000 }

// byHand makes the same volume as the driver, as a script would: all commands in
// one shell, so that only the first is waited for by us. It has no record. What
// mkfs wrote is on the disk, since mkfs syncs it; that the file and its name are
// is promised only when both are synced, as the driver does.
const (
	byHand       = "cd /var/lib/mos; fallocate -l 1G hand.img; dev=$(losetup -f --show --direct-io=on hand.img); %s $dev >/dev/null; losetup -d $dev"
	byHandSynced = byHand + "; sync hand.img; sync ."
)

// BenchmarkVolumeCreate compares making a volume of 1 GiB with a script that does
// it by hand, with one whose volume a power cut does not take, and with Docker's
// own driver, which makes a directory.
func BenchmarkVolumeCreate(b *testing.B) {
	h := newVolumes(b, rig.EngineNew)
	e := engine{client(h.Path("/run/docker/plugins/mos-lvm.sock"))}
	defer e.http.CloseIdleConnections()
	mkfs := map[string]string{"ext4": "mkfs.ext4 -q -m0 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1", "xfs": "mkfs.xfs -q -K"}
	scripts := map[string]string{"hand": byHand, "synced": byHandSynced}
	ours, hand := map[string][]float64{}, map[string]map[string][]float64{"hand": {}, "synced": {}}
	var whole, local []float64
	round := 0
	for b.Loop() {
		for fs, command := range mkfs {
			for _, who := range turn(round, "ours", "hand", "synced") {
				if script, ok := scripts[who]; ok {
					hand[who][fs] = append(hand[who][fs], sh(b, h, fmt.Sprintf(script, command)))
					h.MustExec(b, "rm", "/var/lib/mos/hand.img")
					continue
				}
				start := time.Now()
				e.must(b, "VolumeDriver.Create", m{"Name": "bench", "Opts": m{"size": "1g", "fs": fs}})
				ours[fs] = append(ours[fs], ms(start))
				e.must(b, "VolumeDriver.Remove", m{"Name": "bench"})
			}
		}
		whole = append(whole, timed(b, h, "volume", "create", "-d", "mos-lvm", "-o", "size=1g", "bench"))
		h.D("volume", "rm", "bench")
		local = append(local, timed(b, h, "volume", "create", "bench"))
		h.D("volume", "rm", "bench")
		round++
	}
	for fs := range mkfs {
		for who, peer := range map[string]string{"hand": "fallocate, losetup and mkfs by hand", "synced": "the same, image and folder synced"} {
			results.add(against("volume create, loop, "+fs, "ms", ours[fs], peer, hand[who][fs], goal{limit: 1.15, ofRatio: true}))
		}
	}
	results.add(against("docker volume create, loop, ext4", "ms", whole, "local driver", local, goal{}))
}

// BenchmarkVolumeMount compares mounting and unmounting with a script.
func BenchmarkVolumeMount(b *testing.B) {
	h := newVolumes(b, rig.EngineNew, "-linger=0s")
	e := engine{client(h.Path("/run/docker/plugins/mos-lvm.sock"))}
	defer e.http.CloseIdleConnections()
	e.must(b, "VolumeDriver.Create", m{"Name": "bench", "Opts": m{"size": "1g"}})
	h.MustExec(b, "sh", "-ec", "cd /var/lib/mos; fallocate -l 1G hand.img; mkfs.ext4 -q hand.img; mkdir -p hand")
	var ours, hand []float64
	for b.Loop() {
		start := time.Now()
		e.must(b, "VolumeDriver.Mount", m{"Name": "bench", "ID": "a"})
		ours = append(ours, ms(start))
		e.must(b, "VolumeDriver.Unmount", m{"Name": "bench", "ID": "a"})
		hand = append(hand, sh(b, h, "cd /var/lib/mos; dev=$(losetup -f --show --direct-io=on hand.img); mount $dev hand; umount hand; losetup -d $dev"))
		h.MustExec(b, "sh", "-ec", "while grep -q mos-lvm/mnt /proc/mounts; do sleep 0.05; done")
	}
	results.add(against("volume mount, loop", "ms", ours, "losetup, mount, umount by hand", hand, goal{}))
	e.must(b, "VolumeDriver.Remove", m{"Name": "bench"})
}

// BenchmarkVolumeIO compares overwriting a file on a volume with overwriting one
// on the raw backend, a loop device with the same file system that was attached
// and mounted by hand, and one of the file system that holds the image.
func BenchmarkVolumeIO(b *testing.B) {
	h := newVolumes(b, rig.EngineNew)
	h.D("volume", "create", "-d", "mos-lvm", "-o", "size=1g", "bench")
	h.D("run", "-d", "--name", "holder", "-v", "bench:/data", rig.Image, "sleep", "100000")
	dir := h.D("volume", "inspect", "-f", "{{.Mountpoint}}", "bench")
	jobs := map[string]string{"randwrite 4k": "--rw=randwrite --bs=4k --iodepth=16", "write 1M": "--rw=write --bs=1M --iodepth=4"}
	h.MustExec(b, "sh", "-ec", fmt.Sprintf(byHand, "mkfs.ext4 -q -m0 -E nodiscard,assume_storage_prezeroed=1")+"; mkdir -p hand; mount $(losetup -f --show --direct-io=on hand.img) hand")
	b.Cleanup(func() {
		h.MustExec(b, "sh", "-ec", "cd /var/lib/mos; dev=$(findmnt -no SOURCE hand); umount hand; losetup -d $dev; rm hand.img")
	})
	const hand, file = "loop device by hand", "file of the host"
	dirs := map[string]string{"ours": dir, hand: "/var/lib/mos/hand", file: "/var/lib/mos"}
	for _, dir := range dirs {
		// All blocks are there, and were written, before they are measured.
		h.MustExec(b, "dd", "if=/dev/zero", "of="+dir+"/fio.bin", "bs=1M", "count=256", "oflag=direct", "conv=fsync", "status=none")
		b.Cleanup(func() { h.MustExec(b, "rm", dir+"/fio.bin") })
	}
	got := map[string]map[string][]float64{}
	round := 0
	for b.Loop() {
		for name, job := range jobs {
			if got[name] == nil {
				got[name] = map[string][]float64{}
			}
			for _, who := range turn(round, "ours", hand, file) {
				got[name][who] = append(got[name][who], fio(b, h, dirs[who], job))
			}
		}
		round++
	}
	for name, by := range got {
		results.add(against("fio "+name+", loop", "MiB/s", by["ours"], hand, by[hand], goal{limit: 0.97, ofRatio: true, atLeast: true}))
		results.add(against("fio "+name+", loop", "MiB/s", by["ours"], file, by[file], goal{}))
	}
}

// fio writes for three seconds, past the page cache, and returns MiB a second.
func fio(b *testing.B, h *lab.Host, dir, job string) float64 {
	b.Helper()
	out := h.MustExec(b, "sh", "-ec", "cd "+dir+"; fio --name=bench --filename=fio.bin --size=256m --ioengine=libaio --direct=1 --time_based --runtime=3 --ramp_time=1 --output-format=json "+job)
	var r struct {
		Jobs []struct {
			Write struct {
				Bytes float64 `json:"bw_bytes"`
			} `json:"write"`
		} `json:"jobs"`
	}
	if i := strings.IndexByte(out, '{'); i < 0 || json.Unmarshal([]byte(out[i:]), &r) != nil || len(r.Jobs) != 1 {
		b.Fatalf("fio says %s", out)
	}
	return r.Jobs[0].Write.Bytes / (1 << 20)
}

// BenchmarkVolumeCrowd makes a thousand volumes and looks at the daemon's memory
// and at how fast Docker's questions are answered. It has one round.
func BenchmarkVolumeCrowd(b *testing.B) {
	h := newVolumes(b, rig.EngineNew)
	e := engine{client(h.Path("/run/docker/plugins/mos-lvm.sock"))}
	defer e.http.CloseIdleConnections()
	empty := memoryOf(b, h.Pid(lab.Lvm))
	start := time.Now()
	each(b, func(i int) error {
		_, err := e.call("VolumeDriver.Create", m{"Name": "crowd" + strconv.Itoa(i), "Opts": m{"size": "16m"}})
		return err
	})
	b.Logf("%d volumes made in %v", crowd, time.Since(start).Round(time.Second))
	b.Cleanup(func() {
		each(b, func(i int) error {
			_, err := e.call("VolumeDriver.Remove", m{"Name": "crowd" + strconv.Itoa(i)})
			return err
		})
	})
	// A call that looks at nothing has the tail of the machine and of HTTP.
	var mu sync.Mutex
	var gets, nothing []float64
	each(b, func(i int) error {
		start := time.Now()
		_, err := e.call("VolumeDriver.Get", m{"Name": "crowd" + strconv.Itoa(i)})
		get := ms(start)
		start = time.Now()
		_, err2 := e.call("VolumeDriver.Capabilities", m{})
		mu.Lock()
		defer mu.Unlock()
		gets, nothing = append(gets, get), append(nothing, ms(start))
		return errors.Join(err, err2)
	})
	var lists []float64
	for range 5 {
		lists = append(lists, timed(b, h, "volume", "ls", "-q"))
	}
	start = time.Now()
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			if _, err := e.call("VolumeDriver.Get", m{"Name": "crowd" + strconv.Itoa(i)}); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	name := fmt.Sprintf("with %d volumes: ", crowd)
	results.add(figure{name: fmt.Sprintf("%d Gets at once", crowd), unit: "ms", value: ms(start)})
	results.add(figure{name: "memory of mos-lvm without volumes", unit: "MiB", value: empty})
	results.add(figure{name: name + "memory of mos-lvm", unit: "MiB", value: memoryOf(b, h.Pid(lab.Lvm)), goal: goal{limit: 40}})
	for _, q := range []float64{0.5, 0.99} {
		ours, bare := quantile(q, gets), quantile(q, nothing)
		results.add(figure{
			name: fmt.Sprintf("%sGet, p%.0f", name, 100*q), unit: "ms", value: ours, goal: goal{limit: 1},
			peer: "a call that looks at nothing", other: bare, ratio: ours / bare,
		})
	}
	results.add(figure{name: name + "docker volume ls", unit: "ms", value: median(lists), goal: goal{limit: 100}})
	for b.Loop() {
		e.must(b, "VolumeDriver.Get", m{"Name": "crowd0"})
	}
}

// memoryOf is the memory of a process in MiB.
func memoryOf(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	_, v, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}
