package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestBadConfigurationIsNamedAtOnce(t *testing.T) {
	err := run(t.Context(), []string{"-config=/dev/null", "-socket=x", "-listen=nowhere", "-agent.interval=1ms", "-prometheus.scopes=pod"}, nil)
	if !errors.Is(err, daemon.ErrConfig) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"socket: want", "listen: want HOST:PORT", "table agent: interval: want", "table prometheus: scopes: want"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestHelpAndPrintedConfiguration(t *testing.T) {
	for _, arg := range []string{"--help", "--print-config"} {
		if err := run(t.Context(), []string{"-config=/dev/null", arg}, nil); !errors.Is(err, config.ErrDone) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// What a SIGHUP cannot change is told, so that nobody waits for it.
func TestWhatNeedsARestartIsNamed(t *testing.T) {
	old, now := Defaults(), Defaults()
	now.RemoteWrite.URL, now.Log.Level = "http://127.0.0.1:9/", "debug"
	if got := now.late(&old); len(got) > 0 {
		t.Errorf("%q need a restart", got)
	}
	now.Listen, now.Agent.Interval.Duration, now.Sets.Restart.Command = "127.0.0.1:9250", time.Second, []string{"true"}
	if got, want := now.late(&old), []string{"agent", "listen", "sets"}; !slices.Equal(got, want) {
		t.Errorf("%q need a restart, want %q", got, want)
	}
}

// The configuration's reference in the docs is what the program prints.
func TestReferenceInDocs(t *testing.T) {
	cfg := Defaults()
	want, err := config.Reference("mosd", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	testx.Golden(t, "mosd.toml", want)
}

func TestTheDaemonServesUntilItIsTold(t *testing.T) {
	testx.Need(t, testx.Root)
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "s"), filepath.Join(dir, "mosd.toml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[prometheus]\nscopes = ['host']\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"-config=" + file, "-socket=" + socket, "-sets.state=" + dir + "/run/mosd", "-cluster.state=" + dir, "-cluster.endpoints=", "-listen=127.0.0.1:0", "-agent.interval=100ms", "-agent.slow_interval=100ms"}, nil)
	}()
	scrape := func() (string, error) {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
		resp, err := c.Get("http://mosd/metrics")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	shows := func(want, not string) {
		t.Helper()
		testx.Eventually(t, 10*time.Second, func() error {
			text, err := scrape()
			if err == nil && (!strings.Contains(text, want) || strings.Contains(text, not)) {
				err = fmt.Errorf("want %s and no %s in:\n%s", want, not, text)
			}
			return err
		})
	}
	shows("mos_host_memory_total_bytes ", "mos_agent_")
	if info, err := os.Stat(dir + "/run"); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder of all sockets is %v, %v: others must get through", info, err)
	}
	reload := func(text string) {
		write(text)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	reload("[prometheus]\nscopes = ['agent']\n")
	shows("mos_agent_samples_total ", "mos_host_")
	reload("[prometheus]\nscopes = ['pods']\n") // is not taken over, and ends nothing
	reload("[prometheus]\nscopes = ['agent', 'host']\n")
	shows("mos_host_memory_total_bytes ", "no such text")
	c := api.New(socket)
	testx.Eventually(t, 10*time.Second, func() error { // the last of the signals may put it back
		err := c.SetLogLevel(t.Context(), adminapi.LogLevel{Level: "debug"})
		if now, getErr := adminapi.Get[adminapi.LogLevel](t.Context(), adminapi.New("mosd", socket), "/v1/loglevel"); err == nil && now.Level != "debug" {
			err = fmt.Errorf("the level is %q, %w", now.Level, getErr)
		}
		return err
	})
	if err := c.SetLogLevel(t.Context(), adminapi.LogLevel{Level: "loud"}); err == nil || !strings.Contains(err.Error(), "none of debug, info, warn, error") {
		t.Errorf("level loud: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left")
	}
}
