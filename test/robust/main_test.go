package robust

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
	"github.com/mosdocker/mosdocker/test/lab"
)

// activator makes this test's program play systemd: see activate.
const activator = "activate"

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == activator {
		fmt.Fprintln(os.Stderr, activate(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	code := statetest.Main(m)
	lab.Remove()
	os.Exit(code)
}

// activate is a socket unit: it listens on a path and becomes the daemon, which
// inherits the listener, when somebody connects.
func activate(path string, argv []string) error {
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	file, err := l.(*net.UnixListener).File()
	if err != nil {
		return err
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}}, -1); err != nil {
		return err
	}
	if err := unix.Dup3(int(file.Fd()), 3, 0); err != nil {
		return err
	}
	env := append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=mosbridge.socket", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	return syscall.Exec(argv[0], argv, env)
}

// number reads a number from the environment.
func number(tb testing.TB, key string, otherwise int) int {
	tb.Helper()
	s := os.Getenv(key)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatalf("%s=%s: want a number", key, s)
	}
	return n
}

// full says whether the long forms are asked for.
func full() bool { return os.Getenv("MOS_FULL") != "" }

// seed is where a test's random choices begin. It is printed, so that a run can
// be repeated.
func seed(tb testing.TB) uint64 {
	tb.Helper()
	n := number(tb, "MOS_SEED", int(time.Now().UnixNano()%1_000_000))
	tb.Logf("MOS_SEED=%d", n)
	return uint64(n)
}

func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
