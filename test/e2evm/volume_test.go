package e2evm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
)

// TestVolumesOnLVM is what volumes promise, on a real LVM: three disks, of which
// the first two become ours and the third is somebody else's. The long parts run
// with MOS_FULL=1 (test/night volumes).
func TestVolumesOnLVM(t *testing.T) {
	s := installVolumes(t, vm.Config{DisksGiB: []int{6, 2, 1}}, "")
	// Else the host itself activates it after a power cut.
	s.sh("vgcreate -q foreign /dev/disk/by-id/virtio-pv2 && lvcreate -q -an --setautoactivation n -L 64m -n theirs foreign")
	theirs := s.foreign()
	for _, part := range []struct {
		name string
		run  func(*system)
		long bool
	}{
		{"init-refuses-what-holds-data-and-may-be-cut-off", (*system).inits, false},
		{"writers-see-no-error-through-resize", (*system).resizes, false},
		{"removed-volumes-come-back-and-purged-ones-leave-nothing", (*system).bins, false},
		{"snapshots-and-clones-live-on-their-own", (*system).copies, false},
		{"containers-come-and-go", (*system).traces, true},
		{"many-volumes", (*system).many, true},
		{"full-pool-loses-nothing-silently", (*system).brim, true},
		{"power-cut", (*system).comesBack, true},
		{"calls-are-cut-off", (*system).cutOff, false}, // removes the others' volumes
	} {
		t.Run(part.name, func(t *testing.T) {
			if only := os.Getenv("MOS_PART"); only != "" && !strings.Contains(only+",init", strings.SplitN(part.name, "-", 2)[0]) {
				t.Skip("not in MOS_PART")
			}
			if part.long && os.Getenv("MOS_FULL") == "" {
				t.Skip("a long part: test/night volumes runs it")
			}
			start := time.Now()
			part.run(s.in(t))
			t.Logf("took %v", time.Since(start).Round(time.Second))
		})
	}
	s.clean()
	if now := s.foreign(); now != theirs {
		t.Errorf("the foreign group was %s, is %s", theirs, now)
	}
	if out := s.sh("dmsetup ls | grep foreign || echo inactive"); out != "inactive" {
		t.Errorf("volumes of the foreign group are active: %s", out)
	}
}

// installVolumes installs the bundle with a mos-lvm that lets go soon.
func installVolumes(t *testing.T, cfg vm.Config, more string) *system {
	t.Helper()
	s := install(t, cfg)
	s.sh(`cat >/etc/mos/mos-lvm.toml <<'END'
linger = '2s'
interval = '5s'
` + more + `
[thin]
overcommit = 3.0
interval = '1s'
[log]
level = 'debug'
END
systemctl restart mos-lvm`)
	return s
}

// in is the system for a part of a test.
func (s *system) in(t *testing.T) *system { return &system{s.VM, t} }

// foreign is the hash of the first megabytes of the disk that is not ours, where
// LVM's metadata is.
func (s *system) foreign() string {
	s.t.Helper()
	return s.sh("head -c 4M /dev/disk/by-id/virtio-pv2 | sha256sum | cut -d' ' -f1")
}

// refused runs a line that must fail with some words.
func (s *system) refused(line string, words ...string) {
	s.t.Helper()
	out, errs, err := s.Run(s.t.Context(), line)
	if err == nil {
		s.t.Errorf("%s was not refused: %s%s", line, out, errs)
	}
	for _, w := range words {
		if !strings.Contains(out+errs, w) {
			s.t.Errorf("%s was refused without the words %q: %s%s", line, w, out, errs)
		}
	}
}

// want runs a line whose output must be so.
func (s *system) want(line, want string) {
	s.t.Helper()
	if got := s.sh(line); got != want {
		s.t.Errorf("%s: got %q, want %q", line, got, want)
	}
}

// run is the beginning of docker run for a container with a volume and the
// program volumecheck.
func run(flags string) string {
	return "docker run -v /opt/mos/bin:/mos:ro " + flags + " mos-test:1 "
}

// clean removes all that is ours and looks whether it is gone.
func (s *system) clean() {
	s.t.Helper()
	s.sh("docker ps -aq | xargs -r docker rm -f >/dev/null; docker volume ls -q -f driver=mos-lvm | xargs -r docker volume rm >/dev/null; docker mos volume trash purge --all --force >/dev/null")
	s.idle()
	s.settle(time.Minute, "docker mos audit")
}

// idle waits until nothing is mounted and no volume is active.
func (s *system) idle() {
	s.t.Helper()
	s.settle(90*time.Second, `! grep " /var/lib/mos/mos-lvm/mnt/" /proc/self/mountinfo && ! dmsetup ls | grep -e '-mos--[0-9a-f]\{16\}'`)
}

// seed is MOS_SEED, or one of this moment, which is told.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano()) % 1e6
	if s := os.Getenv("MOS_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MOS_SEED=%d", n)
	return n
}

// number is an environment variable's value, or another.
func number(t *testing.T, name string, def int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// between is a random time.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

// try runs a line that may fail, and returns what it said.
func (s *system) try(line string) string {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	out, errs, err := s.Run(ctx, line)
	if err != nil {
		return fmt.Sprintf("%s%s%v", out, errs, err)
	}
	return strings.TrimSpace(out + errs)
}
