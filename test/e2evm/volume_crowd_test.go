package e2evm

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/vm"
)

// TestCreateAmongAThousandVolumes compares, in a group of a thousand volumes, the
// time to make one more with that of a plain script, then writing to a volume with
// writing to a logical volume that was mounted by hand. It runs with MOS_FULL=1.
func TestCreateAmongAThousandVolumes(t *testing.T) {
	testx.Need(t, testx.VM)
	long(t, "volumes")
	s := installVolumes(t, vm.Config{DisksGiB: []int{10}}, "")
	s.sh("mos-lvm init /dev/disk/by-id/virtio-pv0")
	const n = 1000
	s.crowd(n)
	s.sh("sed -i 's/^linger.*/linger = \"60s\"/; s/^interval = .5s.*/interval = \"60s\"/' /etc/mos/mos-lvm.toml && systemctl restart mos-lvm")
	if got := s.sh("docker volume ls -q -f name=crowd | wc -l"); got != strconv.Itoa(n) {
		t.Fatalf("%s of %d volumes are listed", got, n)
	}
	t.Logf("docker volume ls of %d volumes: %v, docker version: %v", n, s.took("docker volume ls >/dev/null"), s.took("docker version >/dev/null"))
	ours, plain := s.pairs(number(t, "MOS_ROUNDS", 12), 3)
	s.judgePairs(ours, plain)
	s.writes()
}

// crowd puts copies of a volume into the group's metadata: a thousand commands of
// LVM would take an emulated machine an hour. Those volumes are in the records
// only, and nobody mounts them.
func (s *system) crowd(n int) {
	s.t.Helper()
	s.sh("docker volume create -d mos-lvm -o size=16m model >/dev/null")
	s.settle(time.Minute, "lvs --devicesfile mos-lvm.devices --noheadings -o lv_tags mosvg | grep ready")
	s.sh("systemctl stop mos-lvm.socket mos-lvm && vgchange -q -an --devicesfile mos-lvm.devices mosvg && vgcfgbackup -q --devicesfile mos-lvm.devices -f /root/vg mosvg")
	text := s.sh("cat /root/vg")
	block := regexp.MustCompile(`(?ms)^\t\tmos-([0-9a-f]{16}) \{\n.*?^\t\t\}\n`)
	at := block.FindStringSubmatchIndex(text)
	if at == nil || !strings.Contains(text[at[0]:at[1]], "model") {
		s.t.Fatalf("the metadata has no volume:\n%s", text)
	}
	model, id := text[at[0]:at[1]], text[at[2]:at[3]]
	uuid, device := regexp.MustCompile(`(?m)^\t\t\tid = "\S+"`), regexp.MustCompile(`device_id = \d+`)
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	var copies strings.Builder
	for i := range n {
		random := make([]byte, 32)
		for i := range random {
			random[i] = letters[rand.IntN(len(letters))]
		}
		r := string(random)
		c := strings.NewReplacer(id, fmt.Sprintf("%016x", i+1), "model", fmt.Sprintf("crowd%d", i)).Replace(model)
		c = uuid.ReplaceAllString(c, fmt.Sprintf("\t\t\tid = \"%s-%s-%s-%s-%s-%s-%s\"", r[:6], r[6:10], r[10:14], r[14:18], r[18:22], r[22:26], r[26:]))
		copies.WriteString(device.ReplaceAllString(c, fmt.Sprintf("device_id = %d", 1000+i)) + "\n")
	}
	path := filepath.Join(s.t.TempDir(), "vg")
	if err := os.WriteFile(path, []byte(text[:at[1]]+copies.String()+text[at[1]:]+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.MustCopy(s.t, path, "/root/vg")
	s.sh("vgcfgrestore -q --force -y --devicesfile mos-lvm.devices -f /root/vg mosvg && systemctl start mos-lvm.socket mos-lvm")
}

// writes compares fio on a volume with fio on a logical volume of the same pool
// with the same file system.
func (s *system) writes() {
	s.t.Helper()
	s.installFio()
	s.sh("docker volume create -d mos-lvm -o size=400m io >/dev/null && docker run -d --name holder -v io:/data mos-test:1 sleep 100000 >/dev/null")
	s.sh("lvcreate -q -q -y --devicesfile mos-lvm.devices -V 400m --thinpool mosvg/mos-pool -n plainio && mkfs.ext4 -q -m 0 -b 4096 -I 256 -E nodiscard,assume_storage_prezeroed=1 /dev/mosvg/plainio && mkdir -p /mnt/plain && mount /dev/mosvg/plainio /mnt/plain")
	dirs := []string{s.sh("docker volume inspect -f '{{.Mountpoint}}' io"), "/mnt/plain"}
	for _, dir := range dirs { // the pool gives out its blocks at the first write
		s.fio(dir, "--rw=write --bs=1M --end_fsync=1")
	}
	for name, job := range map[string]string{
		"randwrite 4k": "--rw=randwrite --bs=4k --iodepth=16 --time_based --runtime=5 --ramp_time=1",
		"write 1M":     "--rw=write --bs=1M --iodepth=4 --time_based --runtime=5 --ramp_time=1",
	} {
		var ratios, ours []float64
		for round := range 4 {
			var got [2]float64
			for _, i := range []int{round % 2, 1 - round%2} {
				got[i] = s.fio(dirs[i], job)
			}
			ratios, ours = append(ratios, got[0]/got[1]), append(ours, got[0])
		}
		slices.Sort(ratios)
		slices.Sort(ours)
		r := (ratios[1] + ratios[2]) / 2
		s.t.Logf("fio %s on a thin volume: %.1f MiB/s, %.2f times the plain volume, pairs %.2f (goal 0.97)", name, ours[2], r, ratios)
		if r < 0.8 { // emulated, and of few pairs
			s.t.Errorf("fio %s on a volume is %.2f times that on a plain one", name, r)
		}
	}
	s.sh("docker rm -f holder >/dev/null; umount /mnt/plain")
}

// installFio brings the host's fio with its libraries: the machine has none.
func (s *system) installFio() {
	s.t.Helper()
	fio, err := exec.LookPath("fio")
	if err != nil {
		s.t.Skip("fio is not installed: ", err)
	}
	tar := filepath.Join(s.t.TempDir(), "fio.tar")
	script := `set -e; libs=$(ldd "$1" | grep -o '/[^ ]*' | sort -u); tar -chf "$2" --transform 's|.*/||' "$1" $libs`
	if out, err := exec.CommandContext(s.t.Context(), "sh", "-c", script, "sh", fio, tar).CombinedOutput(); err != nil {
		s.t.Fatalf("pack fio: %v: %s", err, out)
	}
	s.MustCopy(s.t, tar, "/root/fio.tar")
	s.sh("mkdir -p /opt/fio && tar -C /opt/fio -xf /root/fio.tar")
}

// fio writes to a file in a directory, past the page cache, and returns MiB a second.
func (s *system) fio(dir, job string) float64 {
	s.t.Helper()
	out := s.sh("cd " + dir + " && /opt/fio/ld-linux-x86-64.so.2 --library-path /opt/fio /opt/fio/fio --name=io --filename=fio.bin --size=256m --ioengine=libaio --direct=1 --output-format=json " + job)
	var r struct {
		Jobs []struct {
			Write struct {
				Bytes float64 `json:"bw_bytes"`
			} `json:"write"`
		} `json:"jobs"`
	}
	if i := strings.IndexByte(out, '{'); i < 0 || json.Unmarshal([]byte(out[i:]), &r) != nil || len(r.Jobs) != 1 || r.Jobs[0].Write.Bytes == 0 {
		s.t.Fatalf("fio says %s", out)
	}
	return r.Jobs[0].Write.Bytes / (1 << 20)
}
