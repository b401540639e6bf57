package testx

import (
	"errors"
	"flag"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Golden compares got with the file testdata/NAME of the package under test and
// fails the test with the difference. With the flag -update it writes the file
// instead.
func Golden(tb testing.TB, name, got string) {
	tb.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			tb.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		tb.Fatalf("%s is missing: run the test with -update and read what it wrote", path)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		tb.Errorf("%s differs (-want +got), -update accepts it:\n%s", path, diff)
	}
}

// Eventually calls f until it returns nil, and fails the test with its last
// error when it has not within timeout. The pause between two calls grows from
// 5 ms to 200 ms.
func Eventually(tb testing.TB, timeout time.Duration, f func() error) {
	tb.Helper()
	if err := Poll(timeout, f); err != nil {
		tb.Fatalf("not within %s: %v", timeout, err)
	}
}

// Poll is [Eventually] for code that has no test at hand: it returns the last
// error of f.
func Poll(timeout time.Duration, f func() error) error {
	deadline := time.Now().Add(timeout)
	for pause := 5 * time.Millisecond; ; pause = min(pause*3/2, 200*time.Millisecond) {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// Logger returns a logger that writes each record, of all levels, to the test's
// log. Records that come after the test's end are dropped.
func Logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	w := &logWriter{tb: tb}
	tb.Cleanup(w.stop)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct {
	mu sync.Mutex // guards all below
	tb testing.TB
}

// stop keeps goroutines that outlive the test from writing to it, which would
// panic.
func (w *logWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tb = nil
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tb != nil {
		w.tb.Log(strings.TrimRight(string(p), "\n"))
	}
	return len(p), nil
}

// ArtifactsEnv is the environment variable that names the folder below which
// [Artifacts] makes its folders; without it they go to mos-artifacts in the
// folder for temporary files.
const ArtifactsEnv = "MOS_ARTIFACTS"

// Artifacts returns an empty folder for logs and other proof. It is kept, and
// named in the test's log, when the test fails; else it is removed at the
// test's end. Clean-ups registered after this call run before that.
func Artifacts(tb testing.TB) string {
	tb.Helper()
	base := os.Getenv(ArtifactsEnv)
	if base == "" {
		base = filepath.Join(os.TempDir(), "mos-artifacts")
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		tb.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, strings.ReplaceAll(tb.Name(), "/", "_")+"-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("artifacts are kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove artifacts: %v", err)
		}
		// The base goes with its last folder; it stays while others use it.
		_ = os.Remove(base)
	})
	return dir
}

var _ io.Writer = (*logWriter)(nil)
