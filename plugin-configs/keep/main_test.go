package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// TestMain is also the daemon that tests keep, the step that becomes it, and who looks
// for the host's mounts.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(stage) != "":
		main()
	case len(os.Args) > 2 && os.Args[1] == "daemon":
		os.Exit(fakeDaemon(os.Args[2]))
	case len(os.Args) > 3 && strings.HasPrefix(os.Args[1], "share"):
		host, _ := strconv.Atoi(os.Args[3])
		if os.Args[1] == "share-on" {
			share(os.Args[2], host)
			os.Exit(1)
		}
		again, err := shareNow(os.Args[2], host)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Print(again)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeDaemon tells its process id to who connects; "silent" is heard of once, "mute" never,
// and both hear neither SIGABRT nor SIGTERM. "panic" does so when it has told.
func fakeDaemon(mode string) int {
	if mode == "wrong" {
		return badSetup
	}
	ls, err := activation.Listeners()
	if err != nil || len(ls) != 1 {
		fmt.Fprintln(os.Stderr, "the daemon has no socket:", ls, err)
		return 1
	}
	if mode == "silent" || mode == "mute" {
		signal.Ignore(syscall.SIGABRT, syscall.SIGTERM)
	}
	if mode == "silent" {
		if ok, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); !ok || err != nil {
			fmt.Fprintln(os.Stderr, "nobody hears:", err)
			return 1
		}
	}
	for {
		c, err := ls[0].Accept()
		if err != nil {
			return 1
		}
		fmt.Fprint(c, os.Getpid())
		_ = c.Close()
		if mode == "panic" {
			panic("as daemons do")
		}
	}
}

// start runs keep with the fake daemon. The exit code comes when it ends.
func start(t *testing.T, mode string, begin time.Duration) (socket string, code <-chan int) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	socket = filepath.Join(t.TempDir(), "p", "x.sock")
	ended := make(chan int, 1)
	go func() {
		k := keeper{again: 10 * time.Millisecond, begin: begin, watchdog: 300 * time.Millisecond, grace: 100 * time.Millisecond}
		n, err := k.keep(t.Context(), []string{socket, "/proc/self/exe", "daemon", mode})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		ended <- n
	}()
	return socket, ended
}

// pid is the process that answers.
func pid(t *testing.T, socket string) int {
	t.Helper()
	n := 0
	testx.Eventually(t, 10*time.Second, func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err
	})
	return n
}

func stopKeep(t *testing.T, code <-chan int) int {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-code:
		return n
	case <-time.After(10 * time.Second):
		t.Fatal("keep does not end")
		return 0
	}
}

// TestCallsWaitForTheNextLife of a daemon that was killed: none meets a closed door.
func TestCallsWaitForTheNextLife(t *testing.T) {
	socket, code := start(t, "well", time.Hour)
	for range 3 {
		before := pid(t, socket)
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatalf("while nobody served: %v", err)
		}
		if b, err := io.ReadAll(c); err == nil && string(b) == strconv.Itoa(before) {
			t.Errorf("%d answers after its end", before)
		}
		_ = c.Close()
		if after := pid(t, socket); after == before {
			t.Errorf("%d was not started again", before)
		}
	}
	if n := stopKeep(t, code); n != 1 {
		t.Errorf("keep ended with %d, the daemon died of a signal", n)
	}
}

// TestAPanicIsNoWrongConfiguration, though Go's code for it is the same.
func TestAPanicIsNoWrongConfiguration(t *testing.T) {
	socket, code := start(t, "panic", time.Hour)
	before := pid(t, socket)
	if after := pid(t, socket); after == before {
		t.Errorf("%d answers after its end", before)
	}
	select {
	case n := <-code:
		t.Fatalf("keep ended with %d", n)
	default:
	}
	stopKeep(t, code)
}

func TestWrongConfigurationEndsThePlugin(t *testing.T) {
	_, code := start(t, "wrong", time.Hour)
	select {
	case n := <-code:
		if n != badSetup {
			t.Errorf("keep ended with %d", n)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("keep starts it again and again")
	}
	if n, err := (keeper{}).keep(t.Context(), []string{"one"}); n != badSetup || err == nil {
		t.Errorf("without a program keep ended with %d, %v", n, err)
	}
}

// TestOneThatHangsIsKilled, also when it holds out against SIGABRT, and when it hung before
// it said anything.
func TestOneThatHangsIsKilled(t *testing.T) {
	for mode, begin := range map[string]time.Duration{"silent": time.Hour, "mute": 300 * time.Millisecond} {
		t.Run(mode, func(t *testing.T) {
			socket, code := start(t, mode, begin)
			before := pid(t, socket)
			testx.Eventually(t, 10*time.Second, func() error {
				if after := pid(t, socket); after == before {
					return fmt.Errorf("%d lives on", before)
				}
				return nil
			})
			stopKeep(t, code)
		})
	}
}

// TestWhatIsMissingForTheNextLifeIsWaitedFor: a plugin that ends twice is disabled for good.
func TestWhatIsMissingForTheNextLifeIsWaitedFor(t *testing.T) {
	socket, code := start(t, "well", time.Hour)
	before := pid(t, socket)
	tmp := os.TempDir()
	if err := os.Rename(tmp, tmp+".away"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-code:
		t.Fatalf("keep ended with %d", n)
	case <-time.After(300 * time.Millisecond):
	}
	if err := os.Rename(tmp+".away", tmp); err != nil {
		t.Fatal(err)
	}
	if after := pid(t, socket); after == before {
		t.Errorf("%d answers after its end", before)
	}
	stopKeep(t, code)
}
