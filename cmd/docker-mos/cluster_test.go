package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/control"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/session"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
)

// TestClusterScripts runs testdata/cluster against a scheduler with its real store and
// controllers, and two hosts whose sets get ready by themselves.
func TestClusterScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/cluster",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DOCKER_CONFIG", env.WorkDir)
			env.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock") // no Engine is asked
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			socket := filepath.Join(env.WorkDir, "s.sock")
			env.Setenv("MOS_CLUSTER", socket)
			return scheduler(t, env, socket)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"trouble": trouble},
	})
}

// hosts are those of a script, and who leads there.
type hosts struct {
	leader *control.Controller
	all    map[string]*simulate.Host
}

// trouble has a host tell of a trouble, or of none any more: trouble HOST [WORD...].
func trouble(ts *testscript.TestScript, _ bool, args []string) {
	of, is := ts.Value("hosts").(hosts)
	if !is || len(args) == 0 || of.all[args[0]] == nil {
		ts.Fatalf("usage: trouble HOST [WORD...]")
	}
	why := strings.Join(args[1:], " ")
	of.all[args[0]].Troubled(why)
	ts.Check(testx.Poll(20*time.Second, func() error {
		h, err := of.leader.Host(context.Background(), args[0])
		if err == nil && h.Status.Trouble != why {
			err = failure(os.ErrNotExist, "host %s tells %q", h.Name, h.Status.Trouble)
		}
		return err
	}))
}

// scheduler runs one until the script ends.
func scheduler(t *testing.T, env *testscript.Env, socket string) error {
	t.Helper()
	log := testx.Logger(t)
	ctx, end := context.WithCancel(t.Context())
	etcd, err := embed.Start(ctx, embed.Config{Dir: t.TempDir(), Log: log})
	if err != nil {
		end()
		return err
	}
	store, err := state.Open(ctx, etcd.Client(), state.Options{})
	if err != nil {
		end()
		return err
	}
	c := control.New(store, control.Config{Name: "c1", Log: log, Heartbeat: 200 * time.Millisecond, Lease: time.Second})
	s, err := server.New(ctx, server.Config{Store: store, Log: log, Control: c, Sessions: saying{}})
	if err != nil {
		end()
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		end()
		return err
	}
	h := httptest.NewUnstartedServer(s)
	h.Listener = l
	h.Config.ConnContext = server.PeerContext
	h.Start()
	var work sync.WaitGroup
	work.Go(func() { _ = c.Run(ctx) }) // its error is a bad config
	all := map[string]*simulate.Host{}
	env.Values["hosts"] = hosts{c, all}
	for _, name := range []string{"h1", "h2"} {
		host := &simulate.Host{Name: name, Status: api.HostStatus{
			Capacity: api.Amounts{CPU: 8000, Memory: 16 << 30, Disk: 1 << 40}, Machine: name, Engine: "29.7.2",
			Networks: map[string]string{"prod": "10.9.0.0/24", "other": "10.7.0.0/24"},
		}, ReadyAfter: func(a link.Assigned) time.Duration {
			if strings.HasSuffix(a.Set.Containers[0].Image, ":broken") {
				return -1
			}
			return 0
		}}
		all[name] = host
		work.Go(func() { host.Run(ctx, func() link.Controller { return measuring{c} }) })
	}
	env.Defer(func() {
		end()
		h.Close()
		work.Wait()
		store.Close()
		_ = etcd.Close() // the test is over
	})
	return testx.Poll(20*time.Second, func() error {
		for _, name := range []string{"h1", "h2"} {
			if h, err := c.Host(ctx, name); err != nil || h.Status.Health != api.Healthy {
				return failure(os.ErrNotExist, "host %s did not join: %v", name, err)
			}
		}
		return nil
	})
}

// measuring has hosts report what they use: the more, the higher their number and that of the set.
type measuring struct{ link.Controller }

func (m measuring) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	n := int64(r.Host[1] - '0')
	r.Usage = &link.Usage{At: r.Sent, Host: api.Use{CPU: 2000 * n, Memory: 4 * n << 30, Received: 1 << 20, Sent: 2 << 20}}
	for _, s := range r.Sets {
		if slot := int64(s.Name[len(s.Name)-1] - '0'); slot < 6 { // of others nothing is known yet
			r.Usage.Sets = append(r.Usage.Sets, link.SetUsage{Name: s.Name, Use: api.Use{CPU: 150 * slot, Memory: (9 - slot) << 20, Received: -1, Sent: -1, Written: slot << 10}})
		}
	}
	return m.Controller.Report(ctx, r)
}

// saying is hosts whose containers say who they are; a command ends with 3.
type saying struct{}

func (saying) Linked(string) bool { return true }

func (saying) Open(_ context.Context, _, _ string, o session.Offer) (rw io.ReadWriteCloser, done func(), err error) {
	ours, theirs := net.Pipe()
	go func() { // ends with the session
		c := session.NewConn(ours)
		_, _ = fmt.Fprintf(c.To(session.Stdout), "%s %s %s\n", o.Verb, o.Container, strings.Join(o.Command, " ")) // is missed by the script
		code := 0
		if o.Verb == session.Exec {
			code = 3
		}
		if o.Follow {
			_, _, _ = c.Read() // until the user has gone
		}
		_ = c.End(code, nil) // as above
		_, _, _ = c.Read()
		_ = c.Close()
	}()
	return theirs, func() {}, nil
}

// TestCommandsOfTheSchedulersDocsAreRun: each stands in a script that is run.
func TestCommandsOfTheSchedulersDocsAreRun(t *testing.T) {
	docs, err := os.ReadFile("../../docs/scheduler.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/cluster/docs.txtar")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^docker set [^#\n]*`).FindAllString(string(docs), -1)
	if len(commands) < 15 {
		t.Errorf("the docs have %d commands", len(commands))
	}
	for _, c := range commands {
		c = strings.TrimSpace(strings.TrimPrefix(c, "docker "))
		if !regexp.MustCompile(`(?m)^!? ?exec docker-set ` + regexp.QuoteMeta(c) + `( &\w+&)?$`).Match(script) {
			t.Errorf("docker %s is in the docs, and run by no script", c)
		}
	}
}
