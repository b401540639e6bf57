package e2evm

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/vm"
	"github.com/mosdocker/mosdocker/test/vm/machine"
)

// TestVolumesThroughKillsAndPowerCuts cuts off what many calls at once do, at
// random moments: by kill -9 of the daemon and of the programs that it runs, then
// by cuts of the machine's power. Afterwards each volume is whole or absent, what
// an fsync confirmed is there, what was answered is so, and the audit is empty.
//
// MOS_ROUNDS is how often the power is cut, MOS_SEED what decides when and what,
// MOS_FROM the round to begin with.
func TestVolumesThroughKillsAndPowerCuts(t *testing.T) {
	long(t, "powercuts")
	rounds, from, seed := number(t, "MOS_ROUNDS", 2), number(t, "MOS_FROM", 1), seed(t)
	s := installVolumes(t, vm.Config{DisksGiB: []int{10}}, "")
	s.sh("mos-lvm init /dev/disk/by-id/virtio-pv0")
	s.cutsOff(seed, from, rounds)
}

// cutOff is kills and one cut.
func (s *system) cutOff() { s.cutsOff(seed(s.t), 1, number(s.t, "MOS_ROUNDS", 1)) }

// cutsOff is the kills, if it begins with the first round, and the cuts.
func (s *system) cutsOff(seed uint64, from, rounds int) {
	s.t.Helper()
	if from == 1 {
		s.kills(seed)
	}
	for n := from; n <= rounds; n++ {
		start := time.Now()
		said := s.cut(seed + uint64(n))
		s.t.Logf("round %d of %d: %s (%v)", n, rounds, said, time.Since(start).Round(time.Second))
		if s.t.Failed() {
			s.t.Fatalf("MOS_SEED=%d MOS_FROM=%d repeats this round", seed, n)
		}
	}
	s.clean()
	s.t.Logf("audit: %s", s.sh("docker mos audit"))
}

// kills lets calls run while their programs are killed.
func (s *system) kills(seed uint64) {
	long := time.Duration(number(s.t, "MOS_KILL_SECONDS", 25)) * time.Second
	journal := s.sh(fmt.Sprintf("timeout %d /opt/mos/bin/volumecheck churn -seed %d -for %v -kill mos-lvm,lvm,lvm,mkfs.ext4,mkfs.xfs,lvm -pause 7s || true", int((long + 100*time.Second).Seconds()), seed, long))
	s.t.Logf("kills: %s; %s", tally(journal), s.judge(journal))
}

// cut cuts the power while calls run, after some of them: emulated time says
// little.
func (s *system) cut(seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	calls, more := 3+rng.IntN(30), between(rng, 0, 3*time.Second)
	if s.sh("docker mos audit >/dev/null 2>&1; systemctl is-active mos-lvm") != "active" {
		s.t.Fatal("the daemon does not run")
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var out lines
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Stream(ctx, fmt.Sprintf("exec /opt/mos/bin/volumecheck churn -seed %d -for 10m", seed), machine.Stdio{Out: &out}) // the cut ends it
	})
	start := time.Now()
	for time.Since(start) < time.Minute && strings.Count(out.String(), "\n") < calls {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(more)
	after := time.Since(start)
	s.MustPowerCut(s.t)
	cancel()
	wg.Wait()
	journal := out.String()
	return fmt.Sprintf("cut after %v: %s; %s", after.Round(time.Millisecond), tally(journal), s.judge(journal))
}

// judge lets volumecheck compare a journal with what there is.
func (s *system) judge(journal string) string {
	path := filepath.Join(testx.Artifacts(s.t), "journal")
	if err := os.WriteFile(path, []byte(journal), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.MustCopy(s.t, path, "/root/journal")
	// Each of some fifty volumes is mounted and read, in emulated time.
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Minute)
	defer cancel()
	out, errs, err := s.Run(ctx, "/opt/mos/bin/volumecheck judge -journal /root/journal")
	if err != nil || strings.Contains(out, "finding:") || !strings.Contains(out, "judged") {
		s.t.Errorf("after a cut: %v: %s%s\n%s", err, out, errs, journal)
		return "not whole"
	}
	s.settle(2*time.Minute, "docker mos audit")
	return strings.TrimSpace(out[strings.LastIndex(out, "judged"):])
}

// tally counts the lines of a journal.
func tally(journal string) string {
	counts := map[string]int{}
	for line := range strings.Lines(journal) {
		w := strings.Fields(line)
		if len(w) > 1 {
			counts[w[0]]++
		}
		if len(w) > 2 && w[0] == "killed" {
			counts["killed "+strings.Join(w[1:], " ")]++
		}
	}
	return fmt.Sprint(counts)
}

// lines is a buffer that may be read while it is written to. Of a line that was
// cut off nothing counts.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	return s[:strings.LastIndex(s, "\n")+1]
}
