package hostsrv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
)

// TestAnEngineThatHangsIsRestarted only where that is wanted and ends no container, and
// not again and again.
func TestAnEngineThatHangsIsRestarted(t *testing.T) {
	synctest.Test(t, anEngineThatHangsIsRestarted)
}

func anEngineThatHangsIsRestarted(t *testing.T) {
	f, cfg := newFake(), settings(t)
	file := filepath.Join(t.TempDir(), "restarts")
	cfg.Restart.Command = []string{"sh", "-c", "echo restart >>" + file + "; [ -e " + file + ".well ] || { echo no way >&2; exit 3; }"}
	h := start(t, f, cfg)
	restarts := func(want int, recovery string) {
		t.Helper()
		synctest.Wait()
		b, _ := os.ReadFile(file) // is not there before the first
		e := h.s.Status().Engine
		if n := strings.Count(string(b), "restart"); n != want || e.Restarts != want || !strings.Contains(e.Recovery, recovery) || recovery == "" && e.Recovery != "" {
			t.Errorf("it was restarted %d times, want %d; the status is %+v, want %q", n, want, e, recovery)
		}
	}
	said := func(want string, times int) {
		t.Helper()
		n := 0
		for _, e := range h.s.Events(0, "") {
			if e.Kind == "engine" && strings.Contains(e.Text, want) {
				n++
			}
		}
		if n != times {
			t.Errorf("%q was said %d times, want %d: %+v", want, n, times, h.s.Events(0, ""))
		}
	}
	time.Sleep(10 * time.Second)
	said("will not be restarted when it hangs: live-restore is off", 1)
	f.Hang(true)
	time.Sleep(3 * time.Minute)
	restarts(0, "live-restore is off")
	said("the Engine hangs, and it is not restarted: live-restore is off", 1)
	f.Hang(false)
	f.SetLiveRestore(true)
	time.Sleep(2 * time.Minute)
	restarts(0, "")
	if e := h.s.Status().Engine; e.State != api.Well || e.LiveRestore != api.LiveRestoreOn {
		t.Errorf("the Engine is %+v", e)
	}
	f.Hang(true)
	time.Sleep(30 * time.Second) // it is seen after some of them
	restarts(0, "")
	time.Sleep(20 * time.Second)
	restarts(1, "which failed: run sh -c")
	said("could not be restarted: run sh -c", 1)
	time.Sleep(5 * time.Minute)
	restarts(1, "it is not restarted: it was at 00:0")
	if err := os.WriteFile(file+".well", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(6 * time.Minute)
	restarts(2, "which did not help, and is at ")
	said("the Engine was restarted in ", 1)
	f.Hang(false)
	time.Sleep(time.Minute)
	restarts(2, "")
	var text strings.Builder
	if err := h.s.WriteMetrics(&text); err != nil || !strings.Contains(text.String(), "\nmos_engine_restarts_total 2\n") {
		t.Errorf("the metrics are %v\n%s", err, text.String())
	}
}

// TestAnEngineThatWasAway is told of to a cluster, and what failed meanwhile is tried at once when
// it is back.
func TestAnEngineThatWasAway(t *testing.T) {
	synctest.Test(t, anEngineThatWasAway)
}

func anEngineThatWasAway(t *testing.T) {
	f := newFake()
	h := start(t, f, settings(t))
	h.up(t, "")
	time.Sleep(10 * time.Second)
	h.is(t, api.Right)
	if why := h.s.Trouble(); why != "" {
		t.Errorf("there is trouble without a reason: %s", why)
	}
	f.FailAt(1, dockertest.KillBefore)
	if err := f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Minute)
	if why := h.s.Trouble(); !strings.Contains(why, "absent") {
		t.Errorf("the trouble is %q", why)
	}
	if n := h.s.Status().Sets[0].Failures; n < 5 {
		t.Errorf("it was tried %d times", n)
	}
	f.Revive()
	time.Sleep(10 * time.Second)
	h.is(t, api.Right, appRuns, logRuns)
	if why := h.s.Trouble(); why != "" {
		t.Errorf("there is trouble still: %s", why)
	}
}

// TestThereIsTroubleFromTheStart of mosd on, where the Engine is down then; and nobody has to wait for
// the next heartbeat to hear of it.
func TestThereIsTroubleFromTheStart(t *testing.T) {
	for name, down := range map[string]func(*dockertest.Fake){
		"absent":          func(f *dockertest.Fake) { f.FailAt(1, dockertest.KillBefore); _ = f.Start(t.Context(), "any") },
		"hangs":           func(f *dockertest.Fake) { f.Hang(true) },
		"not down at all": func(*dockertest.Fake) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				down(f)
				h := start(t, f, settings(t))
				if name == "hangs" {
					if why := h.s.Trouble(); !strings.Contains(why, "no answer yet") {
						t.Errorf("before it is known, the trouble is %q", why)
					}
					time.Sleep(10 * time.Second)
				}
				synctest.Wait()
				for what, c := range map[string]<-chan struct{}{"that it is known": h.s.Known(), "the change": h.s.Changed()} {
					select {
					case <-c:
					default:
						t.Error("nobody hears of", what)
					}
				}
				if why := h.s.Trouble(); !strings.Contains(why, name) && name != "not down at all" || (why == "") != (name == "not down at all") {
					t.Errorf("the trouble is %q", why)
				}
			})
		})
	}
}

// lateAnswer is an Engine of which one answer may be late, and none.
type lateAnswer struct {
	*dockertest.Fake
	late atomic.Pointer[time.Duration]
}

func (e *lateAnswer) Ping(ctx context.Context) error {
	if late := e.late.Swap(nil); late != nil {
		time.Sleep(*late)
		return errors.New("nobody was there")
	}
	return e.Fake.Ping(ctx)
}

// TestAnEngineIsBackBeforeItsAbsenceIsKnown: a set that failed by it is tried again at once, also where
// that was found only when the Engine answered again.
func TestAnEngineIsBackBeforeItsAbsenceIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		e := &lateAnswer{Fake: f}
		h := startWith(t, f, e, settings(t))
		h.up(t, "")
		time.Sleep(10100 * time.Millisecond) // between two looks at all sets
		h.is(t, api.Right)
		f.FailAt(1, dockertest.KillBefore)
		e.late.Store(new(5 * time.Second)) // between two of the watchdog's: it is that of the look which fails
		if err := f.Die("web.infra"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		if s := h.s.Status(); e.late.Load() != nil || s.Engine.State != api.Absent {
			t.Fatalf("the look asks the Engine: %v; it is %+v", e.late.Load() == nil, s.Engine)
		}
		f.Revive()
		time.Sleep(2600 * time.Millisecond)
		if s := h.s.Status(); s.Engine.State != api.Well || s.Sets[0].Failures != 0 {
			t.Fatalf("the look does not wait for its answer: %+v", s)
		}
		time.Sleep(800 * time.Millisecond) // it would be a second else
		if s := h.s.Status().Sets[0]; s.State != api.Right || s.Heals == 0 {
			t.Errorf("it was not tried again at once: %+v", s)
		}
	})
}

// TestAnAbsenceThatNobodySaw: what failed by it is tried again when the watchdog has the next answer.
func TestAnAbsenceThatNobodySaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		e := &lateAnswer{Fake: f}
		h := startWith(t, f, e, settings(t))
		h.up(t, "")
		time.Sleep(10100 * time.Millisecond) // as above
		h.is(t, api.Right)
		for call := range 1000 {
			f.FailAt(call+1, dockertest.Refuse)
		}
		if err := f.Die("web.infra"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // it failed after 0.2, 1.2, 3.2, 7.2 and 15.2 s, and will again after 31.2
		e.late.Store(new(time.Duration))
		time.Sleep(1500 * time.Millisecond)
		f.Revive()
		if s := h.s.Status(); e.late.Load() != nil || s.Engine.State != api.Well || s.Sets[0].Failures != 6 {
			t.Fatalf("it did not fail by an Engine that does not answer: %+v", s)
		}
		time.Sleep(3 * time.Second)
		if s := h.s.Status().Sets[0]; s.State != api.Right {
			t.Errorf("it was not tried again: %+v", s)
		}
	})
}

// TestAnEngineThatIsUnknownIsNotRestarted: one that hung when mosd came is named, and
// nobody knows what a restart would end.
func TestAnEngineThatIsUnknownIsNotRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cfg := newFake(), settings(t)
		file := filepath.Join(t.TempDir(), "restarts")
		cfg.Restart.Command = []string{"touch", file}
		f.SetLiveRestore(true)
		f.Hang(true)
		h := start(t, f, cfg)
		time.Sleep(2 * time.Minute)
		if e := h.s.Status().Engine; e.State != api.Hung || !strings.Contains(e.Recovery, "whether live-restore is on is not known") {
			t.Errorf("the Engine is %+v", e)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("it was restarted")
		}
		f.Hang(false)
		time.Sleep(time.Minute)
		if e := h.s.Status().Engine; e.State != api.Well || e.Recovery != "" {
			t.Errorf("the Engine is %+v", e)
		}
	})
}

func TestSettingsOfRestartsAreChecked(t *testing.T) {
	cfg := settings(t)
	cfg.Restart.After, cfg.Restart.Pause = every(time.Second), every(time.Second)
	if err := cfg.Check(); err == nil || !strings.Contains(fmt.Sprint(err), "restart.after: want 6s at least") || !strings.Contains(err.Error(), "restart.pause: want 1m at least") {
		t.Errorf("got %v", err)
	}
}
