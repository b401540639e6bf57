package main

import (
	"os"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestOnlyTargets(t *testing.T) {
	for _, args := range [][]string{nil, {""}, {"xfs"}, {"-r", "dm-thin-pool"}, {"dm-a", "dm-b"}} {
		if err := run(args); err == nil || !strings.Contains(err.Error(), "want dm-TARGET") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestTargetsDM asks a real device mapper.
func TestTargetsDM(t *testing.T) {
	testx.Need(t, testx.DM)
	for target, want := range map[string]string{"dm-linear": "", "dm-thin-pool": "", "dm-nothing": "no module dm-nothing", "dm-": "no name", "dm-" + strings.Repeat("x", 200): "no name"} {
		err := run([]string{target})
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
	if _, err := os.Stat("/sys/module/dm_thin_pool"); err != nil {
		t.Error(err)
	}
}
