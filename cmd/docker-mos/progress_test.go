package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	lvm "github.com/mosdocker/mosdocker/lvmvolume/api"
)

func TestProgressIsSaidOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		p := newProgress(&cobra.Command{Use: "import"})
		p.w = &said
		c := &counter{r: strings.NewReader(strings.Repeat("x", 4096)), p: p, object: "data", total: 4096}
		for range 4 {
			if _, err := io.ReadFull(c, make([]byte, 1024)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(600 * time.Millisecond)
		}
		p.daemon(lvm.Progress{Object: "data", Done: 5 << 30})
		time.Sleep(time.Hour)
		p.moved("data", 1, 0) // the daemon says it itself meanwhile
		want := "docker mos: import data: 3KiB of 4KiB, 75%\ndocker mos: import data: 5GiB\n"
		if diff := cmp.Diff(want, said.String()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestTextThatComesTooSoonIsSaidLater: what a wait begins with may be all that comes for minutes.
func TestTextThatComesTooSoonIsSaidLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		p := newProgress(&cobra.Command{Use: "scale"})
		p.w = &said
		p.text("web", "3 of 6 sets are ready")
		p.text("web", "4 of 6 sets are ready: no host for set web-5")
		time.Sleep(progressEvery)
		synctest.Wait()
		p.text("web", "5 of 6 sets are ready")
		p.text("web", "4 of 6 sets are ready: no host for set web-5") // again
		time.Sleep(time.Hour)
		p.said = time.Now()
		p.text("web", "as wished")
		p.end()
		time.Sleep(time.Hour)
		want := "docker set: web: 4 of 6 sets are ready: no host for set web-5\n"
		if diff := cmp.Diff(want, said.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestProgressNeedsATerminal(t *testing.T) {
	cmd := &cobra.Command{Use: "export"}
	var out strings.Builder
	cmd.SetErr(&out)
	p := newProgress(cmd)
	p.said = time.Time{}
	p.moved("data", 1, 2)
	if out.Len() > 0 {
		t.Error(out.String())
	}
}

func TestInterruptedExportLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "lvm.sock")
	begun := make(chan struct{})
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-r.Context().Done()
	})}}
	s.Start()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	cmd := newMos()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"volume", "--socket", socket, "export", "-o", filepath.Join(dir, "data.mosvol"), "data"})
	err = cmd.ExecuteContext(ctx)
	if err == nil || err.Error() != "mos volume export was interrupted" || report(io.Discard, "mos", err) != 130 {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, want the socket: %v", left, err)
	}
}

func TestExportTellsThatItsDaemonEnded(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "lvm.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})}}
	s.Start()
	defer s.Close()
	_, err = lvm.New(socket).Export(t.Context(), "data", io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "the stream is not whole: mos-lvm ended while it was sent") {
		t.Error(err)
	}
}

func TestReplaceFileKeepsTheOldWhenFillFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.mosvol")
	write := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, werr := io.WriteString(w, text)
			return errors.Join(werr, err)
		}
	}
	if err := replaceFile(path, write("whole", nil)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := replaceFile(path, write("half", broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
}
