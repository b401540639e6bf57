package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestLogsGoOnWithWhoWasStartedLast of a member, until there is nobody to wait for.
func TestLogsGoOnWithWhoWasStartedLast(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	was := plan.Container{ID: "1", Member: "app", Started: at(10), State: plan.Running}
	infra := &plan.Container{State: plan.Running, Restart: "always"}
	ended := was
	ended.State = plan.Exited
	again, next, done := was, was, ended
	again.Started = at(20)
	next.ID, next.Started = "2", at(15)
	done.Spec = `{"Name":"app","Image":"x","Options":{"Once":true}}`
	other := plan.Container{ID: "9", Member: "web", Started: at(99)}
	for name, c := range map[string]struct {
		seen   plan.Observed
		kept   bool
		next   string
		goesOn bool
	}{
		"restarted":                   {plan.Observed{Infra: infra, Members: []plan.Container{again}}, false, "1", true},
		"replaced":                    {plan.Observed{Infra: infra, Members: []plan.Container{ended, next, other}}, false, "2", true},
		"stopped":                     {plan.Observed{Infra: infra, Members: []plan.Container{ended, other}}, false, "", true},
		"with its set":                {plan.Observed{Infra: &plan.Container{State: plan.Exited, Restart: "no"}, Members: []plan.Container{ended}}, false, "", false},
		"done":                        {plan.Observed{Infra: infra, Members: []plan.Container{done}}, false, "", false},
		"removed":                     {plan.Observed{Infra: infra, Members: []plan.Container{other}}, false, "", false},
		"stopped, and is to be there": {plan.Observed{Infra: &plan.Container{State: plan.Exited, Restart: "no"}, Members: []plan.Container{ended}}, true, "", true},
		"done, and is there":          {plan.Observed{Infra: infra, Members: []plan.Container{done}}, true, "", false},
		"made anew":                   {plan.Observed{Members: []plan.Container{next}}, true, "2", true},
		"nothing of it is there yet":  {plan.Observed{}, true, "", true},
		"its set is too":              {plan.Observed{}, false, "", false},
	} {
		got, goesOn := after(was, c.seen, c.kept)
		found := ""
		if got != nil {
			found = got.ID
		}
		if found != c.next || goesOn != c.goesOn {
			t.Errorf("%s: it goes on with %q, %v", name, found, goesOn)
		}
	}
}

// logged is an Engine whose container of a set is another after each step.
type logged struct {
	mu   sync.Mutex // guards all below
	step int
	all  []plan.Observed
	logs map[string]string // by id; of others there are none
}

func (l *logged) Observe(context.Context, string, *spec.Set) (plan.Observed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step++
	return l.all[min(l.step, len(l.all))-1], nil
}

func (l *logged) Logs(_ context.Context, id string, _ LogOptions) (io.ReadCloser, bool, error) {
	text, is := l.logs[id]
	if !is {
		return nil, false, fault.NotFound("no container %s", id)
	}
	return io.NopCloser(strings.NewReader(text)), true, nil
}

func (*logged) Events(ctx context.Context, ready func(), each func(setmgr.Happened)) error {
	ready()
	for ctx.Err() == nil {
		each(setmgr.Happened{Set: "web"})
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// TestAFollowerOfASetThatIsKept: it waits for a container that is not made yet, goes on over
// a set that is made anew and a container that is gone before it is read, and ends when the
// set is to be there no more.
func TestAFollowerOfASetThatIsKept(t *testing.T) {
	one := func(id string, started int64) plan.Observed {
		return plan.Observed{Infra: &plan.Container{State: plan.Running}, Members: []plan.Container{{ID: id, Member: "app", Started: time.Unix(started, 0), State: plan.Running}}}
	}
	kept := true
	e := &logged{all: []plan.Observed{{}, one("1", 1), {}, one("gone", 2), one("2", 3), {}}, logs: map[string]string{"1": "a\n", "2": "b\n"}}
	f := &Follower{Engine: e, Set: "web", Options: LogOptions{Follow: true}}
	f.Kept = func() bool { return kept && e.step < len(e.all) }
	ctx, stop, err := f.Watch(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var out bytes.Buffer
	if err := f.Copy(ctx, plan.Container{Member: "app"}, &out, io.Discard); err != nil || out.String() != "a\nb\n" {
		t.Errorf("%q, and the end %v", out.String(), err)
	}
}

// TestWhoDoesNotFollowIsToldOfAContainerThatIsGone, and one who follows hears of an Engine that
// goes away.
func TestWhoDoesNotFollowIsToldOfAContainerThatIsGone(t *testing.T) {
	f := &Follower{Engine: &logged{}, Set: "web"}
	ctx, stop, err := f.Watch(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := f.Copy(ctx, plan.Container{ID: "gone", Member: "app"}, io.Discard, io.Discard); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	cause := errors.New("it went away")
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	f.Options.Follow = true
	if _, _, err := f.Watch(gone, "app"); !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
