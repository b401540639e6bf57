package xexec

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHostReturnsOutputAndFeedsInput(t *testing.T) {
	in := bytes.Repeat([]byte("x"), 1<<20)
	out, err := Host{}.Run(t.Context(), Cmd{Argv: []string{"sh", "-c", "cat; head -c 1000000 /dev/zero >&2"}, Stdin: in})
	if err != nil || !bytes.Equal(out, in) {
		t.Fatalf("got %d bytes, %v; want the input back", len(out), err)
	}
}

func TestHostErrorHasCodeAndStderr(t *testing.T) {
	_, err := Host{}.Run(t.Context(), Cmd{Argv: []string{"sh", "-c", "echo $LC_ALL $A >&2; exit 7"}, Env: []string{"A=b"}})
	var e *Error
	if !errors.As(err, &e) || e.Code != 7 || strings.TrimSpace(e.Stderr) != "C b" {
		t.Fatalf("got %#v, want exit 7 with stderr \"C b\"", err)
	}
}

func TestHostKillsTheGroupWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Host{}.Run(ctx, Cmd{Argv: []string{"sh", "-c", "sleep 60 & sleep 60"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want deadline exceeded", err)
	}
	if took := time.Since(start); took > grace {
		t.Fatalf("took %v: a grandchild held the pipe open", took)
	}
}
