package pluginsrv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// childEnv makes the test binary a daemon that serves the path in its value.
const childEnv = "MOS_TEST_PLUGIN_SOCKET"

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// child serves one call until it is told to stop.
func child() int {
	ctx, stop := notifyContext()
	defer stop()
	s := New(Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	Handle(s, "/X.Pid", func(context.Context, None) (thing, error) { return thing{N: os.Getpid()}, nil })
	err := s.Run(ctx, Socket{Name: "x.socket", Path: os.Getenv(childEnv), Handler: s.Handler()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// spawn starts a child; with listener it gets the socket as systemd gives it.
func spawn(t *testing.T, path, name string, listener *os.File) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The shell gives LISTEN_PID, which only the child itself can know.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, exe)
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	if listener != nil {
		cmd.ExtraFiles = []*os.File{listener}
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+name)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestSocketFromSystemdIsUsedAndLeft(t *testing.T) {
	for _, name := range []string{"x.socket", "other-name-but-same-path"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.sock")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			// A call before the daemon runs waits in the backlog.
			s := &server{http: client(path)}
			defer s.http.CloseIdleConnections()
			got := make(chan string, 1)
			go func() {
				_, body := s.post(t, "/X.Pid", "")
				got <- body
			}()
			for range 2 { // a restart loses nothing either
				cmd := spawn(t, path, name, f)
				body := ""
				select {
				case body = <-got:
				case <-time.After(20 * time.Second):
					t.Fatal("no answer")
				}
				if want := fmt.Sprintf(`{"ID":"","N":%d}`, cmd.Process.Pid); body != want {
					t.Errorf("got %s, want %s", body, want)
				}
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(path); err != nil {
					t.Fatalf("systemd's socket after a stop: %v", err)
				}
				s.http.CloseIdleConnections()
				go func() {
					_, body := s.post(t, "/X.Pid", "")
					got <- body
				}()
			}
			cmd := spawn(t, path, name, f)
			<-got
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		})
	}
}

func TestOwnSocketIsRemovedOnStop(t *testing.T) {
	s := start(t, Config{}, func(s *Server) { Handle(s, "/X.Echo", echo) })
	info, err := os.Stat(s.path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestStaleSocketOfAKilledDaemonIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	cmd := spawn(t, path, "", nil)
	s := &server{http: client(path)}
	waitFor(t, "the child", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("nothing stale: %v", err)
	}
	cmd = spawn(t, path, "", nil)
	waitFor(t, "the next child", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if code, _ := s.post(t, "/X.Pid", ""); code != 200 {
		t.Errorf("got %d", code)
	}
	s.http.CloseIdleConnections()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMissingGroupIsTold(t *testing.T) {
	var log bytes.Buffer
	s := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	ls, err := s.listenAll(t.Context(), []Socket{{Path: filepath.Join(t.TempDir(), "s"), Group: "no-such-group"}, {Path: filepath.Join(t.TempDir(), "t")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		l.Close()
	}
	if n := strings.Count(log.String(), "group=no-such-group"); n != 1 || strings.Count(log.String(), "groupadd") != 1 {
		t.Errorf("got %s", log.String())
	}
}

func TestServedSocketIsRefused(t *testing.T) {
	s := start(t, Config{}, func(s *Server) { Handle(s, "/X.Echo", echo) })
	err := New(Config{Log: discard()}).Run(t.Context(), Socket{Path: s.path})
	if !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), fmt.Sprintf("process %d serves it", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if code, _ := s.post(t, "/X.Echo", `{"ID":"a"}`); code != 200 {
		t.Errorf("the server that was there answers %d", code)
	}
}

func TestOtherFilesAreNeverRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Config{Log: discard()}).Run(t.Context(), Socket{Path: path}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(path); string(data) != "mine" {
		t.Errorf("the file: %q, %v", data, err)
	}
}

func TestAllSocketsOrNone(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", 120))
	err := New(Config{Log: discard()}).Run(t.Context(), Socket{Path: filepath.Join(dir, "a", "p.sock")}, Socket{Path: long})
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a", "p.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first socket is left: %v", err)
	}
}

func TestStopLetsCallsFinish(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := start(t, Config{StopLimit: time.Minute}, func(s *Server) {
		Handle(s, "/X.Do", func(ctx context.Context, r thing) (thing, error) {
			close(begun)
			<-finish
			return r, ctx.Err()
		})
	})
	answered := make(chan int, 1)
	go func() {
		code, _ := s.post(t, "/X.Do", `{"ID":"a"}`)
		answered <- code
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	waitFor(t, "the socket to close", func() bool {
		c, err := net.Dial("unix", s.path)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a call under way: %v", err)
	default:
	}
	close(finish)
	if code := <-answered; code != 200 {
		t.Errorf("the call under way got %d", code)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestStopEndsContextsAfterItsLimit(t *testing.T) {
	begun := make(chan struct{})
	s := start(t, Config{StopLimit: 20 * time.Millisecond}, func(s *Server) {
		Handle(s, "/X.Do", func(ctx context.Context, _ thing) (None, error) {
			close(begun)
			<-ctx.Done()
			return None{}, ctx.Err()
		})
	})
	answered := make(chan string, 1)
	go func() {
		_, body := s.post(t, "/X.Do", `{"ID":"a"}`)
		answered <- body
	}()
	<-begun
	if err := s.stop(); err == nil || !strings.Contains(err.Error(), "1 calls were cut off") {
		t.Errorf("stop: %v", err)
	}
	if msg := errOf(t, <-answered); !strings.Contains(msg, "the daemon stops") {
		t.Errorf("the call got %q", msg)
	}
}

func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	read := func(wait time.Duration) string {
		buf := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		n, err := conn.Read(buf)
		if err != nil {
			return ""
		}
		return string(buf[:n])
	}

	alive := make(chan error, 1)
	alive <- nil
	s := start(t, Config{Gated: true}, func(s *Server) {
		s.Alive = func(context.Context) error {
			err := <-alive
			alive <- err
			return err
		}
	})
	if got := read(50 * time.Millisecond); got != "" {
		t.Errorf("before Ready: %q", got)
	}
	s.Ready()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := read(5 * time.Second); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	<-alive
	alive <- errors.New("stuck")
	waitFor(t, "the last ping", func() bool { return read(60*time.Millisecond) == "" })
	if !strings.Contains(s.log.String(), "not alive") {
		t.Error("nothing in the log")
	}
	_ = s.stop()
	if got := read(time.Second); got != "STOPPING=1" {
		t.Errorf("got %q at the stop", got)
	}
}
