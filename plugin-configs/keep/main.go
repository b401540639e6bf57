// Command keep is the first process of a managed plugin: it holds the plugin's
// socket and runs the daemon, again whenever that ends.
//
//	keep [-sysctls] [-share DIRECTORY] SOCKET PROGRAM [ARGUMENT...]
//
// Docker starts a plugin that ended at once, but disables it for good when it ends
// twice within half a second, and calls that meet no socket wait for 15 s. With keep
// a daemon that crashes is no end of the plugin, and calls wait for the next one. It
// stands for systemd, in its protocols: the daemon gets the socket as a listener, and
// is killed when its watchdog was not heard for a minute, or it was not heard at all 90 s
// after its start.
//
// A daemon that ends with code 2 has a wrong configuration. Then keep ends too, so
// that docker plugin enable fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	badSetup = 2                // exit code of a daemon whose configuration is wrong
	stage    = "MOS_KEEP_STAGE" // marks the process that becomes the daemon
)

// keeper runs a daemon.
type keeper struct {
	again    time.Duration // from its end to its next start, as RestartSec of the units
	begin    time.Duration // until it is first heard, as systemd's own TimeoutStartSec
	watchdog time.Duration // as WatchdogSec of the units
	grace    time.Duration // how long one that is told to end with its stacks may take
	socket   *os.File      // the plugin's
}

func main() {
	var err error
	code := 1
	if os.Getenv(stage) != "" {
		err = become(os.Args[1:])
	} else {
		k := keeper{again: 100 * time.Millisecond, begin: 90 * time.Second, watchdog: time.Minute, grace: 5 * time.Second}
		code, err = k.keep(context.Background(), os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "keep: error:", err)
	}
	os.Exit(code)
}

// become turns this process into the daemon. Only it knows the process id that the
// protocol of socket activation wants. A daemon that panics dies of a signal, which leaves
// no core: Go's own code for it is that of a wrong configuration.
func become(argv []string) error {
	_ = os.Unsetenv(stage)
	err := errors.Join(os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())), os.Setenv("GOTRACEBACK", "crash"),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ())) //nolint:gosec // what to run is the plugin's own configuration
}

// keep returns the exit code of the plugin.
func (k keeper) keep(ctx context.Context, args []string) (code int, err error) {
	fl := flag.NewFlagSet("keep", flag.ContinueOnError)
	sysctls := fl.Bool("sysctls", false, "make /proc/sys writable")
	shared := fl.String("share", "", "propagated mount that the host is to see for good")
	if err := fl.Parse(args); err != nil || fl.NArg() < 2 {
		return badSetup, errors.New("want: keep [-sysctls] [-share DIRECTORY] SOCKET PROGRAM [ARGUMENT...]")
	}
	if *sysctls {
		// Docker makes it read-only in plugins, and has no setting for that.
		if err := unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
			return badSetup, fmt.Errorf("make /proc/sys writable: %w", err)
		}
	}
	if *shared != "" {
		go share(*shared, os.Getppid()) // the plugin's shim, in the mount namespace of Docker
	}
	if k.socket, err = listen(ctx, fl.Arg(0)); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, k.socket.Close()) }()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1)
	defer signal.Stop(stop)
	for lived := false; ; lived = true {
		ended, stopped, err := k.once(ctx, fl.Args()[1:], stop)
		code := exitCode(ended)
		switch {
		case err != nil && !lived:
			return 1, err
		case stopped || code == badSetup:
			return code, nil
		case err != nil: // a full disk, want of memory: to end twice is to be disabled for good
			ended = err
		}
		fmt.Fprintf(os.Stderr, "keep: %s ended: %v: it is started again\n", fl.Arg(1), ended)
		select {
		case <-time.After(k.again):
		case s := <-stop:
			if ends(s) {
				return code, nil
			}
		}
	}
}

// listen makes the socket as a file to hand on. One that lies there is of an earlier
// life: the folder is the plugin's own.
func listen(ctx context.Context, path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as Docker makes it
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("%s is no unix socket", path)
	}
	u.SetUnlinkOnClose(false)
	f, err := u.File()
	return f, errors.Join(err, l.Close())
}

// once runs one life of the daemon and passes signals on. ended says how it ended,
// stopped that it was told to.
func (k keeper) once(ctx context.Context, argv []string, signals <-chan os.Signal) (ended error, stopped bool, err error) {
	notify := filepath.Join(os.TempDir(), fmt.Sprintf("keep-%d.sock", os.Getpid()))
	if err := os.Remove(notify); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	told, err := new(net.ListenConfig).ListenPacket(ctx, "unixgram", notify)
	if err != nil {
		return nil, false, err
	}
	well := make(chan struct{}, 1)
	var hearing sync.WaitGroup
	hearing.Go(func() { hear(told, well) })
	defer func() {
		err = errors.Join(err, told.Close())
		hearing.Wait()
	}()
	cmd := exec.Command("/proc/self/exe", argv...) //nolint:noctx // it ends by signals
	cmd.Env = append(os.Environ(), stage+"=1", "LISTEN_FDS=1", "NOTIFY_SOCKET="+notify,
		"WATCHDOG_USEC="+strconv.FormatInt(k.watchdog.Microseconds(), 10))
	cmd.ExtraFiles = []*os.File{k.socket}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, false, err
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }() // which once waits for
	silent, limit := time.NewTimer(k.begin), k.begin
	defer silent.Stop()
	for kill := unix.SIGABRT; ; { // of which its last words are where it hangs
		select {
		case err := <-end:
			return err, stopped, nil
		case <-well:
			limit = k.watchdog
			silent.Reset(limit)
		case <-silent.C:
			fmt.Fprintf(os.Stderr, "keep: %s was not heard for %v: it is killed\n", argv[0], limit)
			_ = cmd.Process.Signal(kill)
			kill = unix.SIGKILL
			silent.Reset(k.grace)
		case s := <-signals:
			stopped = stopped || ends(s)
			_ = cmd.Process.Signal(s) // or it has ended
		}
	}
}

func ends(s os.Signal) bool { return s == unix.SIGTERM || s == unix.SIGINT }

// hear tells of each message of the daemon, until c is closed.
func hear(c net.PacketConn, well chan<- struct{}) {
	buf := make([]byte, 4096)
	for {
		if _, _, err := c.ReadFrom(buf); err != nil {
			return
		}
		select {
		case well <- struct{}{}:
		default: // one is on its way
		}
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	return 1
}
