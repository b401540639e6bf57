package hostsrv_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// replaced is a host whose set web is replaced, in a cluster or as its file says.
type replaced struct {
	host
	t        *testing.T
	strategy spec.Strategy
	byFile   bool
	cfg      hostsrv.Config
	options  string // of app
	// declared is the path of the set's file, "" of a set of a cluster.
	declared   string
	generation int64
}

// ready is the options of an app that is ready when there is a file, in a while at most.
func (r *replaced) ready(within string) string {
	return fmt.Sprintf(`, "Ready": {"Exec": ["test", "-e", "/ok"], "Deadline": %q}, "Update": {"Strategy": %q}`, within, r.strategy)
}

// begin is a new host, on which nothing is wanted yet.
func (r *replaced) begin(options string, f *dockertest.Fake) {
	r.t.Helper()
	r.cfg, r.options, r.declared, r.generation = settings(r.t), options, "", 0
	r.host = start(r.t, f, r.cfg)
	if r.byFile {
		r.declared = filepath.Join(r.cfg.Declared, "web.json")
	}
}

// serve begins with a set whose app is ready.
func (r *replaced) serve(within string) {
	r.t.Helper()
	f := newFake()
	f.Publish(dockertest.Image{Ref: "app:2", Says: "no such table"})
	r.begin(r.ready(within), f)
	r.want("app:1")
	r.getsReady("app:1")
	r.serves(api.Right, "app:1")
}

// want says what app is to be.
func (r *replaced) want(image string) {
	r.t.Helper()
	r.wantText(strings.Replace(fmt.Sprintf(web, r.options), "app:1", image, 1))
}

// wantText is want, of a set by its text.
func (r *replaced) wantText(text string) {
	r.t.Helper()
	r.generation++
	if r.declared == "" {
		set, err := spec.Decode("web.json", []byte(text))
		if err != nil {
			r.t.Fatal(err)
		}
		r.s.Wish(r.t.Context(), "c1", map[string]hostsrv.Wish{"web": {Set: set, UID: "u1", Generation: r.generation}})
		return
	}
	if err := errors.Join(os.MkdirAll(r.cfg.Declared, 0o700), os.WriteFile(r.declared, []byte(text), 0o600)); err != nil {
		r.t.Fatal(err)
	}
	// The clock of a bubble is not the file system's.
	if err := os.Chtimes(r.declared, time.Now(), time.Now().Add(time.Duration(r.generation)*time.Second)); err != nil {
		r.t.Fatal(err)
	}
}

// again is another daemon on the same host, which wants the same.
func (r *replaced) again(image string) {
	r.t.Helper()
	r.end()
	r.f.Revive()
	if r.declared != "" {
		r.host = start(r.t, r.f, r.cfg)
		return
	}
	r.host = start(r.t, r.f, r.cfg, "c1")
	r.generation--
	r.want(image)
}

// getsReady has the container of an image be ready, when it runs.
func (r *replaced) getsReady(image string) {
	r.t.Helper()
	testx.Eventually(r.t, 10*time.Second, func() error {
		if !r.touch(image) {
			return errors.New(r.f.String())
		}
		return nil
	})
}

// touch is getsReady, if that is possible, by no call: those are counted.
func (r *replaced) touch(image string) bool {
	r.t.Helper()
	for _, c := range r.apps() {
		if c.Image == image && c.State == plan.Running {
			r.f.Touch(c.Name, "/ok")
			return true
		}
	}
	return false
}

// apps are app's containers.
func (r *replaced) apps() []plan.Container {
	r.t.Helper()
	o, err := r.f.Observe(r.t.Context(), "web", nil)
	if err != nil && !errors.Is(err, dockertest.ErrKilled) {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(o.Members, func(c plan.Container) bool { return c.Member != "app" })
}

func (r *replaced) times(call string) (n int) {
	for _, c := range r.f.Calls() {
		if strings.HasPrefix(c, call) {
			n++
		}
	}
	return n
}

// serves waits until app is one container of an image that runs, and the set is in a state.
func (r *replaced) serves(state, image string) {
	r.t.Helper()
	testx.Eventually(r.t, 40*time.Second, func() error {
		x := r.s.Status().Sets
		if len(x) != 1 || x[0].State != state || len(r.apps()) != 1 || !strings.Contains(r.f.String(), "container web.app sha256:"+image+" running") {
			return fmt.Errorf("%+v\n%s", x, r.f)
		}
		return nil
	})
}

const (
	appDown  = "container web.app sha256:app:1 exited"
	freshIs  = "container web.app.r2 sha256:app:2 running"
	appWaits = api.Waiting + " app waits for its new container, which is to be ready"
)

// eachReplacement runs a test in a bubble for both strategies that take the old container
// down, for a set of a cluster and for a declared one.
func eachReplacement(t *testing.T, run func(r *replaced)) {
	t.Helper()
	for _, strategy := range []spec.Strategy{spec.Swap, spec.Restart} {
		for _, byFile := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by a file %t", strategy, byFile), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { run(&replaced{t: t, strategy: strategy, byFile: byFile}) })
			})
		}
	}
}

// TestAnOldContainerIsKeptUntilTheNewOneIsReady, stopped, and comes back when the update is
// taken back: the same container.
func TestAnOldContainerIsKeptUntilTheNewOneIsReady(t *testing.T) {
	eachReplacement(t, func(r *replaced) {
		r.serve("20s")
		r.want("app:2")
		r.is(t, appWaits, appDown, freshIs)
		time.Sleep(5 * time.Second)
		r.is(t, appWaits, appDown, freshIs)
		made := r.times("create ")
		r.want("app:1")
		r.getsReady("app:1")
		r.serves(api.Right, "app:1")
		if n := r.times("create "); n != made {
			r.t.Errorf("the old container came back by %d calls: %q", n-made, r.f.Calls())
		}
		r.want("app:2")
		r.is(t, appWaits, appDown, freshIs)
		r.getsReady("app:2")
		r.serves(api.Right, "app:2")
	})
}

// TestANewContainerThatDoesNotGetReadyGoes: the old one serves again, why is said, and the
// new one is tried later, or at once when something else is wanted.
func TestANewContainerThatDoesNotGetReadyGoes(t *testing.T) {
	eachReplacement(t, func(r *replaced) {
		r.serve("20s")
		made := r.times("create ")
		r.want("app:2")
		r.serves(api.Failing, "app:1")
		tried := r.times("create ")
		if tried != made+1 {
			r.t.Errorf("it took %d calls: %q", tried-made, r.f.Calls())
		}
		said := r.s.Status().Sets[0].Detail
		for _, want := range []string{"web.app.r2", "it is not ready after 20s", "no such table", "the old container serves"} {
			if !strings.Contains(said, want) {
				r.t.Errorf("%q is not said in %q", want, said)
			}
		}
		if told := r.s.Told()["web"]; !r.byFile && (told.Ready || told.Generation != 2 || told.State != api.Failing) {
			r.t.Errorf("told is %+v", told)
		}
		r.getsReady("app:1")
		if err := r.f.Die("web.infra"); err != nil { // it is healed all the same
			r.t.Fatal(err)
		}
		r.is(t, api.Failing, appRuns, logRuns)
		r.again("app:2")
		time.Sleep(time.Minute)
		r.serves(api.Failing, "app:1")
		if n := r.times("create "); n != tried {
			r.t.Errorf("it was tried again: %q", r.f.Calls())
		}
		time.Sleep(5 * time.Minute)
		r.serves(api.Failing, "app:1")
		if n := r.times("create "); n == tried {
			r.t.Error("it was not tried again")
		}
		r.want("app:1")
		r.getsReady("app:1")
		r.serves(api.Right, "app:1")
		r.want("app:2")
		r.is(t, appWaits, appDown, freshIs)
		r.getsReady("app:2")
		r.serves(api.Right, "app:2")
	})
}

// TestANewContainerThatDoesNotStayUpGoes before its probe's time is over.
func TestANewContainerThatDoesNotStayUpGoes(t *testing.T) {
	eachReplacement(t, func(r *replaced) {
		r.serve("20s")
		code := 3
		r.f.Publish(dockertest.Image{Ref: "app:3", Ends: &code})
		begun := time.Now()
		r.want("app:3")
		r.serves(api.Failing, "app:1")
		if took := time.Since(begun); took > 12*time.Second {
			r.t.Errorf("it took %v", took)
		}
		if said := r.s.Status().Sets[0].Detail; !strings.Contains(said, "it does not stay up") {
			r.t.Errorf("said is %q", said)
		}
	})
}

// TestAJobThatFailsIsTakenBack: one that runs to its end is ready when that is well.
func TestAJobThatFailsIsTakenBack(t *testing.T) {
	eachReplacement(t, func(r *replaced) {
		f, codes := newFake(), []int{0, 3}
		f.Publish(dockertest.Image{Ref: "app:2", Ends: &codes[0]})
		f.Publish(dockertest.Image{Ref: "app:3", Ends: &codes[1]})
		r.begin(fmt.Sprintf(`, "Once": true, "Update": {"Strategy": %q}`, r.strategy), f)
		r.want("app:2")
		r.is(t, api.Right, "container web.app sha256:app:2 exited with 0", logRuns)
		starts := r.times("start web.app")
		r.want("app:3")
		r.is(t, api.Failing+" container web.app.r2: it ended with code 3", "container web.app sha256:app:2 exited with 0")
		if have := r.apps(); len(have) != 1 || r.times("start web.app") != starts+1 {
			r.t.Errorf("there are %v after %q", have, r.f.Calls())
		}
	})
}

// TestAReplacementIsCutOffAnywhere: a daemon that died at any step of it leaves what the
// next one makes whole, the new container or the old one.
func TestAReplacementIsCutOffAnywhere(t *testing.T) {
	for _, ready := range []bool{true, false} {
		t.Run(fmt.Sprintf("ready %t", ready), func(t *testing.T) {
			eachReplacement(t, func(r *replaced) {
				for step := 1; r.cutOff(ready, step); step++ {
				}
			})
		})
	}
}

// cutOff kills the daemon after one of the calls by which it replaces app, and says whether
// there were so many.
func (r *replaced) cutOff(ready bool, step int) bool {
	r.t.Helper()
	r.serve(map[bool]string{true: "4s", false: "1s"}[ready])
	defer func() { r.end() }()
	calls := len(r.f.Calls())
	r.f.FailAt(step, dockertest.KillAfter)
	r.want("app:2")
	over := map[bool]string{true: api.Right, false: api.Failing}[ready]
	for ; len(r.f.Calls()) < calls+step; time.Sleep(100 * time.Millisecond) {
		if ready {
			r.touch("app:2")
		}
		if x := r.s.Status().Sets[0]; x.State == over && r.times("create web.app.r2") > 0 && len(r.apps()) == 1 {
			return false
		}
	}
	r.again("app:2")
	if ready {
		r.getsReady("app:2")
	}
	r.serves(over, map[bool]string{true: "app:2", false: "app:1"}[ready])
	if s := r.f.String(); strings.Contains(s, "web.app.r") || !strings.Contains(s, logRuns) {
		r.t.Errorf("%s, step %d: left is\n%s", r.strategy, step, s)
	}
	return true
}

// TestAnEngineThatStartsAgainAmidAReplacement starts both containers: the new one goes on to
// be waited for, alone.
func TestAnEngineThatStartsAgainAmidAReplacement(t *testing.T) {
	eachReplacement(t, func(r *replaced) {
		for _, order := range [][]string{{"web.infra"}, {"web.app.r2", "web.app", "web.infra"}} {
			r.serve("20s")
			r.want("app:2")
			r.is(t, appWaits, appDown, freshIs)
			r.f.RestartEngine(order...)
			r.is(t, appWaits, appDown, freshIs)
			r.getsReady("app:2")
			r.serves(api.Right, "app:2")
			r.end()
		}
	})
}

// TestAnOverlapOfOursIsGoneOnAtOnce by a daemon that comes after one that died amid it.
func TestAnOverlapOfOursIsGoneOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for step := 1; step <= 2; step++ { // it is made, and started
			r := &replaced{t: t, strategy: spec.Overlap, byFile: true}
			r.serve("20s")
			r.f.FailAt(step, dockertest.KillAfter)
			calls := len(r.f.Calls())
			r.want("app:2")
			testx.Eventually(t, 10*time.Second, func() error {
				if len(r.f.Calls()) < calls+step {
					return errors.New("it is not there")
				}
				return nil
			})
			r.again("app:2")
			r.is(t, appWaits, appRuns, freshIs)
			r.again("app:2")
			r.getsReady("app:2")
			begun := time.Now()
			r.serves(api.Right, "app:2")
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			r.end()
		}
	})
}

// TestANewContainerOfTheSameSpecThatDoesNotGetReadyGoes, too: without a limit that an Engine
// takes off no container that is there, the two differ in that alone.
func TestANewContainerOfTheSameSpecThatDoesNotGetReadyGoes(t *testing.T) {
	eachReplacement(t, func(r *replaced) {
		r.serve("20s")
		made := r.times("create web.app")
		r.wantText(strings.Replace(fmt.Sprintf(web, r.options), `, "MEM": 60`, "", 1))
		r.is(t, appWaits, appDown, "container web.app.r2 sha256:app:1 running")
		r.serves(api.Failing, "app:1")
		time.Sleep(time.Minute)
		r.serves(api.Failing, "app:1")
		if n := r.times("create web.app"); n != made+1 {
			r.t.Errorf("it was tried %d times: %q", n-made, r.f.Calls())
		}
		r.want("app:1") // what the old one is
		r.getsReady("app:1")
		r.serves(api.Right, "app:1")
	})
}
