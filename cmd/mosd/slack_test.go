package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestAllThreadsHaveSlack(t *testing.T) {
	testx.Need(t, testx.Root)
	if err := loosen(); err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads are %q, %v", threads, err)
	}
	for _, dir := range threads {
		b, err := os.ReadFile(slackOf(filepath.Base(dir)))
		if got := strings.TrimSpace(string(b)); err == nil && got != "1000000" {
			t.Errorf("thread %s has a slack of %s ns", filepath.Base(dir), got)
		}
	}
}
