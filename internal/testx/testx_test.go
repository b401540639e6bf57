package testx_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// spy records how a test under test ends.
type spy struct {
	testing.TB
	failed, skipped bool
	log             strings.Builder
	cleanups        []func()
}

func (s *spy) Helper()          {}
func (s *spy) Name() string     { return "spy/sub" }
func (s *spy) Failed() bool     { return s.failed }
func (s *spy) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
func (s *spy) Log(args ...any)  { s.log.WriteString(args[0].(string)) }
func (s *spy) Logf(format string, args ...any) {
	s.log.WriteString(format)
	for _, a := range args {
		if a, ok := a.(string); ok {
			s.log.WriteString(a)
		}
	}
}
func (s *spy) Errorf(string, ...any) { s.failed = true }
func (s *spy) Fatalf(string, ...any) { s.failed = true; runtime.Goexit() }
func (s *spy) Skipf(string, ...any)  { s.skipped = true; runtime.Goexit() }

// run runs f as a test would run and then its clean-ups, last first.
func (s *spy) run(f func(t testing.TB)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(s)
	}()
	<-done
	for i := range s.cleanups {
		s.cleanups[len(s.cleanups)-1-i]()
	}
}

func TestNeedSkipsOrFailsAsTheRingSays(t *testing.T) {
	t.Setenv("MOS_CACHE", t.TempDir()) // an empty one: no engine in it
	for _, tt := range []struct {
		name            string
		need            testx.Needs
		must            string
		skipped, failed bool
	}{
		{"missing", testx.Newest, "", true, false},
		{"missing_and_other_must", testx.Newest, "root,ovs", true, false},
		{"missing_and_must", testx.Newest, "ovs,newest", false, true},
		{"unknown", "moon", "", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(testx.RingEnv, "root")
			t.Setenv(testx.MustEnv, tt.must)
			var s spy
			s.run(func(t testing.TB) { testx.Need(t, tt.need) })
			if s.skipped != tt.skipped || s.failed != tt.failed {
				t.Errorf("got skipped %v failed %v, want %v and %v", s.skipped, s.failed, tt.skipped, tt.failed)
			}
		})
	}
}

func TestGoldenSeesADifference(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("testdata", 0o755), os.WriteFile("testdata/a.golden", []byte("one\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, wantFailed := range map[string]bool{"one\n": false, "two\n": true} {
		var s spy
		s.run(func(t testing.TB) { testx.Golden(t, "a.golden", name) })
		if s.failed != wantFailed {
			t.Errorf("%q: got failed %v, want %v", name, s.failed, wantFailed)
		}
	}
	var s spy
	s.run(func(t testing.TB) { testx.Golden(t, "absent", "") })
	if !s.failed {
		t.Error("a missing golden file passes")
	}
}

func TestEventuallyWaitsAndGivesUp(t *testing.T) {
	n := 0
	testx.Eventually(t, 5*time.Second, func() error {
		if n++; n < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	var s spy
	s.run(func(t testing.TB) {
		testx.Eventually(t, 20*time.Millisecond, func() error { return errors.New("never") })
	})
	if !s.failed {
		t.Error("a condition that never holds passes")
	}
}

func TestLoggerIsSilentAfterTheTest(t *testing.T) {
	var s spy
	s.run(func(tb testing.TB) {
		l := testx.Logger(tb)
		l.Debug("port attached", "port", "p1")
		s.Cleanup(func() {}) // runs before the logger stops
		t.Cleanup(func() { l.Info("late") })
	})
	if got := s.log.String(); !strings.Contains(got, `msg="port attached" port=p1`) || strings.Contains(got, "late") {
		t.Errorf("got log %q", got)
	}
}

func TestArtifactsStayOnlyAfterAFailure(t *testing.T) {
	base := filepath.Join(t.TempDir(), "kept")
	t.Setenv(testx.ArtifactsEnv, base)
	for _, fail := range []bool{false, true} {
		var s spy
		var dir string
		s.run(func(tb testing.TB) {
			dir = testx.Artifacts(tb)
			if err := os.WriteFile(filepath.Join(dir, "log"), nil, 0o644); err != nil {
				t.Error(err)
			}
			s.failed = fail
		})
		_, err := os.Stat(dir)
		if kept := err == nil; kept != fail {
			t.Errorf("failed %v: got kept %v", fail, kept)
		}
		if fail && !strings.Contains(s.log.String(), dir) {
			t.Error("the log does not name the kept folder")
		}
	}
}
