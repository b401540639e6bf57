package docker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// calls are all of an Engine's.
func calls(e *docker.Engine) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Facts":   func(ctx context.Context) error { _, err := e.Facts(ctx); return err },
		"Observe": func(ctx context.Context) error { _, err := e.Observe(ctx, "web", &spec.Set{Name: "web"}); return err },
		"Sets":    func(ctx context.Context) error { _, err := e.Sets(ctx); return err },
		"Create": func(ctx context.Context) error {
			_, err := e.Create(ctx, render.Create{Name: "web.app", Config: &container.Config{Image: "a"}, Host: &container.HostConfig{}})
			return err
		},
		"Start":        func(ctx context.Context) error { return e.Start(ctx, "x") },
		"Stop":         func(ctx context.Context) error { return e.Stop(ctx, "x", "", nil) },
		"Kill":         func(ctx context.Context) error { return e.Kill(ctx, "x", "KILL") },
		"Remove":       func(ctx context.Context) error { return e.Remove(ctx, "x", true) },
		"Rename":       func(ctx context.Context) error { return e.Rename(ctx, "x", "y") },
		"Limit":        func(ctx context.Context) error { return e.Limit(ctx, "x", plan.Limits{CPU: 1}) },
		"SetRestart":   func(ctx context.Context) error { return e.SetRestart(ctx, "x", "always") },
		"WaitEnd":      func(ctx context.Context) error { _, err := e.WaitEnd(ctx, "x"); return err },
		"WaitHealthy":  func(ctx context.Context) error { return e.WaitHealthy(ctx, "x") },
		"Exec":         func(ctx context.Context) error { _, _, err := e.Exec(ctx, "x", []string{"true"}); return err },
		"PID":          func(ctx context.Context) error { _, err := e.PID(ctx, "x"); return err },
		"Connect":      func(ctx context.Context) error { return e.Connect(ctx, spec.Network{Name: "n"}, "x") },
		"Disconnect":   func(ctx context.Context) error { return e.Disconnect(ctx, "n", "x") },
		"MakeVolume":   func(ctx context.Context) error { return e.MakeVolume(ctx, "v", "local", nil, "web") },
		"RemoveVolume": func(ctx context.Context) error { return e.RemoveVolume(ctx, "v") },
		"Pull":         func(ctx context.Context) error { return e.Pull(ctx, "a:1", "", func(string, int64, int64) {}) },
		"Load":         func(ctx context.Context) error { return e.Load(ctx, strings.NewReader("x")) },
		"Arch":         func(ctx context.Context) error { _, err := e.Arch(ctx); return err },
		"Logs":         func(ctx context.Context) error { _, _, err := e.Logs(ctx, "x", docker.LogOptions{}); return err },
	}
}

func at(t *testing.T, socket string) *docker.Engine {
	t.Helper()
	e, err := docker.Open("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestAnEngineThatHangsIsGivenUp: the kernel takes connections, and nobody answers.
func TestAnEngineThatHangsIsGivenUp(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "x.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for name, call := range calls(at(t, socket)) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestAnAbsentEngine: what to do is said, whatever was asked for.
func TestAnAbsentEngine(t *testing.T) {
	for name, call := range calls(at(t, filepath.Join(t.TempDir(), "none.sock"))) {
		if err := call(t.Context()); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "systemctl start docker") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := docker.Open("docker.sock"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a host that is none: %v", err)
	}
}

// TestLessMemoryThanIsUsedIsRefused where the kernel would kill processes for it: with
// cgroups of version 2, which no Engine of these tests has. What it caches of files
// does not count.
func TestLessMemoryThanIsUsedIsRefused(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "x.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	updates := 0
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		body := "{}"
		switch {
		case strings.HasSuffix(r.URL.Path, "/json"):
			body = `{"Id": "x", "Name": "/web.app", "State": {"Running": true}, "HostConfig": {"Memory": 104857600}}`
		case strings.HasSuffix(r.URL.Path, "/stats"):
			body = `{"memory_stats": {"usage": 83886080, "stats": {"active_file": 10485760, "inactive_file": 20971520, "anon": 52428800}}}`
		case strings.HasSuffix(r.URL.Path, "/update"):
			updates++
		}
		_, _ = io.WriteString(w, body)
	})}
	go func() { _ = s.Serve(l) }()
	defer func() { _ = s.Close() }()
	e := at(t, socket)
	if err := e.Limit(t.Context(), "x", plan.Limits{MEM: 49 << 20}); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "web.app uses 50MiB") || updates != 0 {
		t.Errorf("less than is used: %v, %d updates", err, updates)
	}
	for i, m := range []spec.Bytes{51 << 20, 200 << 20} {
		if err := e.Limit(t.Context(), "x", plan.Limits{MEM: m}); err != nil || updates != i+1 {
			t.Errorf("%v: %v, %d updates", m, err, updates)
		}
	}
}
